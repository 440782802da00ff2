"""Examples as one run of bytes each, which is how they travel from loader workers to the loader."""

import copyreg
import io
import pickle
from typing import Any

import torch
from torch import Tensor

from ..core.errors import InputError
from ..core.types import Example


def packed(result: Example | InputError) -> bytes:
    """An example, or the error in its place, with all of its tensors, however deep they lie in ``Visual.meta``.

    DataLoader itself would put each tensor into shared memory of its own, with an open file each.
    """
    content = io.BytesIO()
    pickler = pickle.Pickler(content, protocol=5)
    pickler.dispatch_table = copyreg.dispatch_table | {Tensor: _reduced}
    pickler.dump(result)
    return content.getvalue()


def unpacked(content: bytes) -> Example | InputError:
    """What ``packed`` was given. Its tensors are contiguous and may be written to."""
    result: Example | InputError = pickle.loads(content)
    return result


def _reduced(value: Tensor) -> tuple[Any, ...]:
    """A tensor as its bytes, type and shape; by itself pickle would have torch write an archive for each, with all of
    the memory that a slice is taken from."""
    if value.layout != torch.strided or value.is_quantized:
        by_torch: tuple[Any, ...] = value.__reduce_ex__(5)
        return by_torch
    flat = value.detach().resolve_conj().resolve_neg().contiguous()
    flat = flat.as_strided((value.numel(),), (1,))  # view(-1) keeps the stride of a single element
    content = pickle.PickleBuffer(flat.view(torch.uint8).numpy().data)
    return _tensor, (content, value.dtype, tuple(value.shape))


def _tensor(content: pickle.PickleBuffer, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """A tensor in the memory of ``content``, which pickle hands over as a bytearray."""
    if 0 in shape:  # frombuffer refuses to make an empty one
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(content, dtype=dtype).view(shape)
