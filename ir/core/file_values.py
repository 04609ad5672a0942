"""Weights that stay in their file: read when they are asked for, and held by whoever asks.

A graph that is only kept beside another one, to compare with or to go back to, holds none of them.
"""

from __future__ import annotations

import math
import mmap
import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.ir.tensor import LazyValues

from .errors import LoadError

Array = np.ndarray[Any, Any]

# The entry of a constant that says where the values which it holds lie.
SOURCE = "planish_source"


class WeightFile:
    """A file that stays open, so that it is the same one when another takes its name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb", buffering=0)
        weakref.finalize(self, self._file.close)
        self._marks = self._seen()

    @property
    def size(self) -> int:
        """The size when it was opened, in bytes."""
        return self._marks[0]

    def read(self, at: int, values: Array) -> None:
        """Fill `values` with what lies at `at`; raises LoadError where the file was written to."""
        left = values.reshape(-1).view(np.uint8).data
        while left:
            found = os.pread(self._file.fileno(), len(left), at)
            if not found:
                break
            left[: len(found)] = found
            left, at = left[len(found) :], at + len(found)
        self.check(whole=not left)

    def map(self, at: int, size: int) -> Array:
        """Return the bytes at `at`, mapped for as long as somebody holds them.

        What is written to the file shows in them: `check` says whether anything was.
        """
        self.check()
        start = at - at % mmap.ALLOCATIONGRANULARITY
        mapped = _Mapping(
            self._file.fileno(), at + size - start, offset=start, access=mmap.ACCESS_READ
        )
        mapped.source = self
        return np.frombuffer(mapped, np.uint8, size, at - start)

    def check(self, *, whole: bool = True) -> None:
        """Raise LoadError where the file was written to since it was opened, or not `whole`."""
        if not whole or self._seen() != self._marks:
            raise LoadError(
                f"'{self.path}' was written to while it was read; leave it alone and run again"
            )

    def _seen(self) -> tuple[int, int]:
        status = os.fstat(self._file.fileno())
        return status.st_size, status.st_mtime_ns


class _Mapping(mmap.mmap):
    """A mapping that knows its file, which lives as long."""

    source: WeightFile


class FileValues(LazyValues):  # type: ignore[misc]
    """The values of a constant that lie in `file` from `at` on.

    `mapped`: they are mapped, and read into memory otherwise. They are the same array as long as
    somebody holds it.
    """

    def __init__(
        self,
        file: WeightFile,
        at: int,
        dtype: np.dtype[Any],
        shape: tuple[int, ...],
        *,
        mapped: bool,
    ) -> None:
        self.dtype, self.shape = dtype, shape
        self.nbytes = dtype.itemsize * math.prod(shape)
        self.file, self._at, self._mapped = file, at, mapped
        self._held: weakref.ref[Array] | None = None

    def load(self) -> Array:
        """Return the values, read-only; raises LoadError where the file was written to since."""
        held = None if self._held is None else self._held()
        if held is None:
            held = self._read()
            held.flags.writeable = False
            self._held = weakref.ref(held)
        return held

    def _read(self) -> Array:
        if self._mapped:
            return self.file.map(self._at, self.nbytes).view(self.dtype).reshape(self.shape)
        values = np.empty(self.shape, self.dtype)
        self.file.read(self._at, values)
        return values


def take_hold(constant: gs.Constant) -> None:
    """Let `constant` hold its values, if they lie in a file, until `let_go`."""
    held = constant._values
    if isinstance(held, FileValues):
        constant._values = held.load()
        constant.__dict__[SOURCE] = held


def let_go(constant: gs.Constant) -> None:
    """Let `constant`, which nothing reads any more, ask the file again if somebody should."""
    source = constant.__dict__.get(SOURCE)
    if source is not None:
        constant._values = source


def lies_in_file(tensor: gs.Tensor) -> bool:
    """Say whether `tensor` is a constant that may be let go."""
    return SOURCE in tensor.__dict__


def file_of(constant: gs.Constant) -> WeightFile | None:
    """Return the file in which values of `constant` lie, mapped or to be read; None of others."""
    held = constant.__dict__.get(SOURCE, constant._values)
    if isinstance(held, FileValues):
        return held.file
    while isinstance(held, np.ndarray | memoryview):
        held = held.base if isinstance(held, np.ndarray) else held.obj
    return held.source if isinstance(held, _Mapping) else None
