"""Reading a model file, its large weights where they are to lie."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.file_values import FileValues, WeightFile
from ..core.whole_file import read_whole
from ..proto.apart import take_apart

Array = np.ndarray[Any, Any]

# Smaller files are read in one go.
_LARGE = 1 << 22


def read_apart(path: Path, *, lazily: bool = False) -> tuple[bytes, Sequence[Array | FileValues]]:
    """Return the bytes of the model at `path`, and the weights that were left out of them.

    `lazily`: these stay in the file until they are asked for. Raises OSError where the file cannot
    be read, and ValueError of a device, and of what protobuf could not decode.
    """
    if path.is_file() and path.stat().st_size >= _LARGE:
        with path.open("rb", buffering=0) as file:
            kept = WeightFile(path) if lazily else None

            def read(at: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Array | FileValues:
                if kept is not None:
                    return FileValues(kept, at, dtype, shape, mapped=False)
                values = np.empty(shape, dtype)
                left = values.reshape(-1).view(np.uint8).data
                file.seek(at)
                while left:
                    count = file.readinto(left)
                    if not count:
                        raise ValueError("the file has become shorter")
                    left = left[count:]
                return values

            # Mapped only while it is taken apart, for others may write to it.
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            found = take_apart(memoryview(mapped), read)
            if found is not None:
                return found
    return read_whole(path), []
