"""Between two log steps no step waits for the device.

There is no device here; what would make the host wait for one is counted instead.
"""

import traceback
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from interleave_plugins.scenes.synthetic.render import make_scene
from lightning import Callback, Trainer
from small_models import rendered, small_config, some_samples, talk
from small_training import STAGE, loader
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader

import interleave as il
from interleave.compose import compose
from interleave.core.types import Batch, Example
from interleave.data.budget import Budget
from interleave.data.cursor import first_cursor
from interleave.data.datamodule import InterleavedData
from interleave.data.example_source import ExampleSource
from interleave.model.assembly import Assembly, assemble
from interleave.processing.collate import collate, join_pair
from interleave.training.build import build_trainer
from interleave.training.dpo import DPO
from interleave.training.lightning_module import LitInterleaved
from interleave.training.optimizer import PARTS, Stage

ATEN = torch.ops.aten
READS = {ATEN._local_scalar_dense.default, ATEN.nonzero.default, ATEN.masked_select.default, ATEN.equal.default}
"""Operations whose result, or the size of it, the host must know."""
COPIES = {torch.Tensor.cpu, torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.new_tensor}
"""Functions that copy between the device and ordinary memory."""
MAKES = {torch.tensor, torch.as_tensor, torch.from_numpy}
"""Functions that copy numbers to the device that they are given."""


def _caller() -> str:
    """File and line of the innermost code that is neither torch's nor this file's."""
    for frame in reversed(traceback.extract_stack()):
        if frame.filename != __file__ and "/torch/" not in frame.filename:
            return f"{'/'.join(Path(frame.filename).parts[-3:])}:{frame.lineno}"
    return "nowhere"


class _Operations(TorchDispatchMode):
    def __init__(self, seen: Counter[str]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        by_bool = "index" in func.name() and any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool
            for index in (args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ())
        )
        if func in READS or by_bool:
            self.seen[f"{func.name()} {_caller()}"] += 1
        return func(*args, **(kwargs or {}))


class _Functions(TorchFunctionMode):
    def __init__(self, seen: Counter[str]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        makes = func in MAKES and (func is torch.from_numpy or kwargs.get("device") is not None)
        if func in COPIES or makes:
            self.seen[f"{func.__name__} {_caller()}"] += 1
        return func(*args, **kwargs)


class CountWaits(Callback):
    """Counts from the end of one log step to the beginning of the next, everything that Lightning does included.

    It stands first, so that it begins before what other callbacks do at the end of a step.
    """

    def __init__(self, interval: int) -> None:
        self.interval, self.waits, self.steps = interval, Counter[str](), 0
        self.modes: list[Any] = []

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        step = trainer.global_step + 1
        if not self.modes and step > self.interval and step % self.interval:
            self.modes = [_Operations(self.waits), _Functions(self.waits)]
            for mode in self.modes:
                mode.__enter__()
        if self.modes and step % self.interval == 0:
            self._leave()
        self.steps += bool(self.modes)

    def on_train_end(self, *_: Any) -> None:
        self._leave()

    def _leave(self) -> None:
        for mode in reversed(self.modes):
            mode.__exit__(None, None, None)
        self.modes = []


class _One(il.Dataset):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> il.Sample:
        return talk("hi")


class Given(InterleavedData):
    """Hands out batches that are made already: making them is work of the CPU, which may read its own tensors."""

    def __init__(self, assembly: Assembly, batches: list[Batch]) -> None:
        source = ExampleSource({"one": _One()}, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision)
        super().__init__(source, Budget(900))
        self.batches = [replace(batch, cursor=first_cursor()) for batch in batches]

    def train_dataloader(self) -> DataLoader[Batch]:  # type: ignore[override]
        return loader(*self.batches)


def waits(assembly: Assembly, batches: list[Batch], stage: Stage, folder: Path, *more: str) -> CountWaits:
    """Two intervals of four steps of a run as it is composed, with its bar, logger, checkpoints and totals."""
    config = compose("train", [f"run={folder}", "trainer.max_steps=8", "trainer.log_every_n_steps=4", *more])
    count = CountWaits(4)
    trainer = build_trainer(config)
    trainer.callbacks.insert(0, count)  # type: ignore[attr-defined]
    batches = [batches[i % len(batches)] for i in range(8 * trainer.accumulate_grad_batches)]
    trainer.fit(LitInterleaved(assembly.model, stage), datamodule=Given(assembly, batches))
    return count


def mixed(assembly: Assembly) -> list[Batch]:
    """Every modality, posed views too, several documents a row; then text alone."""
    scene = talk("where?", il.Media("scene3d", make_scene(0, views=2, size=(24, 18)).views))
    examples = rendered(assembly, [*some_samples(assembly), scene])
    words = rendered(assembly, [talk("plain text")])
    return [collate([examples[:4], examples[4:]], 900, assembly.vision), collate([words, words], 900, assembly.vision)]


def posed() -> Assembly:
    torch.manual_seed(0)
    config = small_config()
    config["modality"]["scene3d"]["poses"] = "pointmap"
    return assemble(config)


@pytest.mark.parametrize("more", [[], ["trainer.accumulate_grad_batches=2", "trainer.precision=bf16-mixed"]])
def test_no_step_waits_on_mixed_batches(more: list[str], tmp_path: Path) -> None:
    assembly = posed()
    count = waits(assembly, mixed(assembly), STAGE, tmp_path, *more)
    assert count.steps == (6 if more else 3)
    assert not count.waits


def test_no_step_waits_on_pairs(assembly: Assembly, tmp_path: Path) -> None:
    good, bad, plain = rendered(assembly, [talk("q", answer=a) for a in ("good", "bad thing", "plain")])
    pair = Example(**{**vars(join_pair(good, bad)), "reference": (-9.0, -9.5)})
    batch = collate([[pair, plain], [pair]], 400, assembly.vision)
    stage = Stage(dict.fromkeys(PARTS, 1e-3), dpo=DPO(sft=0.1))
    count = waits(assembly, [batch], stage, tmp_path)
    assert count.steps == 3
    assert not count.waits


def test_waits_are_counted(assembly: Assembly) -> None:
    """Each of these is one."""
    seen: Counter[str] = Counter()
    numbers = torch.arange(3.0)
    with _Operations(seen), _Functions(seen):
        numbers.sum().item()
        numbers[numbers > 1]
        bool(numbers.any())
        numbers.tolist()
        numbers.cpu()
        torch.tensor([1.0], device="cpu")
    assert sum(seen.values()) >= 6, seen
