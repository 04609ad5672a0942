"""Ctrl-C that other code has made another error of."""

from __future__ import annotations


def was_interrupted(error: BaseException) -> bool:
    """Say whether a KeyboardInterrupt led to `error`.

    Native modules that are interrupted while they are imported raise an ImportError from it.
    """
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        each = pending.pop()
        if isinstance(each, KeyboardInterrupt):
            return True
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            pending += [each.__cause__, each.__context__]
    return False
