"""How many threads a network runs on, as people give it."""

from __future__ import annotations

import operator

from ...ir.core.errors import BackendError

MOST = 1 << 16  # beyond what any machine has, and within what runtimes take


def require_whole(threads: object) -> None:
    """Raise BackendError where `threads` is neither None nor a whole number."""
    if threads is None:
        return
    try:
        operator.index(threads)  # type: ignore[arg-type]
        usable = not isinstance(threads, bool)
    except TypeError:
        usable = False
    if not usable:
        raise BackendError(f"threads is {threads!r}; give a whole number, 1 or more")


def require_threads(threads: int | None) -> None:
    """Raise BackendError where `threads` is neither None nor a whole number of 1 or more."""
    require_whole(threads)
    if threads is not None and not 1 <= threads <= MOST:
        raise BackendError(f"threads is {threads}; give 1 or more, and up to {MOST}")
