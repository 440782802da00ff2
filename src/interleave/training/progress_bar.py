"""The progress bar of a run that is counted in steps."""

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar

from ..data.log_steps import LogSteps

Metrics = dict[str, int | str | float | dict[str, float]]
"""What stands behind the bar, by name."""
IN_BAR = {
    "train/loss": "train/loss",
    "dpo/accuracy": "dpo/accuracy",
    "speed/tokens_per_second": "tokens/s",
    "speed/mfu": "MFU",
}
"""Logged numbers that stand there -> what they are called there. What is logged with ``prog_bar=True`` Lightning would
read at every step."""


class Progress(RichProgressBar):
    """Lightning's bar without its epochs and version numbers: data are read without an end, so there is one epoch."""

    def __init__(self, leave: bool = False) -> None:
        """leave: whether the bar stays where it is when the run ends."""
        super().__init__(leave=leave)
        self._log_steps = LogSteps()
        self._shown: Metrics = {}

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> Metrics:
        """Those of the last log step: Lightning asks after every batch, and reading them waits for the device."""
        if self._log_steps.over(trainer) or not trainer.training:
            metrics = super().get_metrics(trainer, pl_module)
            self._shown = {name: value for name, value in metrics.items() if name != "v_num"}
            logged = trainer.callback_metrics
            self._shown |= {shown: float(logged[name]) for name, shown in IN_BAR.items() if name in logged}
        return self._shown

    def _get_train_description(self, current_epoch: int) -> str:
        """What stands before the bar: Lightning's says ``Epoch 0/-2``."""
        return "train"
