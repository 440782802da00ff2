"""A job that is told to end: SLURM's signal before its time limit noted, the job queued again, and SIGTERM obeyed.

Lightning's own handlers begin collectives wherever each rank just is.
"""

import logging
import os
import signal
import subprocess
from types import FrameType

from lightning import Trainer

log = logging.getLogger(__name__)


class Preemption:
    """Whether SLURM told this process that the job will end, which it does with the signal SIGUSR1."""

    def __init__(self) -> None:
        self.is_watched = False
        self.is_told = False

    def watch(self) -> None:
        """From now on note the signal, where this is a job of SLURM."""
        if "SLURM_JOB_ID" in os.environ:
            signal.signal(signal.SIGUSR1, self._note)
            self.is_watched = True

    def _note(self, number: int, frame: object) -> None:
        self.is_told = True

    def requeue(self, is_global_zero: bool) -> None:
        """Queue the job again, by rank 0; it goes on from its checkpoint. The training goes on until it is ended."""
        self.is_told = False
        if not is_global_zero:
            return
        job = os.environ["SLURM_JOB_ID"]
        if "SLURM_ARRAY_JOB_ID" in os.environ:
            job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
        try:
            subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True)
            log.info("job %s is queued again", job)
        except (OSError, subprocess.CalledProcessError) as error:
            log.warning("job %s cannot be queued again, its checkpoint is written: %s", job, error)


def end_ranks_by_sigterm(trainer: Trainer) -> None:
    """Let SIGTERM end each of several processes at once, after a line that says so. One by itself ends its step, as
    Lightning does it."""
    connector = trainer._signal_connector
    notify = connector._sigterm_notifier_fn

    def end(number: int, frame: FrameType) -> None:
        if trainer.world_size == 1:
            notify(number, frame)
            return
        # no logging: the signal may have come while a line was being written
        os.write(2, f"rank {trainer.global_rank} is ended by SIGTERM; the same command goes on\n".encode())
        if trainer.strategy.launcher is not None:  # processes of its own may wait in a collective for one that is gone
            trainer.strategy.launcher.kill(signal.SIGKILL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)

    connector._sigterm_notifier_fn = end  # type: ignore[assignment, method-assign]
