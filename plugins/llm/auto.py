"""Any causal language model of Transformers that can be packed."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from transformers import CONFIG_MAPPING, MODEL_FOR_CAUSAL_LM_MAPPING, PreTrainedModel

from interleave import InputError, Segments, llms, weights_follow

from ..base.hf_models import Options
from .base.causal_lm import CausalLM, build_model, load_chat
from .base.families import chat_formats_of

LENGTHS = (5, 7)
"""Tokens in each of the two documents that a model is tried with."""


class CausalLMClasses(Mapping[str, type[PreTrainedModel]]):
    """Every causal language model of Transformers by its model type; a class is imported when it is asked for."""

    def __getitem__(self, model_type: str) -> type[PreTrainedModel]:
        found = MODEL_FOR_CAUSAL_LM_MAPPING[CONFIG_MAPPING[model_type]]
        cls = found[0] if isinstance(found, tuple) else found
        assert cls is not None, "every type in the mapping has a class"
        return cls

    def __contains__(self, model_type: object) -> bool:
        return model_type in CONFIG_MAPPING and CONFIG_MAPPING[str(model_type)] in MODEL_FOR_CAUSAL_LM_MAPPING

    def __iter__(self) -> Iterator[str]:
        """What an error names as known: some hundred names would help nobody."""
        return iter(["what AutoModelForCausalLM lists"])

    def __len__(self) -> int:
        return 1


@llms.register("auto")
class Auto(CausalLM):
    """What ``AutoModelForCausalLM`` loads, tried when it is built.

    Two packed documents must come out as the model itself computes each alone, else it is refused.

    path: a folder or hub name with weights and tokenizer; None makes random weights and a byte-level tokenizer.
    config: a ``model_type`` and options of its config class, for random weights.
    tokenizer: a folder or hub name, where it is not ``path``.
    system: the system turn of a conversation that has none; empty for no turn.
    chat: the format of a turn, ``chatml``, ``llama3``, ``gemma``, ``phi3``, ``vicuna``, or ``template`` for what the
        tokenizer's own chat template says; None takes the family's, then one whose tokens the tokenizer knows, else the
        template.
    """

    def __init__(
        self,
        path: str | None = None,
        config: Options | None = None,
        tokenizer: str | None = None,
        system: str = "",
        chat: str | None = None,
    ) -> None:
        model_type = (config or {}).get("model_type", "")
        if path is None and config is not None and not model_type:
            raise InputError("llm 'auto' needs llm.config.model_type, the name that Transformers has for the model")
        speaker = load_chat(tokenizer or path, system, chat_formats_of(model_type), chat)
        super().__init__(build_model("auto", CausalLMClasses(), path, config, speaker), speaker)
        if not weights_follow():
            self.filled()

    def filled(self) -> None:
        """Try the model, once its weights are in place. Raises InputError where packed documents change its logits."""
        packed_attention = self.model.config._attn_implementation
        self.model.set_attn_implementation(self.own_attention)
        embeds, expected = _logits_alone(self.model)
        self.model.set_attn_implementation(packed_attention)
        self._compare(embeds, expected)

    def _compare(self, embeds: Tensor, expected: Tensor) -> None:
        """embeds (1, T, D) of both documents, expected (1, T, vocabulary). Raises InputError."""
        positions = torch.cat([torch.arange(length) for length in LENGTHS])[None].to(embeds.device)  # (1, T)
        segments = Segments.of([LENGTHS])
        segments = segments._replace(offsets=segments.offsets.to(embeds.device))
        self.eval()
        with torch.no_grad():
            found = self.head(self(embeds, positions, segments))  # (1, T, vocabulary)
        self.train()
        # compared as far as the model's own logits go; some models cut them to a part of the vocabulary
        error = float((found[..., : expected.shape[-1]] - expected).abs().max())
        rounding = 1e-3 if expected.dtype == torch.float32 else 0.1
        if not error <= rounding * float(expected.abs().max()):  # also where it is no number
            model_type = self.model.config.model_type
            raise InputError(
                f"llm 'auto' cannot pack a model of type {model_type!r}: logits of packed documents are off by "
                f"{error:.2g}; choose one whose attention has no state of its own"
            )


def _logits_alone(model: PreTrainedModel) -> tuple[Tensor, Tensor]:
    """Embeddings (1, T, D) of two documents, and the model's own logits (1, T, vocabulary) of each alone."""
    table = model.get_input_embeddings()
    assert isinstance(table, torch.nn.Embedding)
    device = table.weight.device
    ids = torch.arange(sum(LENGTHS), device=device) % table.num_embeddings  # (T,) any tokens will do
    model.eval()
    with torch.no_grad():
        embeds = table(ids[None])  # (1, T, D)
        logits = [model(inputs_embeds=document, use_cache=False).logits for document in embeds.split(LENGTHS, 1)]
    return embeds, torch.cat(logits, 1)
