"""What a step waits for its batch without and with batches that are made ahead of it.

python benchmarks/data_wait.py [STEPS]

Trainings on the CPU, with 0 and 2 loader workers: `quickstart` as it is composed, and `photographs`, JPEGs of 1280x960
pixels shown at 384, to a model of one layer. STEPS is 60 by default; the first ten are not counted.
"""

import io
import sys
import tempfile
import time

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from PIL import Image

import interleave as il
from interleave.compose import compose
from interleave.core.options import Config
from interleave.data.budget import Budget
from interleave.data.build import build_data
from interleave.data.datamodule import InterleavedData
from interleave.data.example_source import ExampleSource
from interleave.data.ledger import Ledger
from interleave.model.assembly import Assembly, assemble
from interleave.training.build import build_module
from interleave.training.step_times import DATA, StepTimes

WARM = 10
"""Steps until workers have started and are ahead."""


class Photographs(il.Dataset):
    """Pictures of one file, each of which is decoded anew."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        coarse = Image.fromarray(rng.integers(0, 255, (19, 25, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        coarse.resize((1280, 960), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        self.picture = buffer.getvalue()

    def __len__(self) -> int:
        return 10_000

    def __getitem__(self, index: int) -> il.Sample:
        picture = il.Media("image", self.picture)
        return il.Sample([il.Message("user", [picture, "what is it?"]), il.Message("assistant", [f"number {index}"])])


class Waits(Callback):
    """Milliseconds of a step, and of its wait for the batch, after the first steps."""

    def __init__(self, times: StepTimes, steps: int) -> None:
        self.times, self.steps = times, steps
        self.wait = self.step = 0.0
        self._begun = (0.0, 0.0)

    def on_train_batch_end(self, trainer: Trainer, module: LightningModule, *_: object) -> None:
        now = (self.times.seconds[DATA], time.perf_counter())
        if trainer.global_step == WARM:
            self._begun = now
        if trainer.global_step == self.steps:
            self.wait, self.step = (1e3 * (b - a) / (self.steps - WARM) for a, b in zip(self._begun, now, strict=True))


def composed(more: list[str]) -> tuple[Config, Assembly]:
    torch.manual_seed(0)
    config = compose("train", ["experiment=quickstart", *more])
    return config, assemble(config)


def quickstart(num_workers: int, prefetch: int) -> tuple[Config, Assembly, InterleavedData]:
    config, assembly = composed([f"data.num_workers={num_workers}", f"data.prefetch={prefetch}", "data.cache=false"])
    return config, assembly, build_data(config, assembly, Ledger())


def photographs(num_workers: int, prefetch: int) -> tuple[Config, Assembly, InterleavedData]:
    sizes = ["vision_encoder.size=384", "vision_encoder.patch=32", "vision_encoder.layers=1", "llm.layers=1"]
    config, assembly = composed(sizes)
    source = ExampleSource({"them": Photographs()}, assembly.adapters, assembly.model.llm.tokenizer, assembly.vision)
    return config, assembly, InterleavedData(source, Budget(1024, 1, 64), 0, num_workers, prefetch=prefetch)


def measured(config: Config, assembly: Assembly, data: InterleavedData, steps: int) -> Waits:
    times = StepTimes()
    waits = Waits(times, steps)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            max_steps=steps, accelerator="cpu", devices=1, profiler=times, callbacks=[waits], limit_val_batches=0,
            enable_checkpointing=False, default_root_dir=folder, **quiet,
        )  # fmt: skip
        trainer.fit(build_module(config, assembly.model), datamodule=data)
    return waits


def main() -> None:
    torch.set_num_threads(1)
    il.load_plugins()
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    print("| batches of | workers | ahead | ms a step | of which it waits for data |\n|---|--:|--:|--:|--:|")
    for made in (quickstart, photographs):
        for num_workers in (0, 2):
            for prefetch in (0, 2):
                waits = measured(*made(num_workers, prefetch), steps)
                row = f"| {made.__name__} | {num_workers} | {prefetch} | {waits.step:.1f} | {waits.wait:.1f} |"
                print(row, flush=True)


if __name__ == "__main__":
    main()
