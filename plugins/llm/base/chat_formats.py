"""Tokens and the form of a turn: the chat formats, as data, and a tokenizer of Transformers that speaks one of them."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.utils import logging

from interleave import NEWLINE, InputError, one_line

PLAIN = "<|endoftext|>"
"""The token that ends a document of plain text in many vocabularies; the byte-level tokenizer has it, too."""
ROLES = ("system", "user", "assistant")


class ChatFormat(NamedTuple):
    """How a conversation is written.

    turns: role -> what stands before and after its text.
    special: the tokens in ``turns``; they, and ``stop``, must be in the tokenizer's vocabulary.
    stop: the token that ends a reply.
    begin: what stands before the first turn.
    """

    turns: Mapping[str, tuple[str, str]]
    special: tuple[str, ...]
    stop: str
    begin: str = ""

    @classmethod
    def same_for_roles(
        cls, opening: str, closing: str, special: Sequence[str], stop: str, begin: str = ""
    ) -> "ChatFormat":
        """One form for every role; ``{role}`` in ``opening`` stands for the role's name."""
        turns = {role: (opening.format(role=role), closing) for role in ROLES}
        return cls(turns, tuple(special), stop, begin)


FORMATS: Mapping[str, ChatFormat] = {
    "chatml": ChatFormat.same_for_roles(
        "<|im_start|>{role}\n", "<|im_end|>\n", ["<|im_start|>", "<|im_end|>"], "<|im_end|>"
    ),
    "llama3": ChatFormat.same_for_roles(
        "<|start_header_id|>{role}<|end_header_id|>\n\n",
        "<|eot_id|>",
        ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        "<|eot_id|>",
        begin="<|begin_of_text|>",
    ),
    # Gemma has no system role: what the system says becomes a turn of the user
    "gemma": ChatFormat(
        {
            "system": ("<start_of_turn>user\n", "<end_of_turn>\n"),
            "user": ("<start_of_turn>user\n", "<end_of_turn>\n"),
            "assistant": ("<start_of_turn>model\n", "<end_of_turn>\n"),
        },
        ("<bos>", "<start_of_turn>", "<end_of_turn>"),
        "<end_of_turn>",
        begin="<bos>",
    ),
    "phi3": ChatFormat.same_for_roles(
        "<|{role}|>\n", "<|end|>\n", ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>"], "<|end|>"
    ),
    # no space after the last colon: SentencePiece writes the one before the reply itself
    "vicuna": ChatFormat(
        {"system": ("", " "), "user": ("USER: ", " "), "assistant": ("ASSISTANT:", "</s>")},
        ("<s>", "</s>"),
        "</s>",
        begin="<s>",
    ),
}


class HFChatTokenizer:
    """A tokenizer of Transformers and a chat format: the contract ``ChatTokenizer``."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, chat_format: ChatFormat, system: str = "") -> None:
        """system: what the system says in a conversation that does not say it; empty for nothing.

        Raises InputError where the tokenizer lacks one of the format's tokens.
        """
        self.tokenizer, self.chat_format, self.system = tokenizer, chat_format, system
        self.begin = chat_format.begin
        # asked for once: a copy of 150,000 entries takes 100 ms, encoding a sentence a tenth of one
        vocabulary: Mapping[str, int] = tokenizer.get_vocab()
        for token in (*chat_format.special, chat_format.stop):
            if token not in vocabulary:
                raise InputError(
                    f"the tokenizer of {tokenizer.name_or_path} has no token {token}, which the chat format needs"
                )
        _make_special(tokenizer, chat_format.special)
        self.newline_id = max(vocabulary.values()) + 1  # the first number that no token has
        other_stops = [token for token in (PLAIN, tokenizer.eos_token) if token in vocabulary]
        self.stop_ids = [vocabulary[token] for token in dict.fromkeys([chat_format.stop, *other_stops])]
        # stands where features will be, and fills up: any token that exists will do
        fillers = [token for token in (tokenizer.pad_token, PLAIN, tokenizer.eos_token) if token in vocabulary]
        self.pad_id = vocabulary[fillers[0]] if fillers else self.stop_ids[0]
        self._special_ids = {NEWLINE: self.newline_id}
        for token in (*chat_format.special, *_special_tokens(tokenizer)):
            if token in vocabulary:
                self._special_ids[token] = vocabulary[token]
        # the longest first, so that a token is not taken for another one that it begins with
        longest_first = sorted(self._special_ids, key=len, reverse=True)
        self._special = re.compile("|".join(re.escape(token) for token in longest_first))
        self.format_ids = self._format_ids()

    def _format_ids(self) -> frozenset[int]:
        """The special tokens that open and close the turns of user and assistant, and the line break if it is one."""
        written = "".join(self.open(role) + self.close(role) for role in ("user", "assistant"))
        ids = {piece for piece in self.pieces(written) if isinstance(piece, int)}
        line_break = self.encode("\n", special=False)
        if len(line_break) == 1:
            ids.update(line_break)
        return frozenset(ids)

    def encode(self, text: str, special: bool) -> list[int]:
        """Text -> token ids; nothing is added before or after.

        special: whether special tokens in the text become tokens. False for text that a user types.
        """
        if special:
            ids: list[int] = []
            for piece in self.pieces(text):
                if isinstance(piece, int):
                    ids.append(piece)
                else:
                    ids += self.encode(piece, special=False)
            return ids
        encoded = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert isinstance(encoded, list)
        return encoded

    def pieces(self, template: str) -> list[int | str]:
        """Text of the format -> ids of its special tokens, and the text between them where there is any."""
        found: list[int | str] = []
        start = 0
        for match in self._special.finditer(template):
            found += [template[start : match.start()], self._special_ids[match[0]]]
            start = match.end()
        found.append(template[start:])
        return [piece for piece in found if piece != ""]

    def decode(self, ids: Sequence[int]) -> str:
        """Token ids -> text, without special tokens and separators."""
        kept = [token for token in ids if token != self.newline_id]
        return str(self.tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def name(self, token: int) -> str:
        """How a token is shown to a person."""
        return NEWLINE if token == self.newline_id else str(self.tokenizer.convert_ids_to_tokens(token))

    def open(self, role: str) -> str:
        """What stands before the text of a turn."""
        return self.chat_format.turns[role][0]

    def close(self, role: str) -> str:
        """What stands after the text of a turn."""
        return self.chat_format.turns[role][1]

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files."""
        self.tokenizer.save_pretrained(folder)


def read_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder or hub name. Raises InputError where it has none."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()  # it would warn of a config beside the tokenizer in a layout that it does not know
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = one_line(error)
        raise InputError(f"{path} has no tokenizer that can be read; name one by llm.tokenizer: {reason}") from None
    finally:
        logging.set_verbosity(before)
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer


def byte_tokenizer(special: Sequence[str]) -> PreTrainedTokenizerFast:
    """A tokenizer without files that knows every text: 256 byte tokens, and the ``special`` ones after them."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={character: i for i, character in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, clean_up_tokenization_spaces=False)
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    return tokenizer


def _special_tokens(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    return [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]


def _make_special(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[str]) -> None:
    """Make the format's tokens special ones where they are plain vocabulary: else text that a user types could become
    one of them."""
    known = set(_special_tokens(tokenizer))
    plain = [token for token in tokens if token not in known]
    if plain:
        tokenizer.add_special_tokens(
            {"additional_special_tokens": plain}, replace_extra_special_tokens=False
        )  # fmt: skip
