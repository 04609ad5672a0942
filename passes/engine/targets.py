"""Whether a target is there, for who stands below the backends, which know.

Passes stand below backends, so what checks a target is put in here.
"""

from __future__ import annotations

from collections.abc import Callable

_CHECKS: list[Callable[[str], None]] = []


def register_target_check(check: Callable[[str], None]) -> None:
    """Have `require_target` ask `check`, which raises where no backend has a target."""
    _CHECKS.append(check)


def require_target(target: str) -> None:
    """Raise BackendError where no backend has `target` on this machine."""
    for check in _CHECKS:
        check(target)
