"""A job that SLURM will end soon: its signal noted, and the job queued again.

Lightning's own handler would write at once, with collectives in the middle of a step.
"""

import logging
import os
import signal
import subprocess

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
        # it comes next: Lightning's handler would broadcast it in the middle of another collective
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

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
