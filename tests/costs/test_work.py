"""The formulas of a step's work, against what PyTorch counts while a step runs."""

from collections.abc import Sequence

import pytest
from small_models import rendered, small_config, some_samples
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from interleave.core.types import Batch
from interleave.costs.work import Passes, Quantities, model_work
from interleave.model.assembly import Assembly, assemble
from interleave.processing.collate import collate
from interleave.training.lora import Lora, inject
from interleave.training.optimizer import Stage, freeze
from interleave.training.parallelize import TOWERS, checkpoint_activations

ALL = {"vision_encoder": 1.0, "projector": 1.0, "llm": 1.0, "modality": 1.0}
STAGES = {
    "everything": Stage(ALL),
    "frozen vision": Stage({**ALL, "vision_encoder": None}),
    "projector alone": Stage({"projector": 1.0}),
    "language model alone": Stage({"llm": 1.0}),
    "adapters": Stage({"projector": 1.0, "llm": 1.0}, lora=Lora(rank=4)),
}


@pytest.fixture(scope="module")
def batch() -> Batch:
    assembly = assemble(small_config())
    examples = rendered(assembly, some_samples(assembly))
    return collate([examples[:3], examples[3:]], 512, assembly.vision)


def built(stage: Stage, **parts: dict[str, object]) -> Assembly:
    assembly = assemble(small_config(**parts))
    if stage.lora:
        inject(assembly.model.llm, stage.lora)
    freeze(assembly.model, stage)
    return assembly


def counted(assembly: Assembly, batch: Batch) -> int:
    """FLOPs of a step as torch counts them; it knows attention as two products of whole matrices."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        assembly.model.loss(batch)[0].backward()
    return int(counter.get_total_flops())


def expected(assembly: Assembly, batch: Batch, towers: Sequence[str] = ()) -> float:
    """By the formulas, in the same terms: padding is a document, and attention works on whole squares."""
    work, quantities = model_work(assembly.model, towers), Quantities.of(batch)
    rows, length = batch.input_ids.shape
    padding = [length - int((row > 0).sum()) for row in batch.document_ids]
    squares = quantities.squares + sum(n * n for n in padding)
    with_padding = Quantities(rows * length, 2 * squares, quantities.supervised, quantities.views)
    return work.total(with_padding).done


@pytest.mark.parametrize("name", STAGES)
def test_the_formulas_are_what_a_step_computes(name: str, batch: Batch) -> None:
    """To 1%: the first block's gradient of its input is counted where it is not formed."""
    assembly = built(STAGES[name])
    assert expected(assembly, batch) == pytest.approx(counted(assembly, batch), rel=0.01)


def test_an_encoder_of_another_class_and_a_pooling_projector_are_counted(batch: Batch) -> None:
    assembly = built(STAGES["everything"], projector={"name": "resampler", "queries": 4, "depth": 1})
    fewer = rendered(assembly, some_samples(assembly))
    own = collate([fewer], 512, assembly.vision)
    assert expected(assembly, own) == pytest.approx(counted(assembly, own), rel=0.01)


def test_activation_checkpointing_adds_a_forward_pass(batch: Batch) -> None:
    assembly = built(STAGES["everything"])
    before = expected(assembly, batch, TOWERS)
    checkpoint_activations(assembly.model, dict.fromkeys(TOWERS, "full"))
    # to 4%: a block's last product is not computed again, nor what precedes the first block
    assert before == pytest.approx(counted(assembly, batch), rel=0.04)


def test_quantities_of_a_batch_leave_out_padding(batch: Batch) -> None:
    quantities = Quantities.of(batch)
    assert quantities.tokens == int((batch.document_ids > 0).sum())
    lengths = [int((row == d).sum()) for row in batch.document_ids for d in range(1, int(row.max()) + 1)]
    assert quantities.squares == sum(n * n for n in lengths)
    assert quantities.supervised == int((batch.labels >= 0).sum())
    assert (quantities + quantities).views == 2 * len(batch.pixel_values)


def test_the_language_model_alone_counts_six_flops_a_parameter_and_token() -> None:
    assembly = built(STAGES["everything"])
    llm = assembly.model.llm
    tables = llm.get_submodule("model.model.embed_tokens")  # tied: it is the head as well
    matrices = sum(p.numel() for n, p in llm.named_parameters() if p.ndim == 2)
    work = model_work(assembly.model)
    assert work.matrices == matrices
    assert work.llm_alone(Quantities(10, 0, 0, 0)) == 60 * matrices
    assert work.supervised.forward == 2 * sum(p.numel() for p in tables.parameters())


def test_passes_add_up_number_by_number() -> None:
    both = Passes(1, 2, 3) + Passes(10, 20, 30)
    assert both == Passes(11, 22, 33)
    assert (both.useful, both.done) == (33, 66)
