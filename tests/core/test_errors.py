"""Words for the errors of other libraries."""

from interleave.core.errors import one_line


def test_an_error_is_told_on_one_line_of_300_characters() -> None:
    assert one_line(ValueError("first\n    second\tthird")) == "first second third"
    assert one_line(OSError("x" * 1000)) == "x" * 300


def test_an_error_without_words_is_told_by_its_type() -> None:
    assert one_line(EOFError()) == "EOFError"
    assert one_line(TimeoutError("\n")) == "TimeoutError"
