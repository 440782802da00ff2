"""Projectors: what they leave of a view, in which order, and what they refuse."""

from typing import Any

import pytest
import torch
from small_models import rendered, small_config, some_samples
from torch import nn

import interleave as il
from interleave.model.assembly import assemble
from interleave.processing.collate import collate

CLIP = {
    "name": "clip",
    "feature": "cls_patch",
    "config": {"image_size": 16, "patch_size": 4, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
               "intermediate_size": 16},
}  # fmt: skip


def build(name: str, grid: int = 4, prefix: int = 0, **options: Any) -> Any:
    return il.projectors.build({"name": name, **options}, vision_dim=6, llm_dim=8, grid=grid, prefix=prefix)


@pytest.mark.parametrize("name", ["mlp", "linear"])
def test_mlp_and_linear_keep_every_token(name: str) -> None:
    projector = build(name, prefix=1)
    features = torch.randn(2, 17, 6)
    assert projector(features).shape == (2, 17, 8)
    assert (projector.grid, projector.prefix) == (4, 1)
    torch.testing.assert_close(projector(features)[:, 5], projector(features[:, 5]))


def test_mlp_has_the_depth_and_the_names_of_the_published_one() -> None:
    assert list(build("mlp").state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    kinds = [type(layer) for layer in build("mlp", depth=3)]
    assert kinds == [nn.Linear, nn.GELU, nn.Linear, nn.GELU, nn.Linear]
    assert not build("mlp", std=0.1)[0].bias.any()
    assert float(build("mlp", std=0.5)[2].weight.detach().std()) == pytest.approx(0.5, rel=0.3)


def test_pixel_shuffle_lays_neighbours_end_to_end() -> None:
    projector = build("pixel_shuffle", factor=2)
    projector.mlp = nn.Identity()
    rows, columns = torch.meshgrid(torch.arange(4.0), torch.arange(4.0), indexing="ij")
    features = torch.stack([rows, columns], -1).reshape(1, 16, 2)
    found = projector(features).view(2, 2, 4, 2)  # token row, token column, patch of the square, (row, column)
    for row in range(2):
        for column in range(2):
            square = [[2 * row + i, 2 * column + j] for i in range(2) for j in range(2)]
            assert found[row, column].tolist() == square
    assert projector.grid == 2


def test_pixel_shuffle_leaves_a_smaller_grid() -> None:
    projector = build("pixel_shuffle", grid=27, factor=3)
    assert projector(torch.randn(2, 27**2, 6)).shape == (2, 81, 8)
    assert projector.grid == 9


def test_the_resampler_reads_all_tokens_by_its_queries() -> None:
    torch.manual_seed(0)
    projector = build("resampler", prefix=1, queries=9, heads=2)
    assert (projector.grid, projector.prefix) == (3, 0)
    features = torch.randn(2, 17, 6, requires_grad=True)
    out = projector(features)
    assert out.shape == (2, 9, 8)
    (out[0] * torch.randn(9, 8)).sum().backward()
    assert features.grad is not None
    assert (features.grad[0].abs().sum(-1) > 0).all(), "also the class token"
    assert not features.grad[1].any(), "views do not see each other"
    assert (out[0, 0] - out[0, 1]).abs().max() > 1e-3, "queries differ"
    assert all(p.grad is not None for p in projector.parameters())


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"name": "mlp", "depth": 0}, "projector.depth is 0; it needs at least one layer"),
        (
            {"name": "pixel_shuffle", "factor": 3},
            "projector.factor is 3, which does not divide a grid of 4",
        ),
        ({"name": "pixel_shuffle", "factor": 0}, "it would have to be one of 2, 4"),
        ({"name": "pixel_shuffle", "prefix": 1}, "the 1 tokens that the vision encoder puts before the patches"),
        ({"name": "resampler", "queries": 10}, "projector.queries is 10; it must be a square number, such as 9"),
        ({"name": "resampler", "queries": 0}, "such as 1"),
        ({"name": "resampler", "heads": 3}, "projector.heads is 3, which does not divide the language model's width 8"),
        ({"name": "resampler", "depth": 0}, "projector.depth is 0"),
    ],
)
def test_what_a_user_can_mend_is_one_line(node: dict[str, Any], message: str) -> None:
    with pytest.raises(il.InputError) as error:
        build(**node)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("node", "tokens"),
    [({"name": "linear"}, 16), ({"name": "pixel_shuffle"}, 4), ({"name": "resampler", "queries": 9, "heads": 2}, 9)],
)
def test_adapters_promise_what_the_projector_leaves(node: dict[str, Any], tokens: int) -> None:
    assembly = assemble(small_config(projector=node))
    assert (assembly.vision.tokens, assembly.vision.grid**2) == (tokens, tokens)
    examples = rendered(assembly, some_samples(assembly))
    loss, _ = assembly.model.loss(collate([examples], sum(len(e.input_ids) for e in examples), assembly.vision))
    assert torch.isfinite(loss)
    picture = assembly.adapters["image"].prepare(assembly.adapters["image"].example())
    assert sum(n for n in picture.layout if isinstance(n, int)) == tokens


@pytest.mark.parametrize(("name", "tokens"), [("mlp", 17), ("linear", 17), ("resampler", 9)])
def test_a_class_token_reaches_the_text_or_is_read(name: str, tokens: int) -> None:
    more = {"queries": 9, "heads": 2} if name == "resampler" else {}
    parts = small_config(vision_encoder=CLIP, projector={"name": name, **more}, modality={"image": {"name": "image"}})
    assembly = assemble(parts)
    assert assembly.vision.tokens == tokens
    picture = assembly.adapters["image"].prepare(assembly.adapters["image"].example())
    assert sum(n for n in picture.layout if isinstance(n, int)) == tokens
    assert assembly.model.encode_views(picture.pixel_values).shape == (1, tokens, 32)
    with pytest.raises(il.InputError, match=r"choose vision_encoder\.feature=patch"):
        assemble({**parts, "projector": {"name": "pixel_shuffle"}})
