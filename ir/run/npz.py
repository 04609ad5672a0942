"""Arrays in an `.npz` archive, read some rows at a time."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np

_SUFFIX = ".npy"


@dataclass(frozen=True)
class NpzArray:
    """One array of an archive, known from its header."""

    file: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    by_columns: bool

    @property
    def name(self) -> str:
        """The name it was saved under."""
        return self.file.removesuffix(_SUFFIX)


def member_of(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NpzArray:
    """Read the header of an array. Raises ValueError where it is none, or needs unpickling."""
    with archive.open(info) as stream:
        return NpzArray(info.filename, *_read_header(stream, info.filename))


def read_rows(
    archive: zipfile.ZipFile, member: NpzArray, rows: int
) -> Iterator[np.ndarray[Any, Any]]:
    """Yield `member` in pieces of `rows` along its first axis, fewer in the last.

    Memory is one piece; only an array that was saved column by column is read as a whole.
    """
    with archive.open(member.file) as stream:
        _read_header(stream, member.file)
        if member.by_columns:
            whole = _read(stream, member.shape[::-1], member.dtype).T
            for first in range(0, len(whole), rows):
                yield np.ascontiguousarray(whole[first : first + rows])
            return
        for first in range(0, member.shape[0], rows):
            count = min(rows, member.shape[0] - first)
            yield _read(stream, (count, *member.shape[1:]), member.dtype)


def read_whole(archive: zipfile.ZipFile, member: NpzArray) -> np.ndarray[Any, Any]:
    """Return all of `member`."""
    with archive.open(member.file) as stream:
        _read_header(stream, member.file)
        if member.by_columns:
            return _read(stream, member.shape[::-1], member.dtype).T
        return _read(stream, member.shape, member.dtype)


def _read_header(stream: IO[bytes], file: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    version = np.lib.format.read_magic(stream)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"'{file}' has version {version} of the array format, which is not read")
    shape, by_columns, dtype = readers[version](stream)
    if dtype.hasobject:
        raise ValueError(f"'{file}' holds Python objects, which are not unpickled")
    return shape, dtype, by_columns and len(shape) > 1


def _read(stream: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    wanted = math.prod(shape) * dtype.itemsize
    data = stream.read(wanted)
    if len(data) < wanted:
        raise EOFError(f"the archive ends {wanted - len(data)} bytes before its array does")
    return np.ndarray(shape, dtype, data)
