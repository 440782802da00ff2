"""A trained model into its run's folder.

config.yaml          what was composed, resolved; enough to build the model again
model.safetensors    all weights, each once
tokenizer/           of the language model, unless it is made from code
checkpoints/         Lightning's, for resuming
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from .layout import UNUSED
from .load import aliases
from .tensor_files import SINGLES, Shape, write_file


def save_weights(
    folder: Path, model: nn.Module, state: Mapping[str, Tensor], unused: Mapping[str, Tensor] | None = None
) -> None:
    """``state`` by the model's names; tied weights are written once, under the name of their owner.

    unused: tensors of the checkpoint that the model came from and does not read, kept for exports.
    """
    owners = {name.replace("_checkpoint_wrapped_module.", "") for name, _ in model.named_parameters()}
    second = aliases(model)
    assert owners.isdisjoint(second)
    kept = {name: tensor.cpu() for name, tensor in state.items() if name not in second}
    kept |= {UNUSED + name: tensor for name, tensor in (unused or {}).items()}
    part = folder / (SINGLES[0] + ".part")
    write_file(part, {n: Shape(tuple(t.shape), t.dtype) for n, t in kept.items()}, iter(kept.items()))
    part.rename(folder / SINGLES[0])
