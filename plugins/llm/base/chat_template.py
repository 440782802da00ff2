"""Which chat format a tokenizer speaks: by name, by its tokens, or read out of its own chat template."""

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from interleave import InputError

from .chat_formats import FORMATS, Format

TEMPLATE = "template"
SAID = {"system": "qSYSTEMq", "user": "qUSERq", "assistant": "qASSISTANTq"}
"""What each role says when the template is read: words that no template holds."""


def choose(tokenizer: PreTrainedTokenizerBase, chat: str | None, family: Sequence[str]) -> tuple[str, Format]:
    """A format and its name.

    chat: its name, or ``template``; None takes the first of ``family`` and then of all formats whose tokens the
    tokenizer knows, else the template. Raises InputError.
    """
    if chat == TEMPLATE:
        return TEMPLATE, from_template(tokenizer)
    if chat is not None:
        if chat not in FORMATS:
            raise InputError(f"llm.chat is {chat!r}; known are {', '.join([*FORMATS, TEMPLATE])}")
        return chat, FORMATS[chat]
    vocabulary = tokenizer.get_vocab()
    named = [name for name in (*family, *FORMATS) if name != "vicuna"]  # its tokens say nothing, many models have them
    for name in named:
        if all(token in vocabulary for token in FORMATS[name].special):
            return name, FORMATS[name]
    return TEMPLATE, from_template(tokenizer)


def from_template(tokenizer: PreTrainedTokenizerBase) -> Format:
    """Render a conversation and read what stands between its words. Raises InputError where that gives no format."""
    if not tokenizer.chat_template:
        raise _unclear("has no chat template and not the tokens of a known format")
    once = _render(tokenizer, ["user", "assistant"])
    twice = _render(tokenizer, ["user", "assistant", "user", "assistant"])
    asked = _render(tokenizer, ["user"])
    prompt = _render(tokenizer, ["user"], add_generation_prompt=True)
    if None in (once, twice, asked, prompt):
        raise _unclear("has a chat template that does not take turns of user and assistant")
    before, after_user, _ = _between(str(once), ["user", "assistant"])
    *_, between, _, end = _between(str(twice), ["user", "assistant", "user", "assistant"])
    begin = tokenizer.bos_token or ""
    begin = begin if before.startswith(begin) else ""
    if not end.strip() or not between.startswith(end.rstrip()):
        raise _unclear("has a chat template whose turns do not end alike")
    end = end if between.startswith(end) else end.rstrip()
    # a default system turn may stand before the first question, and a line break be missing after the last answer
    open_user = _common_end(before.removeprefix(begin), between.removeprefix(end))
    close_assistant = between.removesuffix(open_user)
    tail = str(prompt).partition(SAID["user"])[2]
    if after_user.rstrip(" ") == tail.rstrip(" "):  # a space before an answer is written by its tokenizer
        after_user = tail
    open_assistant = str(prompt).removeprefix(str(asked)) if str(prompt).startswith(str(asked)) else ""
    if not after_user.endswith(open_assistant):
        raise _unclear("has a chat template that opens a reply otherwise than an answer")
    close_user = after_user.removesuffix(open_assistant)
    turns = {"user": (open_user, close_user), "assistant": (open_assistant, close_assistant)}
    turns["system"] = _system(tokenizer, begin, turns["user"])
    return _format(tokenizer, turns, begin)


def _system(tokenizer: PreTrainedTokenizerBase, begin: str, user: tuple[str, str]) -> tuple[str, str]:
    """Where the template has no system role, the user says it."""
    text = _render(tokenizer, ["system", "user"])
    if text is None or SAID["system"] not in text:
        return user
    before, after, _ = _between(text, ["system", "user"])
    return (before.removeprefix(begin), after.removesuffix(user[0])) if after.endswith(user[0]) else user


def _format(tokenizer: PreTrainedTokenizerBase, turns: Mapping[str, tuple[str, str]], begin: str) -> Format:
    written = begin + "".join(part for turn in turns.values() for part in turn)
    special = [t.content for t in tokenizer.added_tokens_decoder.values() if t.content.strip() and t.content in written]
    closing = turns["assistant"][1]
    ends = sorted((token for token in special if token in closing), key=closing.index)
    if not ends:
        raise _unclear("has a chat template whose answers end without a token")
    return Format(turns, tuple(special), ends[0], begin)


def _render(tokenizer: PreTrainedTokenizerBase, roles: Sequence[str], **options: Any) -> str | None:
    said = [{"role": role, "content": SAID[role]} for role in roles]
    try:
        text = tokenizer.apply_chat_template(said, tokenize=False, **options)
    except (TemplateError, ValueError, TypeError, KeyError):  # templates refuse what they do not know
        return None
    return str(text) if all(SAID[role] in str(text) for role in roles) else None


def _between(text: str, roles: Sequence[str]) -> list[str]:
    """The text before, between and after what the roles say."""
    parts = []
    for role in roles:
        before, _, text = text.partition(SAID[role])
        parts.append(before)
    return [*parts, text]


def _common_end(one: str, other: str) -> str:
    length = next((i for i in range(min(len(one), len(other))) if one[-1 - i] != other[-1 - i]), None)
    length = min(len(one), len(other)) if length is None else length
    return one[len(one) - length :]


def _unclear(why: str) -> InputError:
    return InputError(f"the tokenizer {why}; choose llm.chat of {', '.join(FORMATS)}")
