"""The digest of source files, which stands for their version in what is kept of their results."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

_BACKEND = Path(__file__).parent.parent


@functools.cache
def sources(*patterns: str) -> str:
    """Return the digest of the backend's files that match `patterns`, named from its folder."""
    whole = hashlib.sha256()
    for pattern in patterns:
        for path in sorted(_BACKEND.glob(pattern)):
            whole.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return whole.hexdigest()[:16]
