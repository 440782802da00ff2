"""Causal language models of Transformers, in the shape of the contract: attention within documents, one separator."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from interleave import InputError, LanguageModel, Segments, register_attention

from ...base.deferred_files import grow_vocabulary
from ...base.hf_models import ModelClasses, Options, build, shape_of
from .chat_formats import FORMATS, PLAIN, HFChatTokenizer, byte_tokenizer, read_tokenizer
from .chat_template import TEMPLATE, choose_format


class CausalLM(LanguageModel):
    """A model of Transformers with attention within documents. Its input and output embeddings may be tied."""

    def __init__(self, model: PreTrainedModel, chat: HFChatTokenizer) -> None:
        """Wrap a model and what it speaks.

        The vocabulary grows where the tokenizer has more tokens than the model. The learned separator begins as random
        as the rows of the vocabulary.
        """
        super().__init__()
        table = model.get_input_embeddings()
        assert isinstance(table, nn.Embedding)
        if chat.newline_id > table.num_embeddings:
            grow_vocabulary(model, chat.newline_id)
        # a model that takes no other attention function keeps its own, and masks documents by positions that restart
        self.makes_masks = not (model._supports_attention_backend and model._supports_flash_attn)
        self.own_attention: str = model.config._attn_implementation
        if not self.makes_masks:
            model.set_attn_implementation(register_attention())
        self.model = model
        self.tokenizer = chat
        self.dim: int = model.config.hidden_size
        self.context: int | None = getattr(model.config, "max_position_embeddings", None)
        self.newline = nn.Parameter(torch.empty(self.dim))  # (D,)
        scale = getattr(table, "scalar_embed_scale", 1.0)  # Gemma multiplies its embeddings by it
        nn.init.normal_(self.newline, std=getattr(model.config, "initializer_range", 0.02) * scale)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "CausalLM":
        """What ``to``, ``bfloat16`` and the like do. Rotary frequencies move, but keep their precision: rounded to
        bfloat16 they turn position 4,000 by up to half a radian."""
        exact: list[tuple[nn.Module, str, Tensor]] = []
        for module in self.modules():
            exact += [(module, name, b) for name, b in module._buffers.items() if b is not None and "inv_freq" in name]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for module, name, frequencies in exact:
            changed = module._buffers[name]
            if changed is not None and changed.dtype != frequencies.dtype:
                module._buffers[name] = frequencies.to(changed.device)
        return self

    def blocks(self) -> list[nn.Module]:
        """The decoder layers: the first list of modules that has as many as the config says."""
        num_layers = self.model.config.num_hidden_layers
        for module in self._decoder().modules():
            if isinstance(module, nn.ModuleList) and len(module) == num_layers:
                return list(module)
        raise IndexError(f"{type(self.model).__name__} has no list of {num_layers} layers")

    def transformers_model(self) -> PreTrainedModel:
        """The model inside, which published layouts hold."""
        return self.model

    def portable(self) -> dict[str, object]:
        """The options that build the same shape without the files; the tokenizer is a byte-level one then."""
        return {"path": None, "config": shape_of(self.model), "tokenizer": None}

    def head(self, hidden: Tensor) -> Tensor:
        """(n, D) hidden states -> logits (n, vocabulary), scaled and capped as the model's own forward does it."""
        logits: Tensor = self.model.get_output_embeddings()(hidden)  # (n, vocabulary)
        scale, cap = self._head_scale(), self._head_cap()
        if scale != 1:
            logits = logits * scale
        return cap * torch.tanh(logits / cap) if cap else logits

    def head_matrix(self) -> nn.Module | None:
        """The output embeddings, where logits are their product with the hidden states and nothing else."""
        head = self.model.get_output_embeddings()
        # an adapter's class would compute something else; a sharded layer's class is another one and computes the same
        plain = isinstance(head, nn.Linear) and type(head).forward is nn.Linear.forward and head.bias is None
        return head if plain and self._head_scale() == 1 and not self._head_cap() else None

    def _head_scale(self) -> float:
        """What logits are multiplied by."""
        config = self.model.config
        times = getattr(config, "logit_scale", None) or 1.0  # Cohere
        by = getattr(config, "logits_scaling", None) or 1.0  # Granite
        return float(times / by)

    def _head_cap(self) -> float | None:
        """What logits are kept below, as Gemma does it."""
        return getattr(self.model.config, "final_logit_softcapping", None)

    def embed(self, input_ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, D); the learned separator stands where ``tokenizer.newline_id`` does."""
        separator = input_ids == self.tokenizer.newline_id  # (B, T)
        # the table may have no row of that number, so a token that exists takes its place until it is replaced
        table = self.model.get_input_embeddings()
        rows: Tensor = table(input_ids.masked_fill(separator, self.tokenizer.pad_id))  # (B, T, D)
        return torch.where(separator[..., None], self.newline.to(rows.dtype), rows)

    def forward(self, embeds: Tensor, position_ids: Tensor, segments: Segments) -> Tensor:
        """(B, T, D), (B, T) and the rows' documents -> hidden states after the last norm, (B, T, D)."""
        documents: dict[str, object] = {}
        if not self.makes_masks:
            # a mask of four dimensions is taken as it is, here as none at all: to make one itself Transformers would
            # read from the device whether the rows are packed
            documents = {"segments": segments, "attention_mask": embeds.new_zeros(1, 1, 1, 1)}
        # use_cache or a 2D mask would let the documents of a row see each other, without a word
        out = self._decoder()(inputs_embeds=embeds, position_ids=position_ids, use_cache=False, **documents)
        hidden: Tensor = out.last_hidden_state  # (B, T, D)
        return hidden

    def _decoder(self) -> nn.Module:
        """The model without its head."""
        decoder: nn.Module = self.model.get_decoder()
        # some models do not say which it is and return themselves
        return self.model.get_submodule("model") if decoder is self.model else decoder

    def generate(self, embeds: Tensor, mask: Tensor, **options: Any) -> Tensor:
        """Transformers' own ``generate``: left-padded prompts (B, T, D) and mask (B, T) -> (B, n) new tokens.

        Greedy unless ``options`` say otherwise.
        """
        chosen = {
            # a sharded model is whole while it generates: ranks that waited for each other's last word would hang
            "synced_gpus": False,
            "do_sample": False,
            "pad_token_id": self.tokenizer.pad_id,
            "eos_token_id": list(self.tokenizer.stop_ids),
            **options,
        }
        model: Any = self.model  # its generate() is annotated for a class that only type checkers see
        ids = model.generate(inputs_embeds=embeds, attention_mask=mask, **chosen)
        assert isinstance(ids, torch.Tensor)
        return ids


