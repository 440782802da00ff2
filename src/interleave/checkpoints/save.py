"""From a model in memory into its folder: the only place that writes a run's weights.

config.yaml          what was composed, resolved; enough to build the model again
model.safetensors    all weights, each once; large ones as model-00001-of-00002.safetensors and so on, with an index
tokenizer/           of the language model, unless it is made from code
checkpoints/         Lightning's, for resuming
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from ..core.files import replacing
from .load import tied_names, unwrapped
from .native import UNUSED
from .tensor_files import INDEX_FILES, WEIGHT_FILES, TensorSpec
from .tensor_files_write import write_file

SHARDS = "model-*-of-*.safetensors"
"""Names of the files that hold weights together."""


def own_weights(model: nn.Module) -> dict[str, Tensor]:
    """The weights of ``model`` by the names under which they are stored, as they lie on this rank; each tied weight
    once."""
    tied = tied_names(model)
    weights: dict[str, Tensor] = {}
    for wrapped_name, tensor in model.state_dict().items():
        name = unwrapped(wrapped_name)
        if isinstance(tensor, Tensor) and name not in tied:  # a module's extra state is no weight
            weights[name] = tensor
    return weights


def replace_weights(folder: Path, written: Path) -> None:
    """Move the weight files of the folder ``written`` into ``folder``, in place of those that are there.

    A kill between leaves no weights that could be read: an index goes first and comes last.
    """
    for old in [folder / INDEX_FILES[0], folder / WEIGHT_FILES[0], *folder.glob(SHARDS)]:
        old.unlink(missing_ok=True)
    for new in [*written.glob("*.safetensors"), *written.glob(INDEX_FILES[0])]:
        new.rename(folder / new.name)


def save_weights(
    folder: Path, model: nn.Module, state: Mapping[str, Tensor], unused: Mapping[str, Tensor] | None = None
) -> None:
    """Write ``state`` to the ``model.safetensors`` of ``folder``, which takes its name when it is complete.

    model: tells which weights are tied; those are written once, under the name of their owner.
    state: the whole state dict by the model's names, also where the model itself is sharded.
    unused: tensors of the checkpoint that the model came from and does not read, by native name; kept for exports.
    """
    # state dicts leave out what activation checkpointing adds to names
    owners = {unwrapped(name) for name, _ in model.named_parameters()}
    tied = tied_names(model)
    assert owners.isdisjoint(tied)  # else a weight would be written under no name
    tensors = {name: tensor.cpu() for name, tensor in state.items() if name not in tied}
    for name, tensor in (unused or {}).items():
        tensors[UNUSED + name] = tensor
    specs = {name: TensorSpec(tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    with replacing(folder / WEIGHT_FILES[0]) as part:
        write_file(part, specs, iter(tensors.items()))
