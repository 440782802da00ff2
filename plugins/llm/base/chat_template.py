"""Which chat format a tokenizer speaks: by name, by its tokens, or read out of its own chat template."""

from collections.abc import Mapping, Sequence

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from interleave import InputError

from .chat_formats import FORMATS, ChatFormat

TEMPLATE = "template"
"""The name that stands for the tokenizer's own chat template."""
MARKERS = {"system": "qSYSTEMq", "user": "qUSERq", "assistant": "qASSISTANTq"}
"""What each role says when a template is read: words that no template holds."""
Turn = tuple[str, str]
"""What stands before and after the text of a turn."""


def choose_format(
    tokenizer: PreTrainedTokenizerBase, chat: str | None, preferred: Sequence[str]
) -> tuple[str, ChatFormat]:
    """The name of a format, and the format.

    chat: the name of one, or ``template`` for what the tokenizer's chat template says; None takes the first of
        ``preferred``, then of all formats, whose tokens the tokenizer knows, else the template.

    Raises InputError for an unknown name, and where the template gives no format.
    """
    if chat == TEMPLATE:
        return TEMPLATE, from_template(tokenizer)
    if chat is not None:
        if chat not in FORMATS:
            raise InputError(f"llm.chat is {chat!r}; known are {', '.join([*FORMATS, TEMPLATE])}")
        return chat, FORMATS[chat]
    vocabulary = tokenizer.get_vocab()
    for name in (*preferred, *FORMATS):
        if name == "vicuna":  # its tokens say nothing, many models have them
            continue
        if all(token in vocabulary for token in FORMATS[name].special):
            return name, FORMATS[name]
    return TEMPLATE, from_template(tokenizer)


def from_template(tokenizer: PreTrainedTokenizerBase) -> ChatFormat:
    """Render conversations of markers and read what stands between them.

    Raises InputError where there is no template, or where it writes the same turn in different ways.
    """
    if not tokenizer.chat_template:
        raise _no_format("has no chat template and not the tokens of a known format")
    once = _render(tokenizer, ["user", "assistant"])
    twice = _render(tokenizer, ["user", "assistant", "user", "assistant"])
    question = _render(tokenizer, ["user"])
    prompt = _render(tokenizer, ["user"], for_reply=True)
    if once is None or twice is None or question is None or prompt is None:
        raise _no_format("has a chat template that does not take turns of user and assistant")
    before, after_user, _ = _around_markers(once, ["user", "assistant"])
    _, _, between, _, end = _around_markers(twice, ["user", "assistant", "user", "assistant"])
    begin = tokenizer.bos_token or ""
    begin = begin if before.startswith(begin) else ""
    # ``between`` closes an answer and opens a question, ``end`` closes the last answer
    if not end.strip() or not between.startswith(end.rstrip()):
        raise _no_format("has a chat template whose turns do not end alike")
    end = end if between.startswith(end) else end.rstrip()
    # a default system turn may stand before the first question, and a line break be missing after the last answer
    open_user = _common_suffix(before.removeprefix(begin), between.removeprefix(end))
    close_assistant = between.removesuffix(open_user)
    close_user, open_assistant = _around_reply(question, prompt, after_user)
    turns = {"user": (open_user, close_user), "assistant": (open_assistant, close_assistant)}
    turns["system"] = _system_turn(tokenizer, begin, turns["user"])
    return _format_of(tokenizer, turns, begin)


def _around_reply(question: str, prompt: str, after_user: str) -> tuple[str, str]:
    """What closes a question, and what opens an answer.

    question, prompt: a question alone, without and with what makes the model reply. after_user: what stands between a
    question and an answer that is there. Raises InputError where reply and answer are opened differently.
    """
    after_user_in_prompt = prompt.partition(MARKERS["user"])[2]
    if after_user.rstrip(" ") == after_user_in_prompt.rstrip(
        " "
    ):  # a space before an answer is the tokenizer's to write
        after_user = after_user_in_prompt
    open_assistant = prompt.removeprefix(question) if prompt.startswith(question) else ""
    if not after_user.endswith(open_assistant):
        raise _no_format("has a chat template that opens a reply otherwise than an answer")
    return after_user.removesuffix(open_assistant), open_assistant


def _system_turn(tokenizer: PreTrainedTokenizerBase, begin: str, user: Turn) -> Turn:
    """What stands around the system's text; a turn of the user where the template has no system role."""
    text = _render(tokenizer, ["system", "user"])
    if text is None or MARKERS["system"] not in text:
        return user
    before, after, _ = _around_markers(text, ["system", "user"])
    open_user = user[0]
    return (before.removeprefix(begin), after.removesuffix(open_user)) if after.endswith(open_user) else user


def _format_of(tokenizer: PreTrainedTokenizerBase, turns: Mapping[str, Turn], begin: str) -> ChatFormat:
    """A format with the tokens that its turns hold. Raises InputError where no token ends an answer."""
    written = begin + "".join(opening + closing for opening, closing in turns.values())
    special: list[str] = []
    for token in tokenizer.added_tokens_decoder.values():
        if token.content.strip() and token.content in written:
            special.append(token.content)
    closing = turns["assistant"][1]
    ends = sorted((token for token in special if token in closing), key=closing.index)
    if not ends:
        raise _no_format("has a chat template whose answers end without a token")
    return ChatFormat(turns, tuple(special), ends[0], begin)


def _render(tokenizer: PreTrainedTokenizerBase, roles: Sequence[str], for_reply: bool = False) -> str | None:
    """A conversation of markers as the template writes it; None where it refuses the roles or leaves one out."""
    messages = [{"role": role, "content": MARKERS[role]} for role in roles]
    try:
        text = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=for_reply))
    except (TemplateError, ValueError, TypeError, KeyError):  # templates refuse what they do not know
        return None
    return text if all(MARKERS[role] in text for role in roles) else None


def _around_markers(text: str, roles: Sequence[str]) -> list[str]:
    """The text before, between and after the markers of the roles, in their order: one more piece than roles."""
    pieces: list[str] = []
    for role in roles:
        before, _, text = text.partition(MARKERS[role])
        pieces.append(before)
    return [*pieces, text]


def _common_suffix(a: str, b: str) -> str:
    """The longest text with which both end."""
    length = 0
    while length < min(len(a), len(b)) and a[-1 - length] == b[-1 - length]:
        length += 1
    return a[len(a) - length :]


def _no_format(reason: str) -> InputError:
    return InputError(f"the tokenizer {reason}; choose llm.chat of {', '.join(FORMATS)}")
