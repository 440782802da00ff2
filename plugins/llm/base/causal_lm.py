"""Causal language models of Transformers in the shape that the spine asks for."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from interleave import InputError, LanguageModel, register_attention, segments

from ...base.hf_models import build, shape_of
from .chat_formats import FORMATS, PLAIN, HFChatTokenizer, byte_tokenizer, read_tokenizer
from .chat_template import TEMPLATE, choose


class CausalLM(LanguageModel):
    """A model of Transformers with attention within documents. Its input and output embeddings may be tied."""

    def __init__(self, model: PreTrainedModel, chat: HFChatTokenizer) -> None:
        super().__init__()
        table = model.get_input_embeddings()
        assert isinstance(table, nn.Embedding)
        if chat.newline_id > table.num_embeddings:
            model.resize_token_embeddings(chat.newline_id, mean_resizing=False)
        # a model that has no door for another attention makes masks of its own from positions that restart
        self.masked = not (model._supports_attention_backend and model._supports_flash_attn)
        self.plain: str = model.config._attn_implementation
        if not self.masked:
            model.set_attn_implementation(register_attention())
        self.model: Any = model
        self.tokenizer = chat
        self.dim: int = model.config.hidden_size
        self.context: int | None = getattr(model.config, "max_position_embeddings", None)
        self.newline = nn.Parameter(torch.empty(self.dim))
        scale = getattr(table, "scalar_embed_scale", 1.0)  # Gemma makes its embeddings larger
        nn.init.normal_(self.newline, std=getattr(model.config, "initializer_range", 0.02) * scale)

    def blocks(self) -> list[nn.Module]:
        count = self.model.config.num_hidden_layers
        lists = [m for m in self._decoder().modules() if isinstance(m, nn.ModuleList) and len(m) == count]
        return list(lists[0])

    def transformers_model(self) -> PreTrainedModel:
        assert isinstance(self.model, PreTrainedModel)
        return self.model

    def portable(self) -> dict[str, Any]:
        """The options that build the same shape without the files; the tokenizer is a byte-level one then."""
        return {"path": None, "config": shape_of(self.model), "tokenizer": None}

    def head(self, hidden: Tensor) -> Tensor:
        """(n, dim) -> logits (n, vocabulary)"""
        logits: Tensor = self.model.get_output_embeddings()(hidden)
        config = self.model.config
        logits = logits * (getattr(config, "logit_scale", None) or 1.0)  # Cohere
        logits = logits / (getattr(config, "logits_scaling", None) or 1.0)  # Granite
        if cap := getattr(config, "final_logit_softcapping", None):  # Gemma
            logits = cap * torch.tanh(logits / cap)
        return logits

    def embed(self, input_ids: Tensor) -> Tensor:
        separator = input_ids == self.tokenizer.newline_id
        rows: Tensor = self.model.get_input_embeddings()(input_ids.masked_fill(separator, self.tokenizer.pad_id))
        return torch.where(separator[..., None], self.newline.to(rows.dtype), rows)

    def forward(self, embeds: Tensor, position_ids: Tensor, document_ids: Tensor) -> Tensor:
        """(B, T, dim) -> hidden states after the last norm (B, T, dim)."""
        where = {} if self.masked else {"segments": segments(document_ids)}
        # use_cache or a 2D mask would let the documents of a row see each other, without a word
        out = self._decoder()(inputs_embeds=embeds, position_ids=position_ids, use_cache=False, **where)
        hidden: Tensor = out.last_hidden_state
        return hidden

    def _decoder(self) -> Any:
        found = self.model.get_decoder()
        return self.model.model if found is self.model else found

    def generate(self, embeds: Tensor, mask: Tensor, **options: Any) -> Tensor:
        """Transformers' own ``generate``; greedy unless ``options`` say otherwise."""
        # a sharded model is whole while it generates: ranks that waited for each other's last word would hang
        options = {"synced_gpus": False, **options}
        chosen = {
            "do_sample": False,
            "pad_token_id": self.tokenizer.pad_id,
            "eos_token_id": list(self.tokenizer.stop_ids),
        }
        ids = self.model.generate(inputs_embeds=embeds, attention_mask=mask, **{**chosen, **options})
        assert isinstance(ids, torch.Tensor)
        return ids


def parts(
    name: str,
    kinds: Mapping[str, Any],
    path: str | None,
    config: Mapping[str, Any] | None,
    chat: HFChatTokenizer,
) -> tuple[PreTrainedModel, HFChatTokenizer]:
    """A model of Transformers and what it speaks. ``kinds``: model type -> class. Raises InputError."""
    if path is None and config is None:
        raise InputError(f"llm {name!r} needs llm.path, or llm.config with sizes for random weights")
    shape = dict(config or {})
    if path is None:
        shape = {"vocab_size": len(chat.tokenizer), **shape}
    return build(f"llm {name!r}", kinds, path, shape), chat


def speak(words: str | None, system: str, family: Sequence[str], chat: str | None = None) -> HFChatTokenizer:
    """A tokenizer's chat.

    words: folder or hub name of the tokenizer; None makes a byte-level one. family: formats that the model was trained
    with. chat: another one, or ``template``, as ``template.choose`` takes it.
    """
    if words is None:
        name = family[0] if chat in (None, TEMPLATE) else str(chat)
        if name not in FORMATS:
            raise InputError(f"llm.chat is {name!r}; known are {', '.join([*FORMATS, TEMPLATE])}")
        return HFChatTokenizer(byte_tokenizer([PLAIN, *FORMATS[name].special]), FORMATS[name], system)
    tokenizer = read_tokenizer(words)
    return HFChatTokenizer(tokenizer, choose(tokenizer, chat, family)[1], system)
