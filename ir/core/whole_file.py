"""Reading a whole file, or a pipe, where what is read may have no end."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import IO

# What protobuf can decode.
MOST_OF_A_MODEL = (1 << 31) - 1
_CHUNK = 1 << 24


def is_device(path: Path) -> bool:
    """Say whether `path` is a device, such as /dev/zero: some have no end, and none is a file."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def read_whole(path: Path, most: int = MOST_OF_A_MODEL) -> bytes:
    """Return the bytes at `path`, which may be a pipe.

    Raises OSError where it cannot be read, and ValueError where it is a device or has more than
    `most` bytes.
    """
    if is_device(path):
        raise ValueError("it is a device and no file")
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size > most:
            raise _too_large(most)
        return read_stream(file, most)


def read_stream(file: IO[bytes], most: int = MOST_OF_A_MODEL) -> bytes:
    """Return what is left in `file`; raises ValueError where that is more than `most` bytes."""
    parts, size = [], 0
    while part := file.read(min(_CHUNK, most + 1 - size)):
        parts.append(part)
        size += len(part)
        if size > most:
            raise _too_large(most)
    return b"".join(parts)


def _too_large(most: int) -> ValueError:
    return ValueError(f"it has more than {most} bytes, the most that are read")
