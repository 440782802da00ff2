"""Low-rank adapters (LoRA) on a language model, through PEFT; on 4-bit weights (QLoRA) through bitsandbytes.

Hu et al. 2021, arXiv:2106.09685; Dettmers et al. 2023, arXiv:2305.14314. Both packages are optional.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..checkpoints import unwrapped
from ..core.errors import InputError
from ..interfaces.model_parts import LanguageModel

if TYPE_CHECKING:
    from peft import LoraConfig

ADAPTER_MARK = "lora_"
"""Stands in the name of every parameter of an adapter, and in no other."""
ALL_LINEAR = "all-linear"
"""PEFT's word for all linear layers but the head."""


@dataclass(frozen=True)
class Lora:
    """Options of ``stage.lora``. Each chosen linear layer W (out, in) becomes W + alpha / rank * B A, of which only
    A (rank, in) and B (out, rank) are trained.

    rank: the adapters' inner width.
    alpha: numerator of their scale.
    dropout: of what goes into A.
    targets: last names of layers, such as ``q_proj``, or ``all-linear``, which leaves out the head.
    quantize: keep W in 4 bits (QLoRA); None keeps it as it is.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: str | Sequence[str] = ALL_LINEAR
    quantize: Literal["nf4"] | None = None

    @property
    def scale(self) -> float:
        """What B A is multiplied by."""
        return self.alpha / self.rank


class _IncompatibleKeys(Protocol):
    """What torch hands to a hook after ``load_state_dict``."""

    missing_keys: list[str]


def inject(llm: LanguageModel, lora: Lora) -> None:
    """Put adapters into ``llm.model``, a model of Transformers; in it nothing but them takes gradients afterwards.

    Raises InputError where a package is missing or no layer has one of the names.
    """
    if find_spec("peft") is None:
        raise InputError("stage.lora needs the package peft; pip install 'interleave[lora]'")
    from peft import inject_adapter_in_model

    model = llm.get_submodule("model")
    model.requires_grad_(False)  # PEFT gives gradients to the adapters only
    known = {name.split(".")[-1] for name, _ in _linear_layers(model)}
    missing = [name for name in _targets(lora) if name not in {ALL_LINEAR, *known}]
    if missing:
        there = ", ".join(sorted(known))
        raise InputError(f"stage.lora.targets: the language model has no linear layer {missing[0]!r}; it has {there}")
    if lora.quantize:
        quantize(model, lora)
    with _off_meta_device(model):
        inject_adapter_in_model(peft_config(lora), model)


@contextmanager
def _off_meta_device(model: nn.Module) -> Iterator[None]:
    """Inside, linear layers that have no memory yet have weights on the CPU which need none, and all mean 0.

    PEFT moves an adapter to where its layer is; on the meta device it would lose its initial values.
    """
    layers = [layer for _, layer in _linear_layers(model) if layer.weight.is_meta]
    weights = [layer.weight for layer in layers]
    for layer in layers:
        zero = torch.zeros((), dtype=layer.weight.dtype)  # one number, expanded to the shape without a copy
        layer.weight = nn.Parameter(zero.expand(layer.weight.shape), requires_grad=False)
    yield
    for layer, weight in zip(layers, weights, strict=True):
        layer.weight = weight


def peft_config(lora: Lora) -> "LoraConfig":
    """The options in PEFT's terms."""
    from peft import LoraConfig

    scale: dict[str, Any] = {"lora_alpha": lora.alpha}  # PEFT annotates an int, and takes any number
    targets = ALL_LINEAR if lora.targets == ALL_LINEAR else _targets(lora)
    return LoraConfig(r=lora.rank, lora_dropout=lora.dropout, target_modules=targets, task_type="CAUSAL_LM", **scale)


def _targets(lora: Lora) -> list[str]:
    return [lora.targets] if isinstance(lora.targets, str) else list(lora.targets)


def _linear_layers(model: nn.Module) -> list[tuple[str, nn.Linear]]:
    return [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]


