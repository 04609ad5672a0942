"""What takes the changes of one edit back, the last one first."""

from __future__ import annotations

from collections.abc import Callable


class Journal:
    """Inverses of changes in the order in which the changes were made."""

    def __init__(self) -> None:
        self._inverses: list[Callable[[], None]] = []
        self._whole = True

    def add(self, inverse: Callable[[], None], *, whole: bool = True) -> None:
        """Remember what takes a change back; not `whole` where it would leave something behind."""
        self._inverses.append(inverse)
        self._whole = self._whole and whole

    def close(self) -> None:
        """Give up: a change was made that has no inverse."""
        self._whole = False

    def undo(self) -> bool:
        """Take all changes back; False, and nothing done, where one of them has no inverse."""
        if not self._whole:
            return False
        while self._inverses:
            self._inverses.pop()()
        return True
