"""Rows of the table on whole runs: starting, going on, evaluating, by the functions behind the commands."""

import shutil
import time
from pathlib import Path

from interleave.compose import compose
from interleave.evaluation.evaluate import evaluate_run
from interleave.training.lightning_module import LitInterleaved
from interleave.training.train import train

from .clock import Clock, forget_peak, since_process_began

STEPS = 2


def train_command(material: Path, run: Path, steps: int) -> list[str]:
    """Overrides of ``interleave train``: the released model's third stage on the records, in bf16 on the CPU."""
    return [
        f"init={material / 'model'}", "stage=interleave", "dataset=[llava_json]",
        f"dataset.llava_json.path={material / 'records.jsonl'}", f"dataset.llava_json.media={material / 'photos'}",
        "dataset.llava_json.single=image", "data.sequence_length=2048", "trainer.precision=bf16-true",
        f"trainer.max_steps={steps}", f"run={run}",
    ]  # fmt: skip


class Stopwatch:
    """Notes when steps of a training begin. The process began at 0."""

    def __init__(self) -> None:
        self.began: list[float] = []
        inner = LitInterleaved.training_step

        def timed(module: LitInterleaved, batch: object, index: int) -> object:
            self.began.append(since_process_began())
            return inner(module, batch, index)  # type: ignore[arg-type]

        LitInterleaved.training_step = timed  # type: ignore[method-assign, assignment]


def starting(material: Path, clock: Clock) -> None:
    """From the command to the first step on 1.2 million records, and what comes after the last one."""
    run = material / "run"
    shutil.rmtree(run, ignore_errors=True)
    watch = Stopwatch()
    forget_peak()
    train(compose("train", train_command(material, run, STEPS)))
    end = since_process_began()
    clock.add(
        "start: command to first step", watch.began[0], "1.2 million records, indexed in it where no run has before"
    )
    step = watch.began[1] - watch.began[0]
    clock.add("a step of 2,048 tokens in a run", step)
    clock.add("after the last step: checkpoint and export", end - watch.began[-1] - step)


def resuming(material: Path, clock: Clock) -> None:
    """Going on from the checkpoint that ``starting`` left: from the command to the next step."""
    run = material / "run"
    watch = Stopwatch()
    forget_peak()
    train(compose("train", [*train_command(material, run, STEPS + 1), f"resume={run}"]))
    clock.add("resume: command to next step", watch.began[0])


def evaluating(material: Path, clock: Clock) -> None:
    """100 questions about 12-megapixel photographs, from files to results."""
    out = material / f"results-{time.time():.0f}"
    overrides = [
        f"model={material / 'model'}", f"out={out}", "task=[multiple_choice]",
        f"task.multiple_choice.path={material / 'questions.jsonl'}",
        f"task.multiple_choice.media={material / 'photos'}",
        "task.multiple_choice.single=image", "generation={max_new_tokens:4}",
    ]  # fmt: skip
    with clock("evaluate 100 questions", "one view each of 8 photos, 4 new tokens"):
        evaluate_run(compose("eval", overrides))
    shutil.rmtree(out)
