"""Low-rank adapters on a language model, through PEFT; on 4-bit weights through bitsandbytes where that exists."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save_file
from torch import Tensor, nn

from ..core.errors import InputError

LEARNS = "lora_"
"""In the names of all parameters that adapters have."""
ALL = "all-linear"


@dataclass(frozen=True)
class Lora:
    """Of each chosen linear layer W (out, in): W + alpha / rank * B A, with A (rank, in) and B (out, rank) trained.

    targets: names of layers, or ``all-linear``, which leaves out the head. quantize: keep W in 4 bits (QLoRA).
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: str | Sequence[str] = ALL
    quantize: Literal["nf4"] | None = None

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


def inject(llm: nn.Module, lora: Lora) -> None:
    """Put adapters into ``llm.model``, a model of Transformers; nothing but them takes gradients in it.

    Raises InputError where a package is missing or no layer has one of the names.
    """
    if find_spec("peft") is None:
        raise InputError("stage.lora needs the package peft; pip install 'interleave[lora]'")
    from peft import inject_adapter_in_model

    model: Any = llm.model
    model.requires_grad_(False)
    linear = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    known = {name.split(".")[-1] for name in linear}
    missing = [name for name in _names(lora) if name not in {ALL, *known}]
    if missing:
        there = ", ".join(sorted(known))
        raise InputError(f"stage.lora.targets: the language model has no linear layer {missing[0]!r}; it has {there}")
    if lora.quantize:
        quantize(model, lora)
    inject_adapter_in_model(peft_config(lora), model)


def peft_config(lora: Lora) -> Any:
    """The same in PEFT's words."""
    from peft import LoraConfig

    targets: Any = ALL if lora.targets == ALL else _names(lora)
    shape: dict[str, Any] = {"r": lora.rank, "lora_alpha": lora.alpha, "lora_dropout": lora.dropout}
    return LoraConfig(**shape, target_modules=targets, task_type="CAUSAL_LM")


def _names(lora: Lora) -> list[str]:
    return [lora.targets] if isinstance(lora.targets, str) else list(lora.targets)


def quantize(model: Any, lora: Lora) -> None:
    """Linear layers but the head, in place, as 4-bit ones. They are left out of checkpoints: they do not change."""
    if find_spec("bitsandbytes") is None:
        raise InputError("stage.lora.quantize needs the package bitsandbytes; pip install 'interleave[qlora]'")
    from bitsandbytes.nn import Linear4bit

    head = model.get_output_embeddings()
    chosen = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear) and m is not head]
    for name, layer in chosen:
        dtype = layer.weight.dtype
        made: Any = Linear4bit(
            layer.in_features, layer.out_features, layer.bias is not None, dtype, quant_type=lora.quantize
        )  # fmt: skip
        made.load_state_dict(layer.state_dict())
        made.to(layer.weight.device).requires_grad_(False)
        made.register_state_dict_post_hook(_leave_out)
        made.register_load_state_dict_post_hook(_not_missed)
        model.set_submodule(name, made)
    model.is_loaded_in_4bit = True


def _leave_out(module: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    for name in [n for n in state if n == f"{prefix}weight" or n.startswith(f"{prefix}weight.")]:
        del state[name]


def _not_missed(module: nn.Module, keys: Any) -> None:
    keys.missing_keys[:] = [k for k in keys.missing_keys if not re.search(r"\bbase_layer\.weight$", k)]


def merged(model: nn.Module, state: Mapping[str, Tensor], lora: Lora) -> dict[str, Tensor]:
    """``state`` of a model with adapters -> that of the model without them that computes the same, by its names.

    Works on gathered tensors, so that it does not matter how the model was sharded.
    """
    whole = dict(state) | dict(_dequantized(model))
    kept = {name: tensor for name, tensor in whole.items() if LEARNS not in name}
    result = {name.replace(".base_layer.", "."): tensor for name, tensor in kept.items()}
    for name, down in whole.items():
        if ".lora_A." in name:
            up = whole[name.replace(".lora_A.", ".lora_B.")]
            target = name.partition(".lora_A.")[0] + ".weight"
            change = (up.float() @ down.float()) * lora.scale
            result[target] = (result[target].float() + change).to(result[target].dtype)
    return result


def _dequantized(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The weights that ``quantize`` leaves out of a state, with what 4 bits keep of them."""
    for name, module in model.named_modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        if state is not None:
            from bitsandbytes.functional import dequantize_4bit

            clean = name.replace("_checkpoint_wrapped_module.", "")
            yield f"{clean}.weight", dequantize_4bit(module.weight.data, state).cpu()


def save_adapter(folder: Path, state: Mapping[str, Tensor], lora: Lora) -> None:
    """The adapters alone, in PEFT's own form, for the language model alone."""
    folder.mkdir(parents=True, exist_ok=True)
    prefix = "base_model.model."
    named = {
        prefix + name.removeprefix("llm.model.").replace(".default.", "."): tensor.contiguous()
        for name, tensor in state.items()
        if LEARNS in name
    }
    save_file(named, folder / "adapter_model.safetensors", {"format": "pt"})
    peft_config(lora).save_pretrained(folder)
