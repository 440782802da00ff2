"""Training steps of real shapes on a GPU: tokens and FLOPs a second, by length, vision encoder and compiling."""

from typing import NamedTuple

import torch

from ..core.types import Batch, Example, Visual
from ..costs.memory import GIB
from ..costs.work import Quantities, model_work
from ..inference.lm import LM
from ..model.interleaved_model import InterleavedModel
from ..processing.collate import collate
from ..training.compilation import compile_blocks
from ..training.optimizer import PARTS, Stage, freeze, optimizer
from ..training.parallelize import TOWERS, blocks, checkpoint_activations
from .bench_models import SHAPES, random_lm
from .bench_table import BenchCell, BenchTable
from .effort import Effort
from .stopwatch import alternate

DOCUMENT_VIEWS, DOCUMENT_TEXT = 2, 200
"""Views of each document of a packed row, and tokens of text behind them."""


class GPUCase(NamedTuple):
    """One line of the table: shape of the model, tokens of a row, whether the vision encoder learns, whether blocks are
    compiled."""

    shape: str
    tokens: int
    trained_vision: bool
    compiled: bool


def compare_gpu_steps(effort: Effort) -> list[BenchTable]:
    """Steps in bf16 with activation checkpointing; on a machine without a GPU a table that says so."""
    columns = ("shape, tokens, vision, blocks", "seconds", "real tokens/s", "TFLOP/s, all parts", "TFLOP/s, LLM alone",
               "peak GiB")  # fmt: skip
    title = "Training steps of real shapes, bf16, blocks computed again in the backward pass"
    if not torch.cuda.is_available():
        return [BenchTable("gpu", title, columns, [], "no GPU here: nothing was measured")]
    cases = []
    for shape in ("0.5b", "7b"):
        for tokens in (8_192, 16_384, 32_768):
            for trained in (False, True):
                cases += [GPUCase(shape, tokens, trained, compiled) for compiled in (False, True)]
    rows = [measure_case(case, "cuda", effort.rounds) for case in cases]
    return [BenchTable("gpu", title, columns, rows, "Frozen parts count forward only; LLM alone as 6 N + attention.")]


def measure_case(case: GPUCase, device: str, rounds: int) -> list[BenchCell]:
    """A row of the table; where memory runs out a row that says so."""
    blocks = "compiled" if case.compiled else "eager"
    name = f"{case.shape}, {case.tokens:,}, {'trained' if case.trained_vision else 'frozen'}, {blocks}"
    try:
        return [name, *_measured_step(case, device, rounds)]
    except torch.cuda.OutOfMemoryError:
        return [name, "out of memory", *[""] * 4]
    finally:
        if device == "cuda":
            torch.cuda.empty_cache()


def _measured_step(case: GPUCase, device: str, rounds: int) -> list[BenchCell]:
    lm = random_lm(SHAPES[case.shape], device)
    model = lm.model.to(torch.bfloat16).train()
    rates: dict[str, float | None] = dict.fromkeys(PARTS, 1e-6)
    stage = Stage({**rates, "vision_encoder": 1e-6 if case.trained_vision else None})
    freeze(model, stage)
    work = model_work(model, TOWERS)
    batch = packed_row(lm, case.tokens)
    quantities = Quantities.of(batch)
    checkpoint_activations(model, dict.fromkeys(TOWERS, "full"))
    if case.compiled:
        compile_blocks(blocks(model))
    step = TrainingStep(model, batch.to(device), optimizer(model, stage))
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = alternate({"step": step}, rounds)["step"]
    peak = torch.cuda.max_memory_allocated() / GIB if device == "cuda" else 0.0
    rate, done = quantities.tokens / seconds, work.total(quantities).useful / seconds / 1e12
    return [seconds, rate, done, work.llm_alone(quantities) / seconds / 1e12, peak]


class TrainingStep:
    """Forward, backward and the optimiser's step over the same batch each time it is called."""

    def __init__(self, model: InterleavedModel, batch: Batch, adamw: torch.optim.Optimizer) -> None:
        self.model, self.batch, self.adamw = model, batch, adamw

    def __call__(self) -> None:
        loss, count = self.model.loss(self.batch)
        (loss / count).backward()
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)


def packed_row(lm: LM, tokens: int) -> Batch:
    """A row of so many tokens, on the CPU: whole documents of ``DOCUMENT_VIEWS`` views and ``DOCUMENT_TEXT`` tokens,
    of whose text the second half is learned. It has one document at least, and grows to that."""
    vision = lm.vision
    length = DOCUMENT_VIEWS * vision.tokens + DOCUMENT_TEXT
    ids = torch.ones(length, dtype=torch.long)  # (T,)
    labels = torch.full((length,), -100)
    labels[-DOCUMENT_TEXT // 2 :] = 1
    pixels = torch.randint(0, 255, (DOCUMENT_VIEWS, 3, vision.size, vision.size), dtype=torch.uint8)
    num_features = DOCUMENT_VIEWS * vision.tokens
    visual = Visual("image", pixels, [num_features])
    document = Example(ids, labels, torch.arange(num_features), [visual])
    return collate([[document] * max(1, tokens // length)], max(tokens, length), vision)
