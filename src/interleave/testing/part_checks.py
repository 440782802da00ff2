"""Checks of the parts of a model: vision encoders, projectors, language models and modalities."""

import copy
import json
from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..core.errors import InputError
from ..core.options import Config
from ..core.types import NEWLINE, Segments, VisionSpec
from ..interfaces.model_parts import LanguageModel, Projector, VisionEncoder
from ..interfaces.registry import llms, modalities, projectors, vision_encoders
from .flow_check import check_flow

LONGEST_WINDOW = 256
"""The widest sliding window, in tokens, for which the check makes a document that is longer."""


def check_vision_encoder(node: Config, config: Config) -> None:
    """Shapes, blocks, portability, a use for every parameter, and the order of its features."""
    encoder = vision_encoders.build(node)
    assert isinstance(encoder, VisionEncoder)
    spec = encoder.spec
    pixels = torch.randn(2, 3, spec.size, spec.size)  # (V, 3, S, S)
    features = encoder(pixels)
    assert features.shape == (2, spec.tokens, encoder.dim), "features are (V, prefix + grid * grid, dim)"
    _check_blocks(encoder)
    _check_portable(encoder, lambda options: vision_encoders.build({**node, **options}))
    features.square().sum().backward()
    idle = [name for name, parameter in encoder.named_parameters() if parameter.grad is None]
    assert not idle, f"DDP needs a use for every parameter; without one: {idle[0]}"
    _check_rows(encoder, pixels)
    check_flow({**config, "vision_encoder": node})


def _check_rows(encoder: VisionEncoder, pixels: Tensor) -> None:
    """Features run row by row: what changes in the upper right corner changes the token of that place most.

    pixels: (V, 3, S, S).
    """
    spec = encoder.spec
    if spec.grid == 1:
        return
    patch = spec.size // spec.grid
    changed = pixels.clone()
    changed[:, :, :patch, -patch:] += 3
    encoder.eval()
    with torch.no_grad():
        difference = encoder(changed) - encoder(pixels)  # (V, prefix + P, D)
    per_patch = difference.norm(dim=-1).mean(0)[spec.prefix :]  # (P,)
    assert int(per_patch.argmax()) == spec.grid - 1


def check_projector(node: Config, config: Config) -> None:
    """Shapes and portability; with a token before the patches, a shape or an InputError."""

    def build(options: Config, prefix: int = 0) -> Projector:
        return projectors.build({**node, **options}, vision_dim=6, llm_dim=10, grid=4, prefix=prefix)

    projector = build({})
    assert isinstance(projector, Projector)
    assert projector(torch.randn(3, 16, 6)).shape == (3, projector.grid**2, 10)
    _check_portable(projector, build)
    try:
        prefixed = build({}, prefix=1)
    except InputError:  # it says so where it has no place for a class token
        pass
    else:
        assert prefixed(torch.randn(3, 17, 6)).shape == (3, prefixed.prefix + prefixed.grid**2, 10)
    check_flow({**config, "projector": node})


def check_llm(node: Config, config: Config) -> None:
    """Blocks, portability, the tokenizer, and attention that stays within documents."""
    llm = llms.build(node)
    assert isinstance(llm, LanguageModel)
    _check_blocks(llm)
    chat = llm.tokenizer
    assert len(chat.encode(NEWLINE, special=True)) == 1, "the learned separator is one token"
    assert chat.encode(NEWLINE, special=True) != chat.encode(NEWLINE, special=False)
    assert chat.decode(chat.encode("Grüße, 世界", special=False)) == "Grüße, 世界"
    _check_portable(llm, lambda options: llms.build({**node, **options}))
    check_documents(llm)
    _check_head_matrix(llm)
    check_flow({**config, "llm": node})


def _check_head_matrix(llm: LanguageModel) -> None:
    """Where the head is said to be a matrix alone, it makes the same logits."""
    matrix = llm.head_matrix()
    if matrix is not None:
        hidden = torch.randn(3, llm.dim)  # (n, D)
        logits = hidden @ matrix.get_parameter("weight").T
        torch.testing.assert_close(llm.head(hidden), logits, rtol=1e-4, atol=1e-4)


def check_documents(llm: LanguageModel) -> None:
    """Two documents in one row come out as each alone, and each alone as Transformers' own attention makes it.

    One of them is longer than the model's sliding window. Raises AssertionError.
    """
    llm.eval()
    model: object = getattr(llm, "model", None)
    window = getattr(getattr(model, "config", None), "sliding_window", None)
    length = window + 7 if window and window <= LONGEST_WINDOW else 7
    short, long = torch.randn(1, 5, llm.dim), torch.randn(1, length, llm.dim)  # (1, T, D) each
    positions = torch.tensor([[*range(5), *range(length)]])  # (1, T)
    with torch.no_grad():
        packed = llm(torch.cat([short, long], 1), positions, Segments.of([[5, length]]))  # (1, T, D)
        alone = torch.cat([_alone(llm, short), _alone(llm, long)], 1)
        torch.testing.assert_close(packed, alone, rtol=1e-4, atol=1e-4)
        if isinstance(model, PreTrainedModel):
            plain = copy.deepcopy(model)
            plain.set_attn_implementation("eager")
            logits = [plain(inputs_embeds=embeds, use_cache=False).logits for embeds in (short, long)]
            torch.testing.assert_close(llm.head(packed), torch.cat(logits, 1), rtol=1e-4, atol=1e-4)


def _alone(llm: LanguageModel, embeds: Tensor) -> Tensor:
    """(1, T, D) -> hidden states (1, T, D) of one document without others."""
    length = embeds.shape[1]
    hidden: Tensor = llm(embeds, torch.arange(length)[None], Segments.of([[length]]))
    return hidden


def check_modality(node: Config, config: Config) -> None:
    """Pixels, and as many features as the layout promises."""
    vision = VisionSpec(16, 4)
    adapter = modalities.build(node, vision=vision, llm_dim=10)
    visual = adapter.prepare(adapter.example())
    assert visual.kind == node["name"]
    assert visual.pixel_values.dtype == torch.uint8, "pixels stay uint8 until the device"
    assert visual.pixel_values.shape[1:] == (3, 16, 16)
    promised = sum(piece for piece in visual.layout if isinstance(piece, int))
    merged = adapter.merge(torch.randn(len(visual.pixel_values), 16, 10), visual.meta)
    assert merged.shape == (promised, 10), f"the layout promises {promised} features and merge makes {len(merged)}"
    json.dumps(visual.described())  # raises where meta holds more than plain values and tensors
    check_flow({**config, "modality": {**config["modality"], node["name"]: node}})


def _check_portable(
    part: VisionEncoder | Projector | LanguageModel, build: Callable[[dict[str, object]], nn.Module]
) -> None:
    """``portable()`` gives options that a JSON file can hold and that build tensors of the same names and shapes."""
    options = json.loads(json.dumps(part.portable()))
    assert _shapes(build(options)) == _shapes(part)


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


def _check_blocks(part: VisionEncoder | LanguageModel) -> None:
    """``blocks()`` names modules that are part of it."""
    inside = set(part.modules())
    blocks = part.blocks()
    assert blocks, "blocks() names the repeated layers"
    for block in blocks:
        assert isinstance(block, nn.Module)
        assert block in inside
