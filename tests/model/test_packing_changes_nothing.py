"""Packing changes nothing: loss, gradients, attention, positions and slots are those of each example alone."""

import sys
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_models import rendered, small_config, some_samples, talk
from torch import Tensor

import interleave as il
from interleave.core.errors import BadSample, InputError
from interleave.core.types import IGNORE, Example, Targets
from interleave.data.packing import Packer
from interleave.model import matrix_loss
from interleave.model.assembly import Assembly, assemble
from interleave.model.interleaved_model import scatter
from interleave.model.loss import next_token_loss, token_losses
from interleave.model.matrix_loss import chunked_loss
from interleave.processing.collate import collate, one_per_row

LENGTH = 700


def gradients(model: torch.nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("llm", ["tiny", "qwen2"])
def test_packed_loss_and_gradients_equal_those_of_each_example_alone(llm: str) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
             "intermediate_size": 64}  # fmt: skip
    parts = {"name": "qwen2", "config": sizes} if llm == "qwen2" else small_config()["llm"]
    assembly = assemble(small_config(llm=parts))
    examples = rendered(assembly, some_samples(assembly))
    model = assembly.model
    packed, count = model.loss(collate([examples[:4], examples[4:]], LENGTH, assembly.vision))
    alone = [model.loss(collate([[e]], len(e.input_ids), assembly.vision)) for e in examples]
    torch.testing.assert_close(packed, sum(loss for loss, _ in alone), rtol=1e-5, atol=1e-5)
    assert count == sum(n for _, n in alone) > 0
    expected = gradients(model, torch.stack([loss for loss, _ in alone]).sum())
    found = gradients(model, packed)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_a_document_does_not_see_the_one_before_it(assembly: Assembly) -> None:
    first, second = rendered(assembly, [talk("abcdef"), talk("ghijkl")])
    changed = rendered(assembly, [talk("ABCDEF")])[0]
    n = len(first.input_ids)
    one, two = (assembly.model(collate([[e, second]], 2 * n, assembly.vision)) for e in (first, changed))
    torch.testing.assert_close(one[:, n:], two[:, n:], rtol=0, atol=0)
    assert not torch.allclose(one[:, :n], two[:, :n])


def test_positions_restart_and_documents_count(assembly: Assembly) -> None:
    examples = rendered(assembly, [talk("abc"), talk("defgh")])
    batch = collate([examples], 80, assembly.vision)
    n, m = (len(e.input_ids) for e in examples)
    assert batch.position_ids[0, : n + m].tolist() == [*range(n), *range(m)]
    assert batch.document_ids[0].tolist() == [1] * n + [2] * m + [0] * (80 - n - m)
    assert batch.segments.lengths == [[n, m, 80 - n - m]]
    assert batch.segments.offsets.tolist() == [0, n, n + m, 80]
    assert (batch.segments.longest, batch.num_tokens) == (max(n, m, 80 - n - m), n + m)
    assert batch.labels[0, n] == IGNORE, "the first token of a document must not be predicted from the one before"


def test_slots_hold_the_features_of_their_own_visual(assembly: Assembly) -> None:
    """Each row's slots, read back from the embeddings, are what the adapter made of that row's picture."""
    examples = rendered(assembly, some_samples(assembly))
    model = assembly.model
    batch = collate([examples[:2], examples[2:]], LENGTH, assembly.vision)
    found = model.embed(batch).flatten(0, 1)[batch.visual_positions]
    expected = [
        model.adapter(v.kind).merge(model.encode_views(v.pixel_values), v.meta) for e in examples for v in e.visuals
    ]  # fmt: skip
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-5, atol=1e-5)


def test_text_only_batches_reach_the_vision_tower(assembly: Assembly) -> None:
    batch = collate([rendered(assembly, [talk("hi")])], 64, assembly.vision)
    assert len(batch.pixel_values) == 1
    assert not batch.visuals
    assembly.model.loss(batch)[0].backward()
    for part in (assembly.model.vision_encoder, assembly.model.projector):
        for name, parameter in part.named_parameters():
            assert parameter.grad is not None, name
            assert not parameter.grad.any(), name


