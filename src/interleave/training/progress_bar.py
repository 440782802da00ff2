"""The progress bar of a run that is counted in steps."""

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar


class Progress(RichProgressBar):
    """Lightning's bar without its epochs and version numbers: data are read without an end, so there is one epoch."""

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        metrics = super().get_metrics(trainer, pl_module)
        return {name: value for name, value in metrics.items() if name != "v_num"}

    def _get_train_description(self, current_epoch: int) -> str:
        """What stands before the bar: Lightning's says ``Epoch 0/-2``."""
        return "train"
