"""Measurements that outlive the process: one SQLite file, shared by any number of processes.

SQLite's own locks make writers wait for each other and its journal makes a write that is cut short
as if it had never begun. A file that cannot be used costs measurements, never the lowering: it is
warned of once, and what was measured is kept in memory.
"""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ....ir.core.cache_folder import cache_folder
from ....ir.core.environment import is_off, named_place
from ....ir.core.errors import BackendOptionError

VARIABLE = "PLANISH_CACHE"

_APPLICATION = 0x706C6E73  # "plns", in the file's header
_WAIT = 30.0  # seconds for another writer
_TABLE = """CREATE TABLE measurements (
    key TEXT PRIMARY KEY, choice TEXT, operator TEXT, target TEXT,
    candidate TEXT, seconds REAL, trials INTEGER)"""
_PUT = """INSERT INTO measurements VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET candidate = excluded.candidate, seconds = excluded.seconds,
        trials = excluded.trials
    WHERE excluded.trials >= measurements.trials"""

T = TypeVar("T")


@dataclass(frozen=True)
class Key:
    """What a measurement holds for; `digest` is unique, the rest is for people who look inside."""

    digest: str
    choice: str
    operator: str
    target: str


@dataclass(frozen=True)
class Entry:
    """The fastest of `trials` candidates, as JSON has it, and its seconds."""

    candidate: Any
    seconds: float
    trials: int


class _ForeignError(Exception):
    """A database that something else made."""


class Cache:
    """The measurements in the file at `path`; nothing is created before the first write.

    `quiet`: nobody asked for them to be kept, and is warned where they cannot be.
    """

    def __init__(self, path: str | Path, *, quiet: bool = False) -> None:
        self.path = Path(path)
        self._quiet = quiet
        self._memory: dict[str, Entry] = {}
        self._warned = False

    def get(self, key: Key) -> Entry | None:
        """Return what is known of `key`, by this process or any other."""
        if key.digest in self._memory:
            return self._memory[key.digest]
        if not self.path.exists():
            return None
        rows = self._tried(lambda file: _select(file, key.digest))
        return _entry(rows[0]) if rows else None

    def put(self, key: Key, entry: Entry) -> None:
        """Keep `entry`, unless the file has one of more trials by now."""
        self._memory[key.digest] = entry
        candidate = json.dumps(entry.candidate, sort_keys=True)
        row = (key.digest, key.choice, key.operator, key.target)
        values = (*row, candidate, entry.seconds, entry.trials)
        self._tried(lambda file: file.execute(_PUT, values), create=True)

    def _tried(self, action: Callable[[sqlite3.Connection], T], create: bool = False) -> T | None:
        """Return what `action` gives; None where the file cannot be used, with one warning."""
        for _ in range(2):
            before = self._identity()
            try:
                if create:
                    self.path.parent.mkdir(parents=True, exist_ok=True)
                with self._transaction(create) as file:
                    return action(file)
            except (OSError, sqlite3.OperationalError) as error:
                self._warn(f"cannot use '{self.path}' to keep measurements: {_reason(error)}")
                return None
            except (sqlite3.DatabaseError, _ForeignError) as error:
                self._set_aside(before, _reason(error))
                if not create:
                    return None
        return None

    @contextmanager
    def _transaction(self, create: bool) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None)) as file:
            file.execute("BEGIN IMMEDIATE" if create else "BEGIN")
            if not _is_ours(file) and create:
                file.execute(_TABLE)
                file.execute(f"PRAGMA application_id = {_APPLICATION}")
            yield file
            file.execute("COMMIT")

    def _set_aside(self, before: tuple[int, ...] | None, why: str) -> None:
        """Rename a file that is no cache, unless another process has done so meanwhile."""
        if before is None or self._identity() != before:
            return
        names = (f"{self.path}.damaged{'' if n == 0 else n}" for n in itertools.count())
        kept = next(name for name in names if not os.path.exists(name))
        try:
            os.replace(self.path, kept)
        except OSError as error:
            self._warn(f"'{self.path}' holds no measurements ({why}): {_reason(error)}")
            return
        self._warn(
            f"'{self.path}' holds no measurements ({why}); it is now '{kept}', and a new file is "
            "begun"
        )

    def _identity(self) -> tuple[int, ...] | None:
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def _warn(self, message: str) -> None:
        if not self._warned and not self._quiet:
            warnings.warn(message, stacklevel=2)
        self._warned = True


def default_path() -> Path:
    """Return the file that PLANISH_CACHE names, or that in the user's folder for caches.

    Raises BackendOptionError where it is `off`, for what was measured has to lie somewhere.
    """
    if is_off(VARIABLE):
        raise BackendOptionError(
            f"{VARIABLE} is '{os.environ[VARIABLE]}', but it names the file of measurements, which "
            "is always kept; name one, or leave it out"
        )
    return named_place(VARIABLE) or cache_folder() / "measurements.sqlite"


def _is_ours(file: sqlite3.Connection) -> bool:
    """Say whether the database has our table; raises _ForeignError where it has others."""
    (application,) = file.execute("PRAGMA application_id").fetchone()
    (tables,) = file.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    if application == _APPLICATION:
        return True
    if tables:
        raise _ForeignError("it is another program's database")
    return False


def _select(file: sqlite3.Connection, digest: str) -> list[Any]:
    if not _is_ours(file):
        return []
    question = "SELECT candidate, seconds, trials FROM measurements WHERE key = ?"
    return file.execute(question, (digest,)).fetchall()


def _entry(row: tuple[Any, ...]) -> Entry | None:
    """Return the entry of a row; None where someone has written anything else into it."""
    candidate, seconds, trials = row
    if not isinstance(seconds, float) or not isinstance(trials, int):
        return None
    try:
        return Entry(json.loads(candidate), seconds, trials)
    except (TypeError, ValueError):
        return None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)
