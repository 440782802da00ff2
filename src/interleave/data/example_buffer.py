"""Examples as one run of bytes each, which is how they travel from loader workers to the loader."""

import io
import pickle

import torch
from torch import Tensor

from ..core.errors import InputError
from ..core.types import Example


def packed(result: Example | InputError) -> bytes:
    """An example, or the error in its place, with all of its tensors, however deep they lie in ``Visual.meta``.

    DataLoader itself would put each tensor into shared memory of its own, with an open file each.
    """
    content = io.BytesIO()
    _Pickler(content, protocol=5).dump(result)
    return content.getvalue()


def unpacked(content: bytes) -> Example | InputError:
    """What ``packed`` was given. Its tensors are contiguous and may be written to."""
    result: Example | InputError = pickle.loads(content)
    return result


class _Pickler(pickle.Pickler):
    """Writes tensors as their bytes, type and shape; by itself pickle would have torch write an archive for each, with
    all of the memory that a slice is taken from."""

    def reducer_override(self, value: object) -> object:
        if type(value) is not Tensor or value.layout != torch.strided or value.is_quantized:
            return NotImplemented
        flat = value.detach().resolve_conj().resolve_neg().contiguous()
        flat = flat.as_strided((value.numel(),), (1,))  # view(-1) keeps the stride of a single element
        content = pickle.PickleBuffer(flat.view(torch.uint8).numpy().data)
        return _tensor, (content, value.dtype, tuple(value.shape))


def _tensor(content: pickle.PickleBuffer, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """A tensor in the memory of ``content``, which pickle hands over as a bytearray."""
    if 0 in shape:  # frombuffer refuses to make an empty one
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(content, dtype=dtype).view(shape)
