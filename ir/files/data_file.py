"""The file of weights beside a model, under a name that no other weights have.

A model and its weights are two files, and a rename moves one. So new weights never take the place
of those that the model in place still reads: they get a name of their own, then the new model takes
the place of the old one, and old weights go last.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from ..core.errors import SaveError
from ..proto.left_out import left_out_at
from .read import read_apart

_ALIGNMENT = 4096  # so that a reader may map each tensor by itself
_CHUNK = 1 << 24
_DIGITS = 16


class Writer:
    """Appends arrays to a file, each where a page begins; `digest` is of all that was written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size = 0

    def append(self, values: np.ndarray[Any, Any]) -> tuple[int, int]:
        """Write `values` as they lie in memory; return offset and bytes."""
        self._write(bytes(-self.size % _ALIGNMENT))
        offset = self.size
        raw = values.reshape(-1).view("u1").data
        for start in range(0, len(raw), _CHUNK):
            self._write(raw[start : start + _CHUNK])
        return offset, len(raw)

    @property
    def digest(self) -> str:
        """The first digits of the digest, for a name."""
        return self._digest.hexdigest()[:_DIGITS]

    def _write(self, data: Any) -> None:
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)


class DataFile:
    """Where the weights of the model at `path` lie: `usual`, or `place` once that is chosen."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.usual = path.with_name(f"{path.name}.data")
        self.place = self.usual

    def choose(self, written: Writer) -> None:
        """Choose the place for what was written: one that has it already, or a free one."""
        named = self._path.with_name(f"{self._path.name}.{written.digest}.data")
        taken = os.path.lexists(self.usual) and not _holds(self.usual, written)
        self.place = named if taken or _holds(named, written) else self.usual

    def remove_others(self) -> None:
        """Remove the weights of models that were at this path before."""
        for other in data_files(self._path):
            if other != self.place:
                with contextlib.suppress(OSError):  # they are in nobody's way
                    other.unlink()


def data_files(path: Path) -> list[Path]:
    """Return the files of weights that `save` has put beside the model at `path`."""
    pattern = re.compile(re.escape(path.name) + rf"(\.[0-9a-f]{{{_DIGITS}}})?\.data")
    return [found for found in path.parent.iterdir() if pattern.fullmatch(found.name)]


def model_files(path: Path) -> list[Path]:
    """Return `path`, and the files beside it that hold weights of the model there.

    Only `path` where that is no ONNX model, or is not there.
    """
    try:
        model = onnx.ModelProto.FromString(read_apart(path, lazily=True)[0])
    except (DecodeError, OSError, ValueError):
        return [path]  # which reading it says
    found = [path.parent / name for name in sorted(set(_locations(model.graph)))]
    return [path, *(file for file in found if file.is_file())]


def bytes_on_disk(path: str | os.PathLike[str]) -> int:
    """Return the size of a model file and of the files with its weights, in bytes."""
    return sum(file.stat().st_size for file in model_files(Path(os.path.realpath(path))))


def require_spared(output: Path, model: Path) -> None:
    """Raise SaveError where writing `output` would replace weights that `model` reads."""
    if not output.exists():
        return
    for file in model_files(model)[1:]:
        if file.samefile(output):
            raise SaveError(
                f"cannot write '{output}': it holds weights of '{model}', which could not be read "
                "any more; name another file"
            )


def _locations(graph: onnx.GraphProto) -> Iterator[str]:
    tensors = list(graph.initializer)
    for sparse in graph.sparse_initializer:
        tensors += [sparse.values, sparse.indices]
    for node in graph.node:
        for attribute in node.attribute:
            tensors += [attribute.t, *attribute.tensors]
            for body in (attribute.g, *attribute.graphs):
                yield from _locations(body)
    for tensor in tensors:
        if left_out_at(tensor) is None:
            yield from (entry.value for entry in tensor.external_data if entry.key == "location")


def _holds(path: Path, written: Writer) -> bool:
    try:
        if path.stat().st_size != written.size:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS] == written.digest
    except OSError:
        return False
