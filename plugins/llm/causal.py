"""Causal language models of Transformers in the shape that the spine asks for."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from interleave import NEWLINE, InputError, register_attention, segments

PLAIN = "<|endoftext|>"


class TokenizerChat:
    """A tokenizer of Transformers and the form of a turn.

    opening, closing: around a turn, with ``{role}``. begin: before the first one. Their special tokens must be known.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        opening: str,
        closing: str,
        stop: Sequence[str],
        system: str = "",
        begin: str = "",
    ) -> None:
        self.tokenizer, self.opening, self.closing = tokenizer, opening, closing
        self.system, self.begin = system, begin
        self.newline_id = max(tokenizer.get_vocab().values()) + 1
        self.stop_ids = [self.known(token) for token in stop]
        self.pad_id = self.known(PLAIN)
        special = [NEWLINE, *tokenizer.get_added_vocab()]
        self._special = re.compile("|".join(re.escape(t) for t in sorted(special, key=len, reverse=True)))
        marks = [p for p in self.pieces(self.open("user") + self.close("user")) if isinstance(p, int)]
        line = self.encode("\n", special=False)
        self.format_ids = frozenset(marks + (line if len(line) == 1 else []))

    def known(self, token: str) -> int:
        number = self.tokenizer.get_vocab().get(token)
        if number is None:
            raise InputError(f"the tokenizer has no token {token}, which the chat format needs")
        return int(number)

    def encode(self, text: str, special: bool) -> list[int]:
        if special:
            return [i for p in self.pieces(text) for i in ([p] if isinstance(p, int) else self.encode(p, special=False))]
        ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert isinstance(ids, list)
        return ids

    def pieces(self, template: str) -> list[int | str]:
        found: list[int | str] = []
        start = 0
        for match in self._special.finditer(template):
            found += [template[start : match.start()], self._number(match[0])]
            start = match.end()
        return [piece for piece in [*found, template[start:]] if piece != ""]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True))

    def open(self, role: str) -> str:
        return self.opening.format(role=role)

    def close(self, role: str) -> str:
        return self.closing.format(role=role)

    def save(self, folder: Path) -> None:
        self.tokenizer.save_pretrained(folder)

    def _number(self, token: str) -> int:
        return self.newline_id if token == NEWLINE else self.known(token)


def byte_tokenizer(special: Sequence[str]) -> PreTrainedTokenizerFast:
    """256 byte tokens and ``special`` ones after them: made from code, knows every text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, clean_up_tokenization_spaces=False)
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    return tokenizer


class CausalLM(nn.Module):
    """A model of Transformers with attention within documents. Its input and output embeddings may be tied."""

    def __init__(self, model: PreTrainedModel, chat: TokenizerChat) -> None:
        super().__init__()
        table = model.get_input_embeddings()
        assert isinstance(table, nn.Embedding)
        if chat.newline_id > table.num_embeddings:
            model.resize_token_embeddings(chat.newline_id, mean_resizing=False)
        model.set_attn_implementation(register_attention())
        self.model: Any = model
        self.chat = chat
        self.dim: int = model.config.hidden_size
        self.head = model.get_output_embeddings()
        self.newline = nn.Parameter(torch.empty(self.dim))
        nn.init.normal_(self.newline, std=getattr(model.config, "initializer_range", 0.02))

    def blocks(self) -> list[nn.Module]:
        return list(self.model.model.layers)

    def embed(self, ids: Tensor) -> Tensor:
        separator = ids == self.chat.newline_id
        rows: Tensor = self.model.get_input_embeddings()(ids.masked_fill(separator, self.chat.pad_id))
        return torch.where(separator[..., None], self.newline.to(rows.dtype), rows)

    def forward(self, embeds: Tensor, positions: Tensor, document: Tensor) -> Tensor:
        """(B, T, dim) -> hidden states after the last norm (B, T, dim)."""
        # use_cache or a 2D mask would let the documents of a row see each other, without a word
        out = self.model.model(
            inputs_embeds=embeds, position_ids=positions, use_cache=False, segments=segments(document)
        )  # fmt: skip
        hidden: Tensor = out.last_hidden_state
        return hidden

    def generate(self, embeds: Tensor, mask: Tensor, **options: Any) -> Tensor:
        """Transformers' own ``generate``; greedy unless ``options`` say otherwise."""
        chosen = {"do_sample": False, "pad_token_id": self.chat.pad_id, "eos_token_id": list(self.chat.stop_ids)}
        ids = self.model.generate(inputs_embeds=embeds, attention_mask=mask, **{**chosen, **options})
        assert isinstance(ids, torch.Tensor)
        return ids
