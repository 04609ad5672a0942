"""A file under a seal: a digest of all that it holds, looked at before anything of it is used.

    magic | SHA-256 of what follows | what follows

It tells damage, not malice: whoever can write the file can write the digest too.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_SIZE = hashlib.sha256().digest_size


class ArtifactError(Exception):
    """A file that is no artifact, a damaged one, or one for another machine or version."""


class SealedWriter:
    """Writes the rest of a file whose digest is taken on the way; `at` is the place in the file."""

    def __init__(self, file: IO[bytes], at: int) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.at = at

    def write(self, data: Any) -> None:
        """Append bytes, or a flat buffer of bytes."""
        self._file.write(data)
        self._digest.update(data)
        self.at += len(data)

    def digest(self) -> bytes:
        """Return the digest of what was written."""
        return self._digest.digest()


@dataclass(frozen=True, kw_only=True)
class Seal:
    """How the files of one backend begin: `family` in every version, `magic` in this one.

    `backend` is how its errors call the one that writes them.
    """

    backend: str
    family: bytes
    magic: bytes

    @property
    def start(self) -> int:
        """Where the contents begin, in bytes."""
        return len(self.magic) + _SIZE

    def write(self, file: IO[bytes], fill: Callable[[SealedWriter], object]) -> None:
        """Write to `file`, an empty one, what `fill` writes, under its seal."""
        file.write(self.magic + bytes(_SIZE))
        writer = SealedWriter(file, self.start)
        fill(writer)
        file.seek(len(self.magic))
        file.write(writer.digest())
        file.seek(0, 2)

    def is_on(self, path: str | Path) -> bool:
        """Say whether the file at `path` begins as one of any version does."""
        try:
            with open(path, "rb") as file:
                return file.read(len(self.family)) == self.family
        except OSError:
            return False

    def open(self, path: str | Path) -> mmap.mmap:
        """Return the bytes of `path`, mapped. Raises ArtifactError where the seal is broken."""
        try:
            with open(path, "rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise ArtifactError(f"cannot read '{path}': {error}") from error
        if data[: len(self.magic)] != self.magic:
            if data[: len(self.family)] == self.family:
                raise ArtifactError(
                    f"'{path}' was written by another version of planish; lower the model again"
                )
            raise ArtifactError(f"'{path}' is no network compiled by planish's {self.backend}")
        with memoryview(data) as whole:
            found = hashlib.sha256(whole[self.start :]).digest()
        if data[len(self.magic) : self.start] != found:
            raise ArtifactError(
                f"'{path}' is damaged or cut short: its {len(data)} bytes are not those that were "
                "written; copy it again, or lower the model again"
            )
        return data