@pytest.mark.parametrize("chunks", [3, 40])
def test_views_in_chunks_change_nothing(assembly: Assembly, chunks: int) -> None:
    """Also where there are fewer views than chunks."""
    model, batch = assembly.model, collate([rendered(assembly, some_samples(assembly))], 900, assembly.vision)
    assert 3 < len(batch.pixel_values) < 40
    expected = gradients(model, model.loss(batch)[0])
    model.vision_chunks = chunks
    calls: list[int] = []
    model.vision_encoder.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    found = gradients(model, model.loss(batch)[0])
    assert len(calls) == chunks
    assert min(calls) >= 1, "a sharded encoder must be in the graph of every chunk"
    assert max(calls) <= -(-len(batch.pixel_values) // chunks)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_scatter_counts() -> None:
    with pytest.raises(ValueError, match="5 slots but the vision side made 4 features"):
        scatter(torch.zeros(1, 5, 2), torch.arange(5), torch.zeros(4, 2))


def example(tokens: int, views: int = 0) -> Example:
    visuals = [il.Visual("image", torch.zeros(views, 3, 2, 2, dtype=torch.uint8), [])] if views else []
    ids = torch.zeros(tokens, dtype=torch.long)
    return Example(ids, ids, torch.zeros(0, dtype=torch.long), visuals, "m4/123")


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 6)), min_size=1, max_size=60),
    st.integers(1, 4),
    st.integers(6, 20),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_packer_keeps_both_budgets_and_loses_nothing(sizes: list[tuple[int, int]], rows: int, views: int) -> None:
    packer = Packer(rows, 50, views)
    for position, (tokens, seen) in enumerate(sizes):
        packer.add(position, example(tokens, seen))
    taken: list[Example] = []
    while packer.waiting:
        oldest = packer.waiting[0][1]
        batch = packer.take()
        assert len(batch) <= rows
        assert all(sum(len(e.input_ids) for e in row) <= 50 for row in batch)
        assert sum(e.views for row in batch for e in row) <= views
        assert any(e is oldest for row in batch for e in row), "the oldest may not wait for ever"
        taken += [e for row in batch for e in row]
    assert sorted((len(e.input_ids), e.views) for e in taken) == sorted(sizes)


def test_packing_is_dense_on_mixed_lengths() -> None:
    generator = torch.Generator().manual_seed(0)
    packer, real, room = Packer(4, 4096, 10_000), 0, 0
    for position, size in enumerate(torch.empty(3000).log_normal_(5.5, 1.0, generator=generator).clamp(20, 4096)):
        packer.add(position, example(int(size)))
        if packer.full:
            real += sum(len(e.input_ids) for row in packer.take() for e in row)
            room += 4 * 4096
    assert real / room > 0.97


def test_too_long_and_too_many_views_name_both_numbers() -> None:
    with pytest.raises(BadSample, match=r"m4/123: an example of 51 tokens does not fit into rows of 50; 0 of them"):
        Packer(1, 50, 9).add(0, example(51))
    with pytest.raises(BadSample, match=r"m4/123: an example of 10 views does not fit into batches of 9"):
        Packer(1, 50, 9).add(0, example(5, 10))


@pytest.mark.parametrize("head_of", ["matrix", "bias"])
def test_loss_in_chunks_equals_loss_at_once(head_of: str) -> None:
    """Chunks that form gradients in the forward pass, and chunks that are computed again, against plain logits."""
    torch.manual_seed(0)
    hidden, head = torch.randn(2, 40, 8, requires_grad=True), torch.nn.Linear(8, 30, bias=head_of == "bias")
    labels = torch.randint(0, 30, (2, 40)).masked_fill(torch.rand(2, 40) < 0.4, IGNORE)
    targets = Targets.of(labels, torch.ones(2, 40).long())
    full = torch.nn.functional.cross_entropy(
        head(hidden)[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORE, reduction="sum"
    )
    chunked = token_losses(hidden, targets, head, chunk=7).sum()
    if head_of == "matrix":
        whole, count = next_token_loss(hidden, targets, head, head)
        chunked, _ = next_token_loss(hidden, targets, head, head, partial(chunked_loss, chunk=7))
    else:
        whole, count = next_token_loss(hidden, targets, head)
    assert count == (labels[:, 1:] != IGNORE).sum()
    inputs = [hidden, *head.parameters()]
    expected = torch.autograd.grad(3 * full, inputs)
    for loss in (whole, chunked):
        torch.testing.assert_close(loss, full)
        for found, wanted in zip(torch.autograd.grad(3 * loss, inputs), expected, strict=True):
            torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("choice", [matrix_loss.torch_loss, partial(matrix_loss.torch_loss, chunk=7)])
@pytest.mark.parametrize("tokens", [40, 0])
def test_torchs_loss_equals_chunks(choice: matrix_loss.MatrixLoss, tokens: int) -> None:
    torch.manual_seed(0)
    states, weight = torch.randn(tokens, 8, requires_grad=True), torch.randn(30, 8, requires_grad=True)
    ids = torch.randint(0, 30, (tokens,))
    found, expected = choice(states, weight, ids), chunked_loss(states, weight, ids)
    of_found, of_expected = (torch.autograd.grad(3 * loss, [states, weight]) for loss in (found, expected))
    torch.testing.assert_close([found, *of_found], [expected, *of_expected])


def test_torchs_loss_under_autocast_and_of_a_half_precision_head_is_float32() -> None:
    torch.manual_seed(0)
    states, weight, ids = torch.randn(300, 8), torch.randn(30, 8), torch.randint(0, 30, (300,))
    expected = torch.nn.functional.cross_entropy(states @ weight.T, ids, reduction="sum")
    with torch.autocast("cpu", torch.bfloat16):
        mixed = matrix_loss.torch_loss(states, weight, ids)
    for found in (mixed, matrix_loss.torch_loss(states.bfloat16(), weight.bfloat16(), ids)):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=1e-2, atol=0)


