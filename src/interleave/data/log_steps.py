"""When a run's numbers are read from the device: at the steps that are logged, and nowhere between.

Reading a number makes the host wait until the device has done all that it was asked to do. Between two log steps a step
is only queued, and the device never runs dry.
"""

from lightning import Trainer


def is_log_step(trainer: Trainer, step: int) -> bool:
    """Whether optimiser step ``step``, from 1, is one that ``trainer.log_every_n_steps`` logs, or the run's last."""
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return step > 0 and (step == trainer.max_steps or (every > 0 and step % every == 0))


class LogSteps:
    """Says once for each log step that it is over, in whichever micro-batch it is asked first."""

    def __init__(self) -> None:
        self._last = 0

    def over(self, trainer: Trainer) -> bool:
        """Whether the optimiser step that was finished last is a log step of which this has not been said."""
        step = trainer.global_step
        if step == self._last or not is_log_step(trainer, step):
            return False
        self._last = step
        return True