def build_model(
    name: str, classes: ModelClasses, path: str | None, config: Options | None, chat: HFChatTokenizer
) -> PreTrainedModel:
    """The model of the plugin ``name``: from files, or with random weights for the vocabulary of ``chat``.

    classes: model type -> class. path, config: as the plugins take them. Raises InputError.
    """
    if path is None and config is None:
        raise InputError(f"llm {name!r} needs llm.path, or llm.config with sizes for random weights")
    options = dict(config or {})
    if path is None:
        options = {"vocab_size": len(chat.tokenizer), **options}
    return build(f"llm {name!r}", classes, path, options)


def load_chat(path: str | None, system: str, formats: Sequence[str], chat: str | None = None) -> HFChatTokenizer:
    """A tokenizer that speaks a chat format. Raises InputError.

    path: folder or hub name of the tokenizer; None makes a byte-level one.
    system: what the system says in a conversation that does not say it; empty for nothing.
    formats: those that the model's family was trained with, the preferred one first.
    chat: the one to speak, or ``template``; None finds it out, as ``chat_template.choose_format`` does.
    """
    if path is None:
        name = formats[0] if chat in (None, TEMPLATE) else str(chat)
        if name not in FORMATS:
            raise InputError(f"llm.chat is {name!r}; known are {', '.join([*FORMATS, TEMPLATE])}")
        return HFChatTokenizer(byte_tokenizer([PLAIN, *FORMATS[name].special]), FORMATS[name], system)
    tokenizer = read_tokenizer(path)
    _, chosen = choose_format(tokenizer, chat, formats)
    return HFChatTokenizer(tokenizer, chosen, system)
