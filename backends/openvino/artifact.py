"""A compiled network as one file, which OpenVINO reads without compiling.

    magic | SHA-256 of what follows | length of header | header (JSON) | OpenVINO's blob

A blob is for the version and the kind of CPU that it was made with.
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

__all__ = ["SEAL", "ArtifactError", "Described", "read", "write"]

SEAL = Seal(backend="OpenVINO backend", family=b"planish-openvino-", magic=b"planish-openvino-1\n")
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, kw_only=True)
class Described:
    """What an artifact says of itself: what made it, how, and what comparing it has found.

    `largest` and `leaving`: how far from zero integers of 64 bits may be that are fed, and what
    would leave 32 bits beyond that. `halves`: whether the graph has floats of 16 bits. `fixed`:
    inputs whose values by default have become constants.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    version: str
    properties: dict[str, Any]
    largest: int = (1 << 31) - 1
    leaving: str = ""
    halves: bool = False
    fixed: tuple[str, ...] = ()
    verdict: str = ""


def write(file: IO[bytes], header: Described, blob: bytes) -> None:
    """Write an artifact to `file`, which is empty."""
    described = json.dumps(asdict(header), sort_keys=True).encode()

    def fill(writer: SealedWriter) -> None:
        writer.write(_LENGTH.pack(len(described)))
        writer.write(described)
        writer.write(blob)

    SEAL.write(file, fill)


def read(path: str | Path) -> tuple[Described, bytes]:
    """Return the header and the blob of the artifact at `path`. Raises ArtifactError."""
    with SEAL.open(path) as data, io.BytesIO(data[SEAL.start :]) as rest:
        try:
            (length,) = _LENGTH.unpack(rest.read(_LENGTH.size))
            told = json.loads(rest.read(length))
            told |= {side: tuple(map(_port, told[side])) for side in ("inputs", "outputs")}
            return Described(**{**told, "fixed": tuple(told["fixed"])}), rest.read()
        except (struct.error, ValueError, TypeError, KeyError) as error:
            raise ArtifactError(
                f"'{path}' is damaged: its header cannot be read; lower the model again"
            ) from error


def _port(told: dict[str, Any]) -> Port:
    shape = told["shape"]
    return Port(told["name"], told["dtype"], None if shape is None else tuple(shape))
