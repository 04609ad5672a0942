"""Machine code that outlives the process: one file a kernel, named by all that it depends on.

A file is written whole or not at all, and its digest is looked at before any of it is used: one
that is damaged, cut short or another's is as if it were not there. Any number of processes share a
folder. One that cannot be written, or is full, costs time and nothing else. What was not used for
longest goes first where the files grow too large.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from ....ir.core.atomic import replacing
from ....ir.core.errors import PlanishError
from ...contract.sealed import ArtifactError, Seal

LIMIT = 512 << 20  # bytes
_KEPT = 0.75  # of the limit, when files go
_OFTEN = 32 << 20  # bytes written between two looks at the whole
_STALE = 86400.0  # seconds after which a file that was begun is nobody's

_SEAL = Seal(backend="TVM backend", family=b"planish-code-", magic=b"planish-code-1\n")
_SUFFIX, _BEGUN = ".o", ".part"


class CodeCache:
    """Object files in `folder`, which is made at the first write; `limit`: bytes of them all."""

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self.folder = folder
        self._limit = limit
        self._unseen = _OFTEN  # bytes written since the folder was looked at as a whole
        self._usable = True

    def get(self, key: str) -> bytes | None:
        """Return the code under `key`, None where there is none that is whole."""
        path = self._path(key)
        try:
            data = _SEAL.open(path)
        except ArtifactError:
            return None
        with data:
            found = data[_SEAL.start :]
        name = key.encode()
        if not found.startswith(name):  # another's file under this name
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # the age of a file is the time since it was of use
        return found[len(name) :]

    def put(self, key: str, code: bytes) -> None:
        """Keep `code`; where that fails, nothing more is written by this process."""
        if not self._usable:
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with replacing(self._path(key), lasting=False) as file:
                _SEAL.write(file, lambda writer: writer.write(key.encode() + code))
        except (OSError, PlanishError):
            self._usable = False
            return
        self._unseen += len(code)
        if self._unseen >= _OFTEN:
            self._unseen = 0
            self._make_room()

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}{_SUFFIX}"

    def _make_room(self) -> None:
        """Remove files until less than the limit is left, and what writers have left behind."""
        found = sorted(self._files())
        size = sum(bytes_ for _, bytes_, _ in found)
        most = self._limit if size <= self._limit else int(self._limit * _KEPT)
        for used, bytes_, path in found:
            begun = path.suffix == _BEGUN
            if size > most if not begun else used < time.time() - _STALE:
                with contextlib.suppress(OSError):
                    path.unlink()
                    size -= bytes_

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Yield when each file was last of use, its bytes, and its path."""
        with contextlib.suppress(OSError), os.scandir(self.folder) as entries:
            for entry in entries:
                path = Path(entry.path)
                if path.suffix in (_SUFFIX, _BEGUN):
                    with contextlib.suppress(OSError):  # another process removed it
                        found = entry.stat()
                        yield found.st_mtime, found.st_size, path
