"""Tokens and the form of a turn: the chat formats, as data, and a tokenizer of Transformers that speaks one of them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.utils import logging

from interleave import NEWLINE, InputError

PLAIN = "<|endoftext|>"
ROLES = ("system", "user", "assistant")


class Format(NamedTuple):
    """How a conversation is written.

    turns: of each role, what stands before and after its text. special: the tokens in them; the first of ``stop`` that
    the tokenizer knows must be there and ends a reply. begin: before the first turn.
    """

    turns: Mapping[str, tuple[str, str]]
    special: tuple[str, ...]
    stop: str
    begin: str = ""

    @classmethod
    def alike(cls, opening: str, closing: str, special: Sequence[str], stop: str, begin: str = "") -> "Format":
        """One form for every role, with ``{role}`` in it."""
        turns = {role: (opening.format(role=role), closing) for role in ROLES}
        return cls(turns, tuple(special), stop, begin)


FORMATS: Mapping[str, Format] = {
    "chatml": Format.alike("<|im_start|>{role}\n", "<|im_end|>\n", ["<|im_start|>", "<|im_end|>"], "<|im_end|>"),
    "llama3": Format.alike(
        "<|start_header_id|>{role}<|end_header_id|>\n\n",
        "<|eot_id|>",
        ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        "<|eot_id|>",
        begin="<|begin_of_text|>",
    ),
    # Gemma has no system role: what the system says becomes a turn of the user
    "gemma": Format(
        {
            role: (f"<start_of_turn>{name}\n", "<end_of_turn>\n")
            for role, name in zip(ROLES, ("user", "user", "model"), strict=True)
        },
        ("<bos>", "<start_of_turn>", "<end_of_turn>"),
        "<end_of_turn>",
        begin="<bos>",
    ),
    "phi3": Format.alike(
        "<|{role}|>\n", "<|end|>\n", ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"], "<|end|>"
    ),
    # no space after the last colon: SentencePiece writes the one before the reply itself
    "vicuna": Format(
        {"system": ("", " "), "user": ("USER: ", " "), "assistant": ("ASSISTANT:", "</s>")},
        ("<s>", "</s>"),
        "</s>",
        begin="<s>",
    ),
}  # fmt: skip


class HFChatTokenizer:
    """A tokenizer of Transformers and a chat format. Raises InputError where it lacks one of the format's tokens."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, form: Format, system: str = "") -> None:
        self.tokenizer, self.form, self.system, self.begin = tokenizer, form, system, form.begin
        # asked for once: a copy of 150,000 entries takes 100 ms, encoding a sentence a tenth of one
        vocabulary: Mapping[str, int] = tokenizer.get_vocab()
        for token in (*form.special, form.stop):
            if token not in vocabulary:
                raise InputError(
                    f"the tokenizer of {tokenizer.name_or_path} has no token {token}, which the chat format needs"
                )
        _make_special(tokenizer, form.special)
        self.newline_id = max(vocabulary.values()) + 1
        others = [t for t in (PLAIN, tokenizer.eos_token) if t in vocabulary]
        self.stop_ids = [vocabulary[token] for token in dict.fromkeys([form.stop, *others])]
        # stands where features will be, and fills up: any token that exists will do
        fillers = [t for t in (tokenizer.pad_token, PLAIN, tokenizer.eos_token) if t in vocabulary]
        self.pad_id = vocabulary[fillers[0]] if fillers else self.stop_ids[0]
        special = [*form.special, *(t.content for t in tokenizer.added_tokens_decoder.values() if t.special)]
        self._special_ids = {NEWLINE: self.newline_id} | {t: vocabulary[t] for t in special if t in vocabulary}
        self._special = re.compile("|".join(re.escape(t) for t in sorted(self._special_ids, key=len, reverse=True)))
        written = "".join(self.open(role) + self.close(role) for role in ("user", "assistant"))
        line = self.encode("\n", special=False)
        marks = {p for p in self.pieces(written) if isinstance(p, int)}
        self.format_ids = frozenset(marks | set(line if len(line) == 1 else []))

    def encode(self, text: str, special: bool) -> list[int]:
        if special:
            pieces = [[p] if isinstance(p, int) else self.encode(p, special=False) for p in self.pieces(text)]
            return [number for piece in pieces for number in piece]
        ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert isinstance(ids, list)
        return ids

    def pieces(self, template: str) -> list[int | str]:
        found: list[int | str] = []
        start = 0
        for match in self._special.finditer(template):
            found += [template[start : match.start()], self._special_ids[match[0]]]
            start = match.end()
        return [piece for piece in [*found, template[start:]] if piece != ""]

    def decode(self, ids: Sequence[int]) -> str:
        kept = [i for i in ids if i != self.newline_id]
        return str(self.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def name(self, token: int) -> str:
        return NEWLINE if token == self.newline_id else str(self.tokenizer.convert_ids_to_tokens(token))

    def open(self, role: str) -> str:
        return self.form.turns[role][0]

    def close(self, role: str) -> str:
        return self.form.turns[role][1]

    def save(self, folder: Path) -> None:
        self.tokenizer.save_pretrained(folder)


def read_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """Raises InputError where the folder or hub name has none."""
    loud = logging.get_verbosity()
    logging.set_verbosity_error()  # of the config beside a tokenizer, where that is in a layout it does not know
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        line = " ".join(str(error).split())[:300]
        raise InputError(f"{path} has no tokenizer that can be read; name one by llm.tokenizer: {line}") from None
    finally:
        logging.set_verbosity(loud)
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def byte_tokenizer(special: Sequence[str]) -> PreTrainedTokenizerFast:
    """256 byte tokens and ``special`` ones after them: made from code, knows every text."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, clean_up_tokenization_spaces=False)
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    return tokenizer


def _make_special(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[str]) -> None:
    """Some tokenizers have a token of the format as plain vocabulary: then a text that a user types could become it."""
    known = {t.content for t in tokenizer.added_tokens_decoder.values() if t.special}
    plain = [token for token in tokens if token not in known]
    if plain:
        tokenizer.add_special_tokens(
            {"additional_special_tokens": plain}, replace_extra_special_tokens=False
        )  # fmt: skip
