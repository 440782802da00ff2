"""How a layout spells the names of tensors: one table, read in both directions."""

from collections.abc import Mapping, Sequence

NameRow = tuple[str, str]
"""(the file's spelling, the native spelling); native names are those in the state dict of ``InterleavedModel``."""


class NameTable:
    """Translates the names of tensors between the files of one layout and the model.

    A side of a row that is empty or ends with a dot is a prefix, and what follows it is kept. Any other side is a whole
    name. Where several rows match, the longest match wins, so the order of the rows does not matter.

    written: rows that are used in both directions.
    read_only: other spellings of the same tensors, such as those of older versions; files are never written with them.
    refused: prefixes of names that the layout does not have, although a shorter row would match them.
    """

    def __init__(
        self, written: Sequence[NameRow], read_only: Sequence[NameRow] = (), refused: Sequence[str] = ()
    ) -> None:
        self.written = tuple(written)
        self.read_only = tuple(read_only)
        self._native_by_file: dict[str, str | None] = dict.fromkeys(refused)
        self._native_by_file.update(self.read_only)
        self._native_by_file.update(self.written)  # last: a written row decides over the same spelling in another list
        self._file_by_native: dict[str, str | None] = {native: file for file, native in self.written}

    def to_native(self, name: str) -> str | None:
        """The native name of a tensor in a file; None where no row matches or the name is refused."""
        return _translate(name, self._native_by_file)

    def from_native(self, name: str) -> str | None:
        """The name under which a native tensor is written; None where no written row matches."""
        return _translate(name, self._file_by_native)


def _translate(name: str, rows: Mapping[str, str | None]) -> str | None:
    matching = [spelling for spelling in rows if _matches(name, spelling)]
    if not matching:
        return None
    longest = max(matching, key=len)  # the most specific row
    replacement = rows[longest]  # None for a refused prefix
    return None if replacement is None else replacement + name[len(longest) :]


def _matches(name: str, spelling: str) -> bool:
    is_prefix = not spelling or spelling.endswith(".")
    return name.startswith(spelling) if is_prefix else name == spelling