def quantize(model: nn.Module, lora: Lora) -> None:
    """Make all linear layers but the head of a model of Transformers 4-bit ones, in place.

    Their weights are left out of state dicts, and so out of checkpoints: they are frozen, and a resumed run makes them
    again from the weights that it begins with. Raises InputError where bitsandbytes is missing.
    """
    if find_spec("bitsandbytes") is None:
        raise InputError("stage.lora.quantize needs the package bitsandbytes; pip install 'interleave[qlora]'")
    from bitsandbytes.nn import Linear4bit
    from transformers import PreTrainedModel

    assert isinstance(model, PreTrainedModel)
    head = model.get_output_embeddings()
    for name, layer in _linear_layers(model):
        if layer is head:  # Transformers leaves it out, too, when it quantises a model
            continue
        dtype = layer.weight.dtype
        bias = layer.bias is not None
        quantized = Linear4bit(layer.in_features, layer.out_features, bias, dtype, quant_type=lora.quantize)
        quantized.load_state_dict(layer.state_dict())
        quantized.to(layer.weight.device).requires_grad_(False)
        quantized.register_state_dict_post_hook(_leave_out_weight)
        quantized.register_load_state_dict_post_hook(_expect_no_weight)
        model.set_submodule(name, quantized)
    model.is_loaded_in_4bit = True  # type: ignore[assignment]  # PEFT looks here for what its layers must take


def _leave_out_weight(module: nn.Module, state: dict[str, object], prefix: str, metadata: object) -> None:
    """Remove a 4-bit layer's weight and the statistics of its quantisation (``weight.*``) from a state dict."""
    for name in list(state):
        if name == f"{prefix}weight" or name.startswith(f"{prefix}weight."):
            del state[name]


def _expect_no_weight(module: nn.Module, keys: _IncompatibleKeys) -> None:
    """Make strict loading accept a state dict without the weights that ``_leave_out_weight`` left out."""
    keys.missing_keys[:] = [key for key in keys.missing_keys if not re.search(r"\bbase_layer\.weight$", key)]


def adapters_of(name: str) -> tuple[str, str]:
    """Names of A and B of the adapter on the weight ``name``, whether it has one or not."""
    layer = name.removesuffix(".base_layer.weight")
    return f"{layer}.lora_A.default.weight", f"{layer}.lora_B.default.weight"


def merged(weight: Tensor, down: Tensor, up: Tensor, lora: Lora) -> Tensor:
    """A weight (out, in) with what its adapter adds, in float32. down: A (rank, in). up: B (out, rank)."""
    change = (up.float() @ down.float()) * lora.scale  # (out, in) = alpha / rank * B A
    return weight.float() + change


def quantized_layers(model: nn.Module) -> dict[str, nn.Module]:
    """The 4-bit layers, by the names of their weights, which ``quantize`` leaves out of state dicts."""
    layers: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if getattr(getattr(module, "weight", None), "quant_state", None) is not None:
            layers[f"{unwrapped(name)}.weight"] = module
    return layers


def dequantized(layer: nn.Module) -> Tensor:
    """The weight of a 4-bit layer, (out, in), with what 4 bits keep of it."""
    from bitsandbytes.functional import dequantize_4bit

    weight: Any = layer.weight
    found: Tensor = dequantize_4bit(weight.data, weight.quant_state)
    return found


def save_adapter(folder: Path, state: Mapping[str, Tensor], lora: Lora) -> None:
    """Write the adapters of a model's ``state`` in PEFT's own form, for the language model alone."""
    folder.mkdir(parents=True, exist_ok=True)
    adapters: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if ADAPTER_MARK in name:
            # ours: llm.model.LAYER.lora_A.default.weight; PEFT's: base_model.model.LAYER.lora_A.weight
            layer = name.removeprefix("llm.model.").replace(".default.", ".")
            adapters[f"base_model.model.{layer}"] = tensor.contiguous()
    save_file(adapters, folder / "adapter_model.safetensors", {"format": "pt"})
    peft_config(lora).save_pretrained(str(folder))
