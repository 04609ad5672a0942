"""A chosen network as one file: the choice, and the file that its backend wrote.

magic | SHA-256 of what follows | length of header | header (JSON) | the backend's file
"""

from __future__ import annotations

import json
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..contract.sealed import ArtifactError, Seal, SealedWriter

__all__ = ["SEAL", "ArtifactError", "ChosenHeader", "read", "unpacked", "write"]

SEAL = Seal(backend="backend 'auto'", family=b"planish-auto-", magic=b"planish-auto-1\n")
_LENGTH = struct.Struct("<Q")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class ChosenHeader:
    """`choice` as JSON has it, what comparing has found, and where the backend's file begins."""

    choice: dict[str, Any]
    verdict: str
    start: int


def write(file: IO[bytes], choice: dict[str, Any], verdict: str, network: Path) -> None:
    """Write an artifact to `file`, which is empty; `network` is what the backend wrote."""
    header = json.dumps({"choice": choice, "verdict": verdict}, sort_keys=True).encode()

    def fill(writer: SealedWriter) -> None:
        writer.write(_LENGTH.pack(len(header)))
        writer.write(header)
        with network.open("rb") as held:
            while block := held.read(_BLOCK):
                writer.write(block)

    SEAL.write(file, fill)


def read(path: str | Path) -> ChosenHeader:
    """Return the header of the artifact at `path`. Raises ArtifactError."""
    with SEAL.open(path) as data:
        try:
            at = SEAL.start + _LENGTH.size
            (length,) = _LENGTH.unpack(data[SEAL.start : at])
            told = json.loads(data[at : at + length])
            return ChosenHeader(told["choice"], told["verdict"], at + length)
        except (struct.error, ValueError, TypeError, KeyError) as error:
            raise ArtifactError(
                f"'{path}' is damaged: its header cannot be read; lower the model again"
            ) from error


@contextmanager
def unpacked(path: str | Path, start: int) -> Iterator[Path]:
    """Give the backend's own file, for a while."""
    with tempfile.TemporaryDirectory(prefix="planish-") as folder, open(path, "rb") as held:
        place = Path(folder) / Path(path).name
        held.seek(start)
        with place.open("wb") as file:
            shutil.copyfileobj(held, file, _BLOCK)
        yield place
