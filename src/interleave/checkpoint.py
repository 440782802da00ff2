"""A run's folder: the only place that knows how a model lies on disk.

config.yaml          what was composed, resolved; enough to build the model again
model.safetensors    all weights, each once
checkpoints/         Lightning's, for resuming
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .types import InputError

CONFIG, WEIGHTS = "config.yaml", "model.safetensors"


def save_config(folder: Path, config: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.create(dict(config)), folder / CONFIG)


def save_weights(folder: Path, model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """``state`` by the model's names; tied weights are written once, under the name of their owner."""
    owners = {name.replace("_checkpoint_wrapped_module.", "") for name, _ in model.named_parameters()}
    aliases = _aliases(model)
    assert owners.isdisjoint(aliases)
    kept = {name: tensor.contiguous() for name, tensor in state.items() if name not in aliases}
    beside = folder / (WEIGHTS + ".part")
    save_file(kept, beside)
    beside.rename(folder / WEIGHTS)


def load_config(folder: Path) -> dict[str, Any]:
    """Raises InputError where the folder is no run."""
    path = folder / CONFIG
    if not path.is_file():
        raise InputError(f"{folder} is not a run: it has no {CONFIG}; give the folder that training printed")
    config = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(config, dict)
    return {str(k): v for k, v in config.items()}


def load_weights(folder: Path, model: nn.Module) -> None:
    """Fill ``model`` from the folder. Raises InputError naming the tensor that is missing, unknown or misshapen."""
    path = folder / WEIGHTS
    if not path.is_file():
        raise InputError(f"{folder} has no {WEIGHTS}; did its training end? Resume it with resume={folder}")
    try:
        state = load_file(path)
    except SafetensorError as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    wanted = model.state_dict()
    for name, tensor in state.items():
        if name not in wanted:
            raise InputError(f"{path} holds {name}, which the model of its {CONFIG} does not have")
        if tensor.shape != wanted[name].shape:
            shapes = f"{tuple(tensor.shape)} where the model has {tuple(wanted[name].shape)}"
            raise InputError(f"{path} holds {name} of shape {shapes}")
    missing = wanted.keys() - state.keys() - _aliases(model)
    if missing:
        raise InputError(f"{path} lacks {sorted(missing)[0]} and {len(missing) - 1} more of {len(wanted)} tensors")
    model.load_state_dict(state, strict=False)


def _aliases(model: nn.Module) -> set[str]:
    """Second names of tied weights."""
    every = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    once = {name for name, _ in model.named_parameters()}
    return {name.replace("_checkpoint_wrapped_module.", "") for name in every - once}


def last_checkpoint(path: Path) -> Path:
    """What to resume from: a checkpoint itself, or the last one of a run's folder."""
    if path.suffix == ".ckpt" and path.exists():
        return path
    last = path / "checkpoints" / "last.ckpt"
    if not last.exists():
        raise InputError(f"nothing to resume in {path}: {last} does not exist")
    return last
