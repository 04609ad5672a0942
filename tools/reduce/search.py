"""The best case so far, and the one door through which a smaller one takes its place."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from .case import Case
from .known import KnownTensors

T = TypeVar("T")

_LARGE = 1 << 22


class OutOfTimeError(Exception):
    """The time that was given is over."""


class DeltaSearch:
    """What is reduced: `best` is always a case that shows the fault.

    `shows`: whether a case shows the same fault. `found` is told of every better case.
    """

    def __init__(
        self,
        case: Case,
        known: KnownTensors,
        shows: Callable[[Case], bool],
        found: Callable[[Case, str], None] = lambda case, how: None,
        seconds: float | None = None,
        most_tries: int | None = None,
    ) -> None:
        self.best, self.known = case, known
        self.tries = 0
        self._shows, self._found = shows, found
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._most_tries = most_tries
        self._seen: set[bytes] = set()

    def attempt(self, case: Case | None, how: str) -> bool:
        """Take `case` if it shows the fault; say whether it was taken. None is no case.

        Raises OutOfTimeError.
        """
        if case is None or not self._is_new(case):
            return False
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise OutOfTimeError
        if self._most_tries is not None and self.tries >= self._most_tries:
            raise OutOfTimeError
        self.tries += 1
        if not self._shows(case):
            return False
        self.best = case
        self._found(case, how)
        return True

    def _is_new(self, case: Case) -> bool:
        """Say whether `case` was not seen; of large ones, which are few, that is not asked."""
        if case.model.ByteSize() > _LARGE:
            return True
        digest = hashlib.blake2b(case.model.SerializeToString(deterministic=True), digest_size=16)
        for name, array in case.feed.items():
            digest.update(f"{name} {array.dtype} {array.shape}".encode())
            digest.update(array.tobytes() if array.dtype != object else repr(array).encode())
        key = digest.digest()
        if key in self._seen:
            return False
        self._seen.add(key)
        return True


def shortest(count: int, attempt: Callable[[int], bool]) -> int:
    """Return the least n found in 1..count for which `attempt` holds, by halving; count holds."""
    low, high = 0, count
    while high - low > 1:
        middle = (low + high) // 2
        if attempt(middle):
            high = middle
        else:
            low = middle
    return high


def without_parts(items: Sequence[T], attempt: Callable[[list[T]], bool]) -> list[T]:
    """Return what is left of `items` after all chunks that `attempt` can be without.

    `attempt` is given what is to go. Chunks halve from all down to single ones, the last ones
    first (ddmin: Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input, 2002).
    """
    left, size = list(items), len(items)
    while size:
        end = len(left)
        while end > 0:
            start = max(0, end - size)
            if attempt(left[start:end]):
                del left[start:end]
            end = start
        size //= 2
    return left


def each_alone(items: Iterable[T], attempt: Callable[[list[T]], bool]) -> list[T]:
    """Return those of `items` that `attempt` fails for: all at once, else in halves."""
    waiting, failed = [list(items)], []
    while waiting:
        part = waiting.pop(0)
        if not part or attempt(part):
            continue
        if len(part) == 1:
            failed += part
        else:
            middle = len(part) // 2
            waiting += [part[:middle], part[middle:]]
    return failed
