"""A file under a seal: a digest of all that it holds, looked at before anything of it is used.

    magic | SHA-256 of what follows | what follows

It tells damage, not malice: whoever can write the file can write the digest too.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

MAGIC = b"planish-tvm-3\n"
_EARLIER = b"planish-tvm-"
_SIZE = hashlib.sha256().digest_size
START = len(MAGIC) + _SIZE


class ArtifactError(Exception):
    """A file that is no artifact, a damaged one, or one for another machine or version."""


class SealedWriter:
    """Writes the rest of a file whose digest is taken on the way; `at` is the place in the file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.at = START

    def write(self, data: Any) -> None:
        """Append bytes, or a flat buffer of bytes."""
        self._file.write(data)
        self._digest.update(data)
        self.at += len(data)

    def digest(self) -> bytes:
        """Return the digest of what was written."""
        return self._digest.digest()


def write_sealed(file: IO[bytes], fill: Callable[[SealedWriter], object]) -> None:
    """Write to `file`, an empty one, what `fill` writes, under its seal."""
    file.write(MAGIC + bytes(_SIZE))
    writer = SealedWriter(file)
    fill(writer)
    file.seek(len(MAGIC))
    file.write(writer.digest())
    file.seek(0, 2)


def is_sealed(path: str | Path) -> bool:
    """Say whether the file at `path` begins as one of any version does."""
    try:
        with open(path, "rb") as file:
            return file.read(len(_EARLIER)) == _EARLIER
    except OSError:
        return False


def open_sealed(path: str | Path) -> mmap.mmap:
    """Return the bytes of `path`, mapped. Raises ArtifactError where the seal is broken."""
    try:
        with open(path, "rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"cannot read '{path}': {error}") from error
    if data[: len(MAGIC)] != MAGIC:
        if data[: len(_EARLIER)] == _EARLIER:
            raise ArtifactError(
                f"'{path}' was written by another version of planish; lower the model again"
            )
        raise ArtifactError(f"'{path}' is no network compiled by planish's TVM backend")
    with memoryview(data) as whole:
        found = hashlib.sha256(whole[START:]).digest()
    if data[len(MAGIC) : START] != found:
        raise ArtifactError(
            f"'{path}' is damaged or cut short: its {len(data)} bytes are not those that were "
            "written; copy it again, or lower the model again"
        )
    return data
