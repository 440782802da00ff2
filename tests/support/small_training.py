"""A few training steps over given batches, without logs, checkpoints or progress bars."""

from typing import Any

from lightning import Trainer
from small_models import talk
from torch.utils.data import DataLoader

from interleave import Dataset, Sample
from interleave.core.types import Batch
from interleave.training.optimizer import PARTS, Stage


class Endless(Dataset):
    """Forty short samples."""

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> Sample:
        return talk("x" * (index % 5), answer=str(index))


STAGE = Stage(dict.fromkeys(PARTS, 1e-2), weight_decay=0.1, warmup=0.0)


def trainer(steps: int, **options: Any) -> Trainer:
    """Lightning's trainer on the CPU. options: its arguments, in place of these."""
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    defaults = {"enable_checkpointing": False, "use_distributed_sampler": False, "devices": 1}
    return Trainer(max_steps=steps, **{**quiet, **defaults, **options})


def loader(*batches: Batch) -> DataLoader[Batch]:
    """The batches one after another, as they are."""
    return DataLoader(batches, batch_size=None, collate_fn=lambda batch: batch)  # type: ignore[arg-type]
