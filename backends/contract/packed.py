"""A backend's own file, and what is said of it, as one file under a seal.

magic | SHA-256 of what follows | length of header | header (JSON) | the backend's file
"""

from __future__ import annotations

import json
import shutil
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...ir.core.atomic import replacing
from ...ir.core.errors import SaveError
from .backend import Compiled
from .sealed import ArtifactError, Seal, SealedWriter

_LENGTH = struct.Struct("<Q")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Packed:
    """The `header` of such a file, and where in it the backend's own begins."""

    path: Path
    header: dict[str, Any]
    start: int

    @contextmanager
    def unpacked(self) -> Iterator[Path]:
        """Give the backend's own file, for a while."""
        with tempfile.TemporaryDirectory(prefix="planish-") as folder:
            place = Path(folder) / "network"
            with self.path.open("rb") as held, place.open("wb") as file:
                held.seek(self.start)
                shutil.copyfileobj(held, file, _BLOCK)
            yield place


def pack(path: str | Path, seal: Seal, header: Mapping[str, Any], network: Compiled) -> None:
    """Write what `network` saves and `header` to `path`, atomically. Raises SaveError."""
    said = json.dumps(header, sort_keys=True).encode()
    with tempfile.TemporaryDirectory(prefix="planish-") as folder:
        place = Path(folder) / "network"
        network.save(place)

        def fill(writer: SealedWriter) -> None:
            writer.write(_LENGTH.pack(len(said)))
            writer.write(said)
            with place.open("rb") as held:
                while block := held.read(_BLOCK):
                    writer.write(block)

        try:
            with replacing(Path(path)) as file:
                seal.write(file, fill)
        except OSError as error:
            raise SaveError(f"cannot write '{path}': {error.strerror or error}") from error


def read_packed(path: str | Path, seal: Seal) -> Packed:
    """Return what `pack` wrote to `path`. Raises ArtifactError where it is anything else."""
    with seal.open(path) as data:
        try:
            at = seal.start + _LENGTH.size
            (length,) = _LENGTH.unpack(data[seal.start : at])
            header = json.loads(data[at : at + length])
        except (struct.error, ValueError) as error:
            raise ArtifactError(
                f"'{path}' is damaged: its header cannot be read; lower the model again"
            ) from error
        return Packed(Path(path), header, at + length)
