"""Annotation files to the text of their records: a broken record is one record lost, whatever is wrong with it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from ..core.errors import BadSample, InputError, one_line
from ..core.sample import BROKEN_FIELD

AnnotationRecord = dict[str, Any]
"""An object of JSON, as the data holds it."""
BROKEN = "!"
"""What the text of a record begins with that cannot be read; the reason follows. JSON begins otherwise."""
PIECE = 8 * 2**20
"""Characters of a JSON list that are read at a time."""
LONGEST_ESCAPE = 16
"""Characters, at most, between the place where the decoder gives up and the end of a text that was cut within a word,
a number or an escape."""
MOST_DIGITS = 4300
"""Of a number that Python makes a whole one of."""
BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')
"""A whole string, or a bracket outside of strings."""
_Item = tuple[str, Any]
"""Text and value of an item of a file; of one that is no record, ``BROKEN`` and the reason, and anything."""
HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
"""An escape of half a character beyond the first 65,536; two of them make one."""


def _number(digits: str) -> int | float:
    """A number of too many digits for a whole one is a fraction, as other readers of JSON take it."""
    return int(digits) if len(digits) <= MOST_DIGITS else float(digits)


DECODER = json.JSONDecoder(parse_int=_number)


def read_records(path: Path) -> Iterator[tuple[str, AnnotationRecord]]:
    """JSON of each record as the file has it, and the record, one after another, without holding the file in memory.

    Of one that cannot be read, ``BROKEN`` and the reason, and the reason as its only field, ``BROKEN_FIELD``.

    Raises InputError for a file that holds no list of records or in which one record cannot be told from the next, and
    at its end where none of its records can be read.
    """
    check_is_file(path)
    reason, is_any_whole = "", False
    try:
        for text, value in _lines(path) if path.suffix == ".jsonl" else _list_items(path):
            if text.startswith(BROKEN):
                reason = reason or text[1:]
                yield text, {BROKEN_FIELD: text[1:]}
            else:
                is_any_whole = True
                yield text, _whole(value, text)
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8: {one_line(error)}") from None
    except OSError as error:
        raise InputError(f"annotation file {path} cannot be read: {error.strerror}") from None
    if reason and not is_any_whole:
        raise InputError(f"none of the records can be read: {reason}")


def decoded(text: str) -> AnnotationRecord:
    """The record of a text of ``read_records``. Raises BadSample."""
    if text.startswith(BROKEN):
        raise BadSample("broken record", text[1:])
    record: AnnotationRecord = _whole(DECODER.decode(text), text)
    return record


def check_is_file(path: Path) -> None:
    """Raises InputError for a folder, and where there is nothing."""
    if path.is_dir():
        raise InputError(f"annotation file {path} is a folder; name a .json or .jsonl file in it")
    if not path.is_file():
        raise InputError(f"annotation file {path} does not exist")


def _lines(path: Path) -> Iterator[_Item]:
    """Each line that is not blank."""
    with path.open("rb") as file:  # as bytes: a line that is not UTF-8 is one line lost
        for number, line in enumerate(file, 1):
            content = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line  # a byte order mark
            if not content.strip():
                continue
            try:
                text = content.decode().strip()
                yield _checked(DECODER.decode(text), text, f"{path}: line {number}")
            except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, or nested too deeply
                yield f"{BROKEN}{path}: line {number} is not JSON: {_said(error)}", None


def _list_items(path: Path) -> Iterator[_Item]:
    """Each item of a JSON list, decoded as the file is read piece by piece. Raises InputError."""
    with path.open(encoding="utf-8-sig") as file:  # which also reads a byte order mark
        window = _Window(file, path)
        if window.next_character() != "[":
            raise InputError(f"{path} holds no list of records")
        window.at += 1
        while (character := window.next_character()) != "]":
            if window.item:
                if character != ",":
                    raise window.error("Expecting ',' delimiter")
                window.at += 1
            yield window.next_item()
        window.at += 1
        if behind := window.next_character(may_end=True):
            where = f"from character {window.start + window.at + 1:,} on ({behind!r})"
            raise InputError(f"{path} holds more behind its list, {where}: more than one list, or a damaged file")


class _Window:
    """The part of a file of a list that was read and not decoded yet.

    text: that part, and some that was decoded. at: where in it. start: characters of the file before it.
    item: number of the item that comes next.
    """

    def __init__(self, file: TextIO, path: Path) -> None:
        self.file, self.path = file, path
        self.text, self.at, self.start, self.item = "", 0, 0, 0

    def next_character(self, may_end: bool = False) -> str:
        """The next one that is no white space, which stays to be read; empty where the file ends, if it may."""
        while True:
            while self.at < len(self.text) and self.text[self.at].isspace():
                self.at += 1
            if self.at < len(self.text):
                return self.text[self.at]
            if not self._read_more():
                if may_end:
                    return ""
                raise self.error(f"Expecting value, where the file ends after {self.path.stat().st_size:,} bytes")

    def next_item(self) -> _Item:
        """An item."""
        self.next_character()
        name = f"{self.path}: item {self.item}"
        try:
            value, end = self._decode()
            found = _checked(value, self.text[self.at : end], name)
        except RecursionError as error:
            end = self._end_of_nested()
            found = f"{BROKEN}{name} is nested too deeply: {_said(error)}", None
        self.at = end
        self.item += 1
        return found

    def error(self, problem: str, at: int | None = None) -> InputError:
        """What to raise for a file that is not JSON from a place in the text on."""
        place = self.start + (self.at if at is None else at) + 1
        return InputError(f"{self.path} is not JSON: {problem}, in item {self.item} (character {place:,})")

    def _decode(self) -> tuple[object, int]:
        """The next value, and where it ends in the text."""
        while True:
            try:
                return DECODER.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                size = self.path.stat().st_size
                cut = self.error(f"{error.msg}, where the file ends after {size:,} bytes", error.pos)
                unfinished = error.msg.startswith("Unterminated string")
                if error.pos < len(self.text) - LONGEST_ESCAPE and not unfinished:
                    raise self.error(error.msg, error.pos) from None  # more text would not mend it
                # the item may be cut by the end of the piece: try it again with the next one
                if not self._read_more():
                    raise cut from None

    def _end_of_nested(self) -> int:
        """Where the value in brackets ends that begins at ``at``, found by counting them."""
        depth, position = 0, self.at
        while True:
            for token in BRACKETS.finditer(self.text, position):
                depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
                position = token.end()
                if depth == 0:
                    return position
            position -= self.at  # what was decoded is dropped, and ``at`` becomes 0
            if not self._read_more():
                raise self.error("brackets are not closed where the file ends")

    def _read_more(self) -> str:
        """Drop what was decoded and read another piece; empty at the end of the file."""
        self.start += self.at
        piece = self.file.read(PIECE)
        self.text, self.at = self.text[self.at :] + piece, 0
        return piece


def _checked(value: object, text: str, name: str) -> _Item:
    is_record = isinstance(value, dict)
    return text if is_record else f"{BROKEN}{name} is a {type(value).__name__}, and no object", value


def _said(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else one_line(error)


def _whole(record: Any, text: str) -> Any:
    """A record with U+FFFD in place of half characters, which no tokenizer takes. text: its JSON."""
    return _whole_characters(record) if HALF_CHARACTER.search(text) else record


def _whole_characters(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_whole_characters(item) for item in value]
    if isinstance(value, dict):
        return {_whole_characters(key): _whole_characters(item) for key, item in value.items()}
    return value
