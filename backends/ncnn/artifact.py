"""A converted network as one file: ncnn's two, under a seal.

magic | SHA-256 of what follows | length of header | header (JSON) | param | bin
"""

from __future__ import annotations

import io
import json
import struct
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from ..contract.port import Port
from ..contract.sealed import ArtifactError, Seal, SealedWriter

__all__ = ["SEAL", "ArtifactError", "NcnnFiles", "NcnnHeader", "read", "write"]

SEAL = Seal(backend="ncnn backend", family=b"planish-ncnn-", magic=b"planish-ncnn-1\n")
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, kw_only=True)
class NcnnHeader:
    """What an artifact says of itself.

    `blobs`: those of the inputs and of the outputs. `shapes`: sizes of the outputs for one image.
    `text`: the length of ncnn's param in bytes.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    blobs: tuple[tuple[str, ...], tuple[str, ...]]
    shapes: tuple[tuple[int, ...], ...]
    precision: str
    threads: int | None
    text: int
    version: str
    remarks: tuple[str, ...] = ()
    verdict: str = ""


@dataclass(frozen=True)
class NcnnFiles:
    """ncnn's text of layers, and their weights."""

    param: str
    bin: bytes


def write(file: IO[bytes], header: NcnnHeader, files: NcnnFiles) -> None:
    """Write an artifact to `file`, which is empty."""
    described = json.dumps(asdict(header), sort_keys=True).encode()

    def fill(writer: SealedWriter) -> None:
        for part in (_LENGTH.pack(len(described)), described, files.param.encode(), files.bin):
            writer.write(part)

    SEAL.write(file, fill)


def read(path: str | Path) -> tuple[NcnnHeader, NcnnFiles]:
    """Return the header and ncnn's files of the artifact at `path`. Raises ArtifactError."""
    with SEAL.open(path) as data, io.BytesIO(data[SEAL.start :]) as rest:
        try:
            (length,) = _LENGTH.unpack(rest.read(_LENGTH.size))
            header = _header(json.loads(rest.read(length)))
            return header, NcnnFiles(rest.read(header.text).decode(), rest.read())
        except (struct.error, ValueError, TypeError, KeyError) as error:
            raise ArtifactError(
                f"'{path}' is damaged: its header cannot be read; lower the model again"
            ) from error


def _header(told: dict[str, Any]) -> NcnnHeader:
    for side in ("inputs", "outputs"):
        told[side] = tuple(Port(p["name"], p["dtype"], tuple(p["shape"])) for p in told[side])
    inputs, outputs = told["blobs"]
    told["blobs"] = tuple(inputs), tuple(outputs)
    told["shapes"] = tuple(map(tuple, told["shapes"]))
    told["remarks"] = tuple(told["remarks"])
    return NcnnHeader(**told)
