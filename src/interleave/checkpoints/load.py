"""From the files of an opened checkpoint into the parameters of a model."""

import logging
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights

from ..core.errors import InputError
from ..interfaces.stored_weights import StoredTensor, deferred_places, later_weights
from ..model.interleaved_model import InterleavedModel
from .layout import Checkpoint
from .tensor_files import StoredTensors

logger = logging.getLogger(__name__)

ABOVE_SELECTED_LAYER = re.compile(r"vision_encoder\.(layers\.\d+|post_layernorm|layernorm|head)\.")
"""What a stored vision tower has above the layer whose output the model reads."""
MODALITY = "modality."
"""Prefix of the weights of modalities; most modalities own none."""
NEWLINE_TENSOR = "llm.newline"
"""The learned separator. Layouts without one do not hold it; it begins at zero."""
WRAPPER = "_checkpoint_wrapped_module."
"""What activation checkpointing writes into the names of parameters."""


@contextmanager
def unfilled() -> Iterator[None]:
    """Modules built inside draw no initial weights: their memory is reserved and never touched until ``fill``."""
    with later_weights(), no_init_weights():
        yield


def fill(model: InterleavedModel, checkpoint: Checkpoint, dtype: torch.dtype | None = None) -> dict[str, str]:
    """Put the checkpoint's weights into ``model``, which was built in ``unfilled``; tied weights stay tied.

    dtype: of the weights in the model; None keeps that of the stored language model.
    Returns the tensors that the model does not use, native name -> name in the files. Raises as ``find_places``.
    """
    dtype = dtype or stored_dtype(checkpoint)
    places, unused = find_places(model, checkpoint, dtype)
    stored, owners = StoredTensors(), tied_names(model)
    for name, place in places.items():
        put(model, name, stored.read(place).to(dtype))  # mapped, and no copy where the type is the same
    tie(model, owners)
    model.mean = model.mean.to(dtype)  # the type to which pixels are converted
    model.filled()
    return unused


def find_places(
    model: InterleavedModel, checkpoint: Checkpoint, dtype: torch.dtype
) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Where each weight of ``model`` lies in files, by native name, and what the model does not use of the checkpoint,
    native name -> name in the files. No weight is read, so that a wrong config fails at once.

    dtype: of the weights that no file holds, which are given their initial values here.
    Raises InputError that names file, tensor and expectation, where a tensor is missing, has another shape or has no
    place in the model.
    """
    unused = find_unused(model, checkpoint)  # also ties the weights, which all that follows relies on
    initialised = _initialise_missing_adapters(model, checkpoint, dtype)
    expected = model.state_dict()  # with both names of a tied weight
    _check_shapes(expected, unused, checkpoint)
    _check_complete([name for name in expected if not name.startswith(initialised)], tied_names(model), checkpoint)
    places = deferred_places(model)  # of parts that are read from a path of their own
    for native, name in checkpoint.names.items():
        if native not in unused:
            places[native] = StoredTensor(checkpoint.tensors.file_of[name], name)
    if NEWLINE_TENSOR in expected and NEWLINE_TENSOR not in places:
        put(model, NEWLINE_TENSOR, torch.zeros(expected[NEWLINE_TENSOR].shape, dtype=dtype))  # (D,)
    return places, unused


def put(model: nn.Module, name: str, tensor: Tensor) -> None:
    """Let ``tensor`` be the parameter or the buffer of that name, without a copy. What was tied to it must be tied
    again."""
    module_name, _, own_name = name.rpartition(".")
    module = model.get_submodule(module_name)
    before = getattr(module, own_name)
    is_parameter = isinstance(before, nn.Parameter)
    setattr(module, own_name, nn.Parameter(tensor, before.requires_grad) if is_parameter else tensor)


def tie(model: nn.Module, owners: Mapping[str, str]) -> None:
    """Let each second name of a weight be its owner's parameter again. owners: of ``tied_names``."""
    for name, owner in owners.items():
        module_name, _, own_name = name.rpartition(".")
        setattr(model.get_submodule(module_name), own_name, model.get_parameter(owner))


def _initialise_missing_adapters(model: nn.Module, checkpoint: Checkpoint, dtype: torch.dtype) -> tuple[str, ...]:
    """Draw initial weights for the adapters of which the checkpoint holds nothing, and say so in the log.

    A model that was trained without an adapter can so be trained further with it. Returns the prefixes of their
    parameters.
    """
    missing = [adapter for adapter in _weighted_adapters(model) if not _holds(checkpoint, adapter)]
    for adapter in missing:
        module = model.get_submodule(adapter)
        for name, parameter in list(module.named_parameters()):
            put(module, name, torch.empty_like(parameter, dtype=dtype, device="cpu"))
        reset_parameters(module.to(dtype))  # buffers, too
        logger.warning("%s holds no weights of %s: they begin anew", checkpoint.folder, adapter)
    return tuple(f"{adapter}." for adapter in missing)


def _weighted_adapters(model: nn.Module) -> list[str]:
    """Names of the adapters that own weights, such as ``modality.scene3d``."""
    parameters = [name for name, _ in model.named_parameters() if name.startswith(MODALITY)]
    # modality.scene3d.encoding.weight -> modality.scene3d
    return sorted({".".join(name.split(".")[:2]) for name in parameters})


