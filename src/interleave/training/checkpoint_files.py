"""Tensors of a run in the folder of a checkpoint: the only place that reads and writes torch's distributed format.

.metadata            names, shapes and places of all tensors; written last
__RANK_N.distcp      tensors: ``model.NAME``, and ``optimizer.NAME.KEY`` for what the optimiser keeps of a parameter
meta.pt              all else, as plain values: loops, schedules, positions in the data, random numbers
"""

import pickle
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict_loader import load as load_distributed
from torch.distributed.checkpoint.state_dict_saver import save as save_distributed
from torch.distributed.tensor import DTensor

from ..checkpoints import own_weights, unwrapped
from ..core.collectives import global_rank, world_size
from ..core.errors import InputError

META = "meta.pt"
"""What Lightning and the data know, in the folder of a checkpoint."""
INDEX = ".metadata"
"""What torch writes last into the folder of a checkpoint."""
_DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
_PART_OF_AN_INDEX = {
    "torch.distributed.checkpoint.metadata": (
        "Metadata", "TensorStorageMetadata", "BytesStorageMetadata", "ChunkStorageMetadata", "TensorProperties",
        "MetadataIndex", "StorageMeta", "_MEM_FORMAT_ENCODING",
    ),
    "torch.distributed.checkpoint.filesystem": ("_StorageInfo",),
    "torch": ("Size", *_DTYPES),
    "torch.serialization": ("_get_layout",),
    "pathlib": ("PosixPath",),
}  # fmt: skip
"""The classes and functions that an index is pickled with, by module; whole names, since a dot would lead further."""

# one process by itself is what is meant
warnings.filterwarnings("ignore", message=".*torch.distributed is disabled, unavailable or uninitialized")


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The weights of ``model`` by ``model.NAME``, as they lie on this rank; each tied weight once."""
    return {f"model.{name}": tensor for name, tensor in own_weights(model).items()}


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What the optimiser keeps of each parameter, by ``optimizer.NAME.KEY``, as it lies on this rank."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{unwrapped(name)}.{key}"] = value
    return tensors


def settings(optimizer: torch.optim.Optimizer) -> list[dict[str, object]]:
    """Rates and all other options of each group of parameters."""
    groups: list[dict[str, object]] = []
    for group in optimizer.param_groups:
        groups.append({key: value for key, value in group.items() if key != "params"})
    return groups


def restore_settings(optimizer: torch.optim.Optimizer, groups: Sequence[Mapping[str, object]]) -> None:
    """Give each group of parameters what ``settings`` returned. Raises InputError where the groups are others."""
    names = [group.get("name") for group in optimizer.param_groups]
    saved = [group.get("name") for group in groups]
    if names != saved:
        raise InputError(
            f"the checkpoint trained {saved}, and this stage trains {names}; begin a new run with init=..."
        )
    for group, before in zip(optimizer.param_groups, groups, strict=True):
        group.update(before)


def share_of_rank(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What this rank writes: its shards, and of the tensors that every rank has whole its share of their bytes."""
    rank, loads = global_rank(), [0] * world_size()
    share: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if isinstance(tensor, DTensor):
            share[name] = tensor
            continue
        lightest = loads.index(min(loads))  # the same on every rank, since all have the same tensors
        loads[lightest] += tensor.nbytes
        if lightest == rank:
            share[name] = tensor
    return share


class Staging:
    """Copies of tensors on the CPU, which training does not change. Their memory is kept from one call to the next."""

    def __init__(self) -> None:
        on_gpu = torch.cuda.is_available()  # then the memory is pinned, and copied to without waiting for each tensor
        self._stager = DefaultStager(StagingOptions(on_gpu, False, False, on_gpu))

    def copies(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Of ``tensors``, by their names; those of the call before are overwritten."""
        copies = self._stager.stage(dict(tensors))
        assert isinstance(copies, dict)
        return copies

    def close(self) -> None:
        """Give the memory back."""
        self._stager.close()


def write_tensors(folder: Path, share: Mapping[str, Tensor], group: dist.ProcessGroup | None) -> None:
    """Write the shares of all ranks into one folder, each rank its own: a collective of ``group``.

    It returns once every rank has written and the index is there. share: of ``share_of_rank``, copied. Raises
    InputError on every rank where one cannot write.
    """
    writer = FileSystemWriter(folder)  # waits until the disk has what it wrote
    try:
        save_distributed(dict(share), storage_writer=writer, process_group=group, no_dist=group is None)
    except CheckpointException as error:
        reasons = [str(wrapped[0]) for wrapped in error.failures.values()]
        raise InputError(f"{folder} cannot be written: {reasons[0]}") from error


def read_tensors(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put the tensors of a checkpoint into model and optimiser as they lie on this rank, however many ranks wrote them.

    A collective. Raises InputError where the model has a weight that the checkpoint lacks, or of another shape.
    """
    reader = _SafeReader(folder)
    stored = reader.read_metadata().state_dict_metadata
    tensors = model_tensors(model)
    _check(folder, tensors, stored, "model")
    _begin_optimizer(optimizer)
    for name, parameter in model.named_parameters():
        if not any(f"optimizer.{unwrapped(name)}.{key}" in stored for key in optimizer.state.get(parameter, ())):
            optimizer.state.pop(parameter, None)  # it had not taken a step
    states = optimizer_tensors(model, optimizer)
    _check(folder, states, stored, "stage.optimizer_states")
    load_distributed({**tensors, **states}, storage_reader=reader, no_dist=not dist.is_initialized())


def _check(folder: Path, tensors: Mapping[str, Tensor], stored: Mapping[str, object], origin: str) -> None:
    """Raises InputError for the first tensor that the checkpoint does not have as this run has it.

    origin: what decides which tensors there are.
    """
    for name, tensor in tensors.items():
        found = stored.get(name)
        if not isinstance(found, TensorStorageMetadata):
            raise InputError(
                f"{folder} holds no {name}, which this run has; resume with the {origin} that it was trained with"
            )
        if found.size != tensor.shape:
            raise InputError(f"{folder} holds {name} of shape {tuple(found.size)}, this run's is {tuple(tensor.shape)}")


def _begin_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Let the optimiser make its state of every parameter, by a step at the rate 0 whose results are overwritten."""
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


class _SafeReader(FileSystemReader):
    """Reads nothing but tensors: neither the index of a checkpoint nor an entry of it can run code."""

    def read_metadata(self, *args: object, **kwargs: object) -> Metadata:
        """The index. Raises InputError where it holds more than names and places of tensors."""
        path = Path(self.path) / INDEX
        with path.open("rb") as file:
            try:
                metadata: Metadata = _SafeUnpickler(file).load()
            except (pickle.UnpicklingError, EOFError) as error:
                raise InputError(f"{path} cannot be read: {error}") from None
        for name, entry in metadata.state_dict_metadata.items():
            if not isinstance(entry, TensorStorageMetadata):  # torch would unpickle it
                raise InputError(f"{path}: {name} is no tensor, and was not read")
        return metadata


class _SafeUnpickler(pickle.Unpickler):
    """Makes the plain values that an index consists of, and refuses any other class or function."""

    def find_class(self, module: str, name: str) -> object:
        if name in _PART_OF_AN_INDEX.get(module, ()):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it holds {module}.{name}, which is no part of an index")
