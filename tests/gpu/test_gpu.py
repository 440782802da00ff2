"""What needs a GPU: the varlen kernel, bf16 steps, sharding on one card. Skipped without one."""

import pytest
import torch
from compiled_steps import graphs_of, learn, mixed_batches, two_models
from small_models import rendered, small_config, some_samples

from interleave.core.types import Segments
from interleave.model.assembly import assemble
from interleave.model.document_attention import attend
from interleave.model.matrix_loss import chunked_loss, matrix_loss
from interleave.processing.collate import collate
from interleave.training.parallelize import TOWERS, CheckpointMode, checkpoint_activations
from interleave.training.parallelize_units import Sharding, shard

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
]


@pytest.mark.parametrize("window", [None, 16])
@pytest.mark.parametrize("groups", [1, 4])
def test_the_varlen_kernel_equals_sdpa_per_document(groups: int, window: int | None) -> None:
    torch.manual_seed(0)
    document = torch.tensor([[1] * 70 + [2] * 40 + [0] * 18, [1] * 128], device="cuda")
    segments = Segments.of([[70, 40, 18], [128]])
    segments = segments._replace(offsets=segments.offsets.cuda())
    query = torch.randn(2, 8, 128, 32, device="cuda", dtype=torch.bfloat16)
    key, value = (torch.randn(2, 8 // groups, 128, 32, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    module = torch.nn.Module()
    options = {"scaling": 32**-0.5, "sliding_window": window}
    fast, _ = attend(module, query, key, value, None, segments, **options)
    exact, _ = attend(module, query.float(), key.float(), value.float(), None, segments, **options)
    real = document > 0
    torch.testing.assert_close(fast.float()[real], exact[real], rtol=2e-2, atol=2e-2)


def test_a_bf16_step_is_close_to_a_float32_step() -> None:
    torch.manual_seed(0)
    assembly = assemble(small_config())
    batch = collate([rendered(assembly, some_samples(assembly))], 900, assembly.vision).to("cuda")
    model = assembly.model.cuda()
    exact, count = model.loss(batch)
    with torch.autocast("cuda", torch.bfloat16):
        half, _ = model.loss(batch)
    half.backward()
    assert half.item() / count.item() == pytest.approx(exact.item() / count.item(), rel=2e-2)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize(
    "sharding",
    [
        Sharding(),
        Sharding(frozen="replicate"),
        Sharding(reshard_after_forward=False, prefetch=2),
        Sharding(offload=True),
    ],
    ids=["shards", "frozen tower whole", "gathered until backward", "offload"],
)
def test_sharding_on_one_card_keeps_the_loss(sharding: Sharding) -> None:
    torch.manual_seed(0)
    assembly = assemble(small_config())
    batch = collate([rendered(assembly, some_samples(assembly))], 900, assembly.vision).to("cuda")
    model = assembly.model.cuda()
    model.vision_encoder.requires_grad_(False)
    expected, _ = model.loss(batch)
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("nccl", store=store, rank=0, world_size=1)
    try:
        shard(model, sharding.mesh("cuda", 1), torch.float32, sharding)
        sharded, _ = model.loss(batch)
        sharded.backward()
        torch.testing.assert_close(sharded, expected, rtol=1e-4, atol=1e-4)
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        assert {gradient.device.type for gradient in gradients} == {"cpu" if sharding.offload else "cuda"}
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("head", ["torch", "liger"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_chosen_loss_head_equals_chunks(head: str, dtype: torch.dtype) -> None:
    if head == "liger":
        pytest.importorskip("liger_kernel")
    torch.manual_seed(0)
    states, weight = (torch.randn(n, 64, device="cuda", dtype=dtype, requires_grad=True) for n in (3000, 500))
    ids = torch.randint(0, 500, (3000,), device="cuda")
    found, expected = matrix_loss(head, True)(states, weight, ids), chunked_loss(states, weight, ids)
    of_found, of_expected = (torch.autograd.grad(loss, [states, weight]) for loss in (found, expected))
    tight = 1e-4 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close([found, *of_found], [expected, *of_expected], rtol=tight, atol=10 * tight)


@pytest.mark.parametrize("kept", ["full", "selective"])
def test_checkpointed_blocks_keep_the_gradients(kept: CheckpointMode) -> None:
    """In bf16, where the varlen kernel is what selective checkpointing keeps."""
    torch.manual_seed(0)
    assembly = assemble(small_config())
    batch = collate([rendered(assembly, some_samples(assembly))], 900, assembly.vision).to("cuda")
    model = assembly.model.cuda()
    found: list[list[torch.Tensor]] = []
    for towers in ({}, dict.fromkeys(TOWERS, kept)):
        checkpoint_activations(model, towers)
        model.zero_grad()
        with torch.autocast("cuda", torch.bfloat16):
            loss, count = model.loss(batch)
        (loss / count).backward()
        found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for again, expected in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(again, expected, rtol=2e-2, atol=1e-4)


def test_compiled_blocks_learn_in_bf16_and_are_compiled_once() -> None:
    """The varlen kernel takes any documents without another graph."""
    assembly, plain = two_models("selective", "inductor")
    batches = [batch.to("cuda") for batch in mixed_batches(assembly, 20)]
    with torch.autocast("cuda", torch.bfloat16):
        losses, recompiled = graphs_of(assembly.model.cuda(), batches)
        expected = learn(plain.cuda(), batches)
    assert recompiled < 5
    assert losses == pytest.approx(expected, rel=5e-2)
