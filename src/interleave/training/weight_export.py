"""What a run has learned as safetensors, written by all ranks together: nobody holds more than one whole tensor."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from ..checkpoints import (
    TensorSpec,
    in_shards,
    open_checkpoint,
    own_weights,
    read_parts,
    replace_weights,
    stored_dtype,
    write_file,
    write_index,
)
from ..core.collectives import barrier, global_rank, world_size
from ..core.files import remove
from . import parallelize
from .lora import ADAPTER_MARK, Lora, adapters_of, dequantized, merged, quantized_layers, save_adapter

MAX_BYTES = 5 * 10**9
"""The most that a file holds."""
DTYPES_BY_NAME = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
"""The types that weights are written in."""


@dataclass(frozen=True)
class ExportOptions:
    """Options of ``export``.

    dtype: of the weights that a run leaves; None takes that of the files of ``init``, and float32 without.
    """

    dtype: Literal["bfloat16", "float16", "float32"] | None = None

    def dtype_after(self, init: str | None, resume: Path | None) -> torch.dtype:
        """The type of the weights of a run that began with the checkpoint ``init``. Raises InputError.

        resume: the checkpoint that the run goes on from, whose run says it: the files of ``init`` may be gone.
        """
        if self.dtype:
            return DTYPES_BY_NAME[self.dtype]
        if resume:
            return DTYPES_BY_NAME[read_parts(resume.parents[1])["export"]["dtype"]]
        return stored_dtype(open_checkpoint(init)) if init else torch.float32


class GatheredWeights:
    """The weights of a trained model, adapters merged into them, one by one as they are asked for.

    specs: shape and type of each, by the names of a model without adapters.
    """

    def __init__(self, model: nn.Module, lora: Lora | None, dtype: torch.dtype) -> None:
        """dtype: of what has a fraction; other tensors keep theirs."""
        self._lora, self._quantized = lora, quantized_layers(model) if lora else {}
        self._own = own_weights(model)
        self._name_in_model: dict[str, str] = {}
        self.specs: dict[str, TensorSpec] = {}
        for name in [*self._own, *self._quantized]:
            if ADAPTER_MARK in name:
                continue
            plain = name.replace(".base_layer.", ".")
            self._name_in_model[plain] = name
            self.specs[plain] = self._spec(name, dtype)

    def _spec(self, name: str, dtype: torch.dtype) -> TensorSpec:
        if name in self._quantized:
            layer = self._quantized[name]
            return TensorSpec((int(layer.out_features), int(layer.in_features)), dtype)  # type: ignore[arg-type]
        tensor = self._own[name]
        return TensorSpec(tuple(tensor.shape), dtype if tensor.is_floating_point() else tensor.dtype)

    def read(self, plain: str) -> Tensor:
        """A weight, whole, on the device where the model is: a collective that each rank must call."""
        name = self._name_in_model[plain]
        weight = dequantized(self._quantized[name]) if name in self._quantized else self._whole(name)
        down, up = adapters_of(name)
        if self._lora and down in self._own and down != name:
            weight = merged(weight, self._whole(down), self._whole(up), self._lora)
        return weight.to(self.specs[plain].dtype)

    def adapters(self) -> dict[str, Tensor]:
        """All weights of adapters by the names in the model: a collective. They are small."""
        return {name: self._whole(name).cpu() for name in self._own if ADAPTER_MARK in name}

    def _whole(self, name: str) -> Tensor:
        return parallelize.whole(self._own[name]).detach()


def export_weights(
    folder: Path, model: nn.Module, lora: Lora | None, dtype: torch.dtype, max_bytes: int = MAX_BYTES
) -> None:
    """Write all weights of ``model`` into ``folder``, and the adapters by themselves into ``adapter/``: a collective.

    Each file is written by one rank, each in turn. Files of at most ``max_bytes`` take their names when all are there.
    """
    weights = GatheredWeights(model, lora, dtype)
    if lora:
        adapters = weights.adapters()
        if global_rank() == 0:
            save_adapter(folder / "adapter", adapters, lora)
    files = in_shards(weights.specs, max_bytes)
    part = folder / ".weights.part"
    if global_rank() == 0:
        remove(part)  # of a run that was interrupted
        part.mkdir(parents=True)
    barrier()  # the folder is there
    for number, (file_name, specs) in enumerate(files.items()):
        _write_turn(part / file_name, specs, weights, writes=number % world_size() == global_rank())
    barrier()  # all files are written
    if global_rank() == 0:
        if len(files) > 1:
            write_index(part, files)
        replace_weights(folder, part)
        part.rmdir()


def _write_turn(path: Path, specs: Mapping[str, TensorSpec], weights: GatheredWeights, writes: bool) -> None:
    """Gather the weights of one file on all ranks; the one that ``writes`` keeps them, tensor after tensor."""
    if writes:
        write_file(path, specs, _on_cpu(specs, weights))
        return
    for name in specs:
        weights.read(name)


def _on_cpu(specs: Mapping[str, TensorSpec], weights: GatheredWeights) -> Iterator[tuple[str, Tensor]]:
    for name in specs:
        yield name, weights.read(name).cpu()
