"""Numbers of things in sentences."""

from __future__ import annotations


def counted(count: int, one: str, several: str | None = None) -> str:
    """Return `count` with its noun, `1 node` or `3 nodes`; `several` where its plural takes no s.

    A verb may stand behind the noun: `counted(n, "node stays", "nodes stay")`.
    """
    return f"{count} {one if count == 1 else several or one + 's'}"
