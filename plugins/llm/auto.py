"""Any causal language model of Transformers that can be packed."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, PreTrainedModel

from interleave import InputError, llms, weights_follow

from .base.causal_lm import CausalLM, parts, speak

FAMILIES = {"gemma": "gemma", "gemma2": "gemma", "gemma3_text": "gemma", "llama": "llama3", "phi3": "phi3"}
"""Model type -> chat format; ChatML for the others."""
LENGTHS = (5, 7)
"""Of the documents that a model is tried with."""


class Kinds(Mapping[str, Any]):
    """Model types of Transformers, looked up when they are asked for."""

    def __getitem__(self, kind: str) -> Any:
        cls = MODEL_FOR_CAUSAL_LM_MAPPING[CONFIG_MAPPING[kind]]
        return cls[0] if isinstance(cls, tuple) else cls

    def __contains__(self, kind: object) -> bool:
        return kind in CONFIG_MAPPING and CONFIG_MAPPING[str(kind)] in MODEL_FOR_CAUSAL_LM_MAPPING

    def __iter__(self) -> Iterator[str]:
        return iter(["what AutoModelForCausalLM lists"])

    def __len__(self) -> int:
        return 1


@llms.register("auto")
class Auto(CausalLM):
    """What ``AutoModelForCausalLM`` loads. When it is built it is tried: two packed documents must come out as the
    model itself computes each alone, else it is refused.

    path: a folder or hub name with weights and tokenizer; None makes random weights and a byte-level tokenizer.
    config: a ``model_type`` and options of its config class, for random weights. tokenizer: a folder or hub name,
    where it is not ``path``. system: the system turn of every conversation; empty for none. chat: the format of a turn,
    ``chatml``, ``llama3``, ``gemma``, ``phi3``, ``vicuna``, or ``template`` for what the tokenizer's own chat template
    says; None takes the family's, then one whose tokens the tokenizer knows, else the template.
    """

    def __init__(
        self,
        path: str | None = None,
        config: dict[str, Any] | None = None,
        tokenizer: str | None = None,
        system: str = "",
        chat: str | None = None,
    ) -> None:
        kind = (config or {}).get("model_type", "")
        if path is None and config is not None and not kind:
            raise InputError("llm 'auto' needs llm.config.model_type, the name that Transformers has for the model")
        words = speak(tokenizer or path, system, [FAMILIES.get(kind, "chatml")], chat)
        super().__init__(*parts("auto", Kinds(), path, config, words))
        if not weights_follow():
            self.filled()

    def filled(self) -> None:
        """Try the model, once its weights are in place. Raises InputError."""
        packed = self.model.config._attn_implementation
        self.model.set_attn_implementation(self.plain)
        tried = _alone(self.model)
        self.model.set_attn_implementation(packed)
        self._compare(*tried)

    def _compare(self, embeds: torch.Tensor, expected: torch.Tensor) -> None:
        positions = torch.cat([torch.arange(n) for n in LENGTHS])[None]
        document = torch.cat([torch.full((n,), i + 1) for i, n in enumerate(LENGTHS)])[None]
        self.eval()
        with torch.no_grad():
            found = self.head(self(embeds, positions, document))
        self.train()
        off = float((found[..., : expected.shape[-1]] - expected).abs().max())
        rounding = 1e-3 if expected.dtype == torch.float32 else 0.1
        if not off <= rounding * float(expected.abs().max()):  # also where it is no number
            kind = self.model.config.model_type
            raise InputError(
                f"llm 'auto' cannot pack a model of type {kind!r}: logits of packed documents are off by {off:.2g}; "
                "choose one whose attention has no state of its own"
            )


def _alone(model: PreTrainedModel) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings (1, T, D) of two documents and the model's own logits (1, T, vocabulary) of each alone."""
    table = model.get_input_embeddings()
    assert isinstance(table, torch.nn.Embedding)
    ids = torch.arange(sum(LENGTHS)) % table.num_embeddings
    model.eval()
    with torch.no_grad():
        embeds = table(ids[None])
        parts = [model(inputs_embeds=part, use_cache=False).logits for part in embeds.split(LENGTHS, 1)]
    return embeds, torch.cat(parts, 1)