def reset_parameters(module: nn.Module) -> None:
    """Give ``module`` initial weights, by the ``reset_parameters`` that torch's layers have.

    Raises InputError for a module that owns weights and has no such method.
    """
    reset = getattr(module, "reset_parameters", None)
    if reset is not None:
        reset()
    elif next(module.parameters(recurse=False), None) is not None:
        raise InputError(f"{type(module).__name__} owns weights and has no reset_parameters() to begin them by")
    else:  # a container: its children know how
        for child in module.children():
            reset_parameters(child)


def find_unused(model: nn.Module, checkpoint: Checkpoint) -> dict[str, str]:
    """Tensors of the checkpoint that ``model`` has no use for, native name -> name in the files.

    These are layers and norms of the vision tower above the selected layer, the second copy of a tied head, and the
    weights of an adapter that owns none in this model. Raises InputError for any other that the model does not have.

    Ties the weights of ``model``, as ``tie_as_configured``.
    """
    tie_as_configured(model)
    expected, tied = model.state_dict(), tied_names(model)
    weighted_adapters = tuple(f"{adapter}." for adapter in _weighted_adapters(model))
    unused: dict[str, str] = {}
    for native, name in checkpoint.names.items():
        if native in expected and native not in tied:
            continue
        # an adapter whose weights were switched off by an option, such as scene3d.poses=none
        is_idle_adapter = native.startswith(MODALITY) and not native.startswith(weighted_adapters)
        if native in tied or is_idle_adapter or ABOVE_SELECTED_LAYER.match(native):
            unused[native] = name
        else:
            file = checkpoint.tensors.file_of[name]
            raise InputError(f"{file} holds {name}, which the model of its config does not have")
    return unused


def _check_shapes(expected: Mapping[str, Tensor], unused: Mapping[str, str], checkpoint: Checkpoint) -> None:
    """Raises InputError where a stored tensor has another shape than the model's."""
    for native, name in checkpoint.names.items():
        if native in unused:  # the model has no shape to compare with
            continue
        found, wanted = checkpoint.tensors.specs[name].shape, tuple(expected[native].shape)
        if found != wanted:
            file = checkpoint.tensors.file_of[name]
            raise InputError(f"{file} holds {name} of shape {found} where the config asks for {wanted}")


def _check_complete(expected: Sequence[str], tied: Container[str], checkpoint: Checkpoint) -> None:
    """Raises InputError where a tensor is neither stored nor read from a path of its part's own.

    expected: native names of the model's tensors, without those that were initialised. tied: second names among them,
    which need not be stored.
    """
    own_paths = tuple(f"{group}." for group, node in checkpoint.parts.items() if _has_path(node))
    missing: list[str] = []
    for native in expected:
        is_stored = native in checkpoint.names or native in tied
        may_be_absent = native == NEWLINE_TENSOR or native.startswith(own_paths)
        if not is_stored and not may_be_absent:
            missing.append(native)
    if not missing:
        return
    # as the user finds it in the files, where the layout has a name for it
    name = checkpoint.layout.from_native(missing[0], used=True) or missing[0]
    part = missing[0].partition(".")[0]
    way_out = "" if _holds(checkpoint, part) else f"; it holds nothing of the {part}: give {part}.path"
    raise InputError(
        f"{checkpoint.folder} lacks {name} and {len(missing) - 1} more of {len(expected)} tensors{way_out}"
    )


def _holds(checkpoint: Checkpoint, part: str) -> bool:
    """Whether any tensor of the part or module ``part`` is stored."""
    return any(native.startswith(f"{part}.") for native in checkpoint.names)


def _has_path(node: object) -> bool:
    """Whether a config node names files from which its part reads weights itself."""
    return isinstance(node, Mapping) and bool(node.get("path"))


def stored_dtype(checkpoint: Checkpoint) -> torch.dtype:
    """The type of the first tensor of the language model; of the first tensor where it holds none of it."""
    specs = checkpoint.tensors.specs
    first = next(iter(checkpoint.names.values()))
    # the language model decides, since it holds most of the weights
    for native, name in checkpoint.names.items():
        if native.startswith("llm."):
            first = name
            break
    return specs[first].dtype


def tie_as_configured(model: nn.Module) -> None:
    """Tie what the models of Transformers inside say is tied, which building them in ``unfilled`` leaves undone."""
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            module.tie_weights()


def unwrapped(name: str) -> str:
    """The name of a module or a parameter without what activation checkpointing writes into it."""
    return name.replace(WRAPPER, "")


def tied_names(model: nn.Module) -> dict[str, str]:
    """Second names of tied weights -> the names of their owners, under which they are stored."""
    # torch lists a shared parameter once, under the name where it meets it first: its owner's
    owners = {id(parameter): unwrapped(name) for name, parameter in model.named_parameters()}
    tied: dict[str, str] = {}
    for wrapped_name, parameter in model.named_parameters(remove_duplicate=False):
        name, owner = unwrapped(wrapped_name), owners[id(parameter)]
        if name != owner:
            tied[name] = owner
    return tied
