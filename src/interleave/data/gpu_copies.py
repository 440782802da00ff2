"""Batches on their way to a GPU, copied beside the steps."""

from collections.abc import Iterable, Iterator

import torch

from ..core.types import Batch


class Copy:
    """A batch whose copy to a GPU was begun. Lightning converts floats of a batch before it is copied; there are none.

    The copy runs in a stream of its own, and no host waits for it.
    """

    def __init__(self, pinned: Batch, device: torch.device, stream: torch.cuda.Stream) -> None:
        with torch.cuda.stream(stream):
            self.batch = pinned.to(device, non_blocking=True)
            self.done = stream.record_event()

    def arrived(self) -> Batch:
        """The batch, for the current stream, which waits for the copy before it does anything else."""
        current = torch.cuda.current_stream(self.batch.input_ids.device)
        current.wait_event(self.done)
        self.batch.record_stream(current)  # its memory is the other stream's, which would use it again too early
        return self.batch


class Copies:
    """The batches of a loader, each copied from when it is taken; Lightning takes one ahead of the step.

    loader: of batches in page-locked memory. device: a GPU.
    """

    def __init__(self, loader: Iterable[Batch], device: torch.device) -> None:
        self.loader, self.device = loader, device

    def __iter__(self) -> Iterator[Copy]:
        stream = torch.cuda.Stream(self.device)
        for batch in self.loader:
            yield Copy(batch, self.device, stream)
