"""What the tests of a run share: made by the first process that asks, read by all others."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

FOLDER = "PLANISH_TESTS_SHARED"  # the variable with its path; conftest.py makes and removes it


def shared(key: object, make: Callable[[Path], None]) -> Path:
    """Return the folder that `make` filled for `key`; where another process fills it, wait."""
    name = hashlib.sha256(repr(key).encode()).hexdigest()[:24]
    folder = Path(os.environ[FOLDER]) / name
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            half = folder.with_suffix(".half")
            half.mkdir(exist_ok=True)  # left over where an earlier `make` failed
            make(half)
            half.rename(folder)
    return folder