def test_ligers_loss_is_asked_for_sums_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's kernel needs a GPU; here plain torch stands in its place, with its order of arguments."""
    asked: list[dict[str, object]] = []

    class Fused(torch.nn.Module):
        def __init__(self, **options: object) -> None:
            super().__init__()
            asked.append(options)

        def forward(self, weight: Tensor, states: Tensor, ids: Tensor) -> Tensor:
            return torch.nn.functional.cross_entropy(states @ weight.T, ids, reduction="sum")

    stand_in = SimpleNamespace(LigerFusedLinearCrossEntropyLoss=Fused)
    monkeypatch.setitem(sys.modules, "liger_kernel.transformers", stand_in)
    monkeypatch.setitem(sys.modules, "liger_kernel", SimpleNamespace(transformers=stand_in))
    states, weight, ids = torch.randn(9, 8), torch.randn(30, 8), torch.randint(0, 30, (9,))
    torch.testing.assert_close(matrix_loss.liger_loss(states, weight, ids), chunked_loss(states, weight, ids))
    assert matrix_loss.liger_loss(states[:0], weight, ids[:0]) == 0
    assert asked == [{"reduction": "sum", "accum_dtype": torch.float32}]


def test_a_loss_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert matrix_loss.matrix_loss("chunks", False) is chunked_loss
    assert matrix_loss.matrix_loss("torch", False) is matrix_loss.torch_loss
    with pytest.raises(InputError, match=r"loss\.head=liger runs on a GPU alone; take loss.head=chunks or torch"):
        matrix_loss.matrix_loss("liger", False)
    monkeypatch.setattr(matrix_loss, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"liger-kernel; pip install 'interleave\[liger\]'"):
        matrix_loss.matrix_loss("liger", True)
    monkeypatch.delattr(torch.nn, "LinearCrossEntropyOptions")
    with pytest.raises(InputError, match=r"loss\.head=torch needs torch 2.14, and this is"):
        matrix_loss.matrix_loss("torch", False)


def test_a_matrix_is_called_once_however_many_chunks_there_are() -> None:
    """A sharded one meets the other ranks at each call, and ranks have different numbers of tokens."""
    torch.manual_seed(0)
    hidden, head = torch.randn(1, 40, 8, requires_grad=True), torch.nn.Linear(8, 30, bias=False)
    targets = Targets.of(torch.randint(0, 30, (1, 40)), torch.ones(1, 40).long())
    expected = token_losses(hidden, targets, head)  # (39,)
    calls: list[object] = []
    head.register_forward_hook(lambda *_: calls.append(None))
    found = token_losses(hidden, targets, head, head, chunk=7)
    weights = torch.rand(39)
    of_found = torch.autograd.grad((found * weights).sum(), [hidden, head.weight])
    of_expected = torch.autograd.grad((expected * weights).sum(), [hidden, head.weight])
    torch.testing.assert_close([found, *of_found], [expected, *of_expected])
    assert len(calls) == 1


def test_a_frozen_head_gets_no_gradient_and_none_is_formed_without_need() -> None:
    torch.manual_seed(0)
    hidden, head = torch.randn(5, 8, requires_grad=True), torch.nn.Linear(8, 30, bias=False).requires_grad_(False)
    ids = torch.randint(0, 30, (5,))
    chunked_loss(hidden, head.weight, ids).backward()
    (expected,) = torch.autograd.grad(torch.nn.functional.cross_entropy(head(hidden), ids, reduction="sum"), hidden)
    torch.testing.assert_close(hidden.grad, expected)
    assert head.weight.grad is None
    head.weight.requires_grad_(True)
    with torch.no_grad():
        assert not chunked_loss(hidden, head.weight, ids).requires_grad


def test_the_gradient_of_a_half_precision_head_is_added_up_in_float32() -> None:
    """With 32 chunks it is as near to the exact one as with a single one; in bf16 it would be three times as far."""
    torch.manual_seed(0)
    states, weight, ids = torch.randn(2048, 64), torch.randn(256, 64) * 0.05, torch.randint(0, 40, (2048,))
    exact = weight.double().requires_grad_()
    torch.nn.functional.cross_entropy(states.double() @ exact.T, ids, reduction="sum").backward()
    errors = []
    for chunk in (64, 2048):
        half = weight.bfloat16().requires_grad_()
        chunked_loss(states.bfloat16(), half, ids, chunk).backward()
        errors.append(float((half.grad.double() - exact.grad).norm() / exact.grad.norm()))  # type: ignore[union-attr]
    assert errors[0] < 1.2 * errors[1] < 6e-3, errors


def test_nothing_supervised_gives_a_zero_loss_that_still_has_gradients(assembly: Assembly) -> None:
    batch = one_per_row(rendered(assembly, [il.Sample([il.Message("user", ["hi"])])]), assembly.vision)
    loss, count = assembly.model.loss(batch)
    loss.backward()
    assert (loss.item(), count.item()) == (0, 0)
    assert all(p.grad is not None for p in assembly.model.llm.parameters())
