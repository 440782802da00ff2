"""What judges said, in an SQLite file, so that nothing is asked or paid for twice."""

import sqlite3
from pathlib import Path
from threading import Lock

from ..core.errors import InputError


class Cache:
    """Answers by key, which several threads and processes may write. The first answer under a key stays."""

    def __init__(self, path: Path) -> None:
        """path: a file that is made where it is missing. Raises InputError where it is no such file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = Lock()
        try:
            # isolation_level None: every statement is on disk when it returns
            self._file = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
            self._file.execute("CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, judge TEXT, text TEXT)")
        except sqlite3.Error as error:
            raise InputError(f"{path} is no cache of judgements ({error}); move it away or name another file") from None

    def __enter__(self) -> "Cache":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def get(self, key: str) -> str | None:
        """The answer under a key; None where there is none."""
        with self._lock:
            row = self._file.execute("SELECT text FROM answers WHERE key = ?", [key]).fetchone()
        return None if row is None else str(row[0])

    def put(self, key: str, judge: str, text: str) -> str:
        """Keep an answer. Returns the one that is kept: that of another process, where it came first."""
        text = text.encode(errors="replace").decode()  # half a surrogate pair cannot be written
        with self._lock:
            self._file.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", [key, judge, text])
        kept = self.get(key)
        assert kept is not None
        return kept
