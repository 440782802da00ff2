"""From a model in memory into its folder: the only place that writes a run's weights.

config.yaml          what was composed, resolved; enough to build the model again
model.safetensors    all weights, each once
tokenizer/           of the language model, unless it is made from code
checkpoints/         Lightning's, for resuming
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from ..core.files import replacing
from .load import WRAPPER, tied_names
from .native import UNUSED
from .tensor_files import WEIGHT_FILES, TensorSpec, write_file


def save_weights(
    folder: Path, model: nn.Module, state: Mapping[str, Tensor], unused: Mapping[str, Tensor] | None = None
) -> None:
    """Write ``state`` to the ``model.safetensors`` of ``folder``, which takes its name when it is complete.

    model: tells which weights are tied; those are written once, under the name of their owner.
    state: the whole state dict by the model's names, also where the model itself is sharded.
    unused: tensors of the checkpoint that the model came from and does not read, by native name; kept for exports.
    """
    # state dicts leave out what activation checkpointing adds to names
    owners = {name.replace(WRAPPER, "") for name, _ in model.named_parameters()}
    tied = tied_names(model)
    assert owners.isdisjoint(tied)  # else a weight would be written under no name
    tensors = {name: tensor.cpu() for name, tensor in state.items() if name not in tied}
    for name, tensor in (unused or {}).items():
        tensors[UNUSED + name] = tensor
    specs = {name: TensorSpec(tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    with replacing(folder / WEIGHT_FILES[0]) as part:
        write_file(part, specs, iter(tensors.items()))
