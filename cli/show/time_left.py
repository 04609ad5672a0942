"""How long a pass still takes, if it goes on as it did until now."""

from __future__ import annotations

import time
from collections.abc import Callable

from ...ir.core.durations import duration
from ...passes.engine.records import Progress

# Before, a fraction says little, and a wait is none.
_FIRST_FRACTION, _FIRST_SECONDS = 0.03, 3.0


class TimeLeft:
    """Tells it of the pass that runs, from the time of its first step on."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._of: tuple[int, str, str] | None = None
        self._start = self._first = self._last = 0.0

    def words(self, step: Progress) -> str:
        """Return `about 40 s left`, or nothing where that is not known.

        A pass that falls back, as to another part of its work, is timed anew.
        """
        now, what = self._clock(), (step.index, step.name, step.stage)
        if what != self._of or step.fraction < self._last:
            self._of, self._start, self._first = what, now, step.fraction
        self._last = step.fraction
        passed, done = now - self._start, step.fraction - self._first
        if passed < _FIRST_SECONDS or done < _FIRST_FRACTION or step.fraction >= 1:
            return ""
        left = round(passed * (1 - step.fraction) / done)
        return f"about {duration(left)} left" if left else ""
