"""How far many tasks are, and how long the rest of them takes."""

from __future__ import annotations

from collections.abc import Callable

from ...ir.core.durations import duration
from ...tools.tasks.task import Outcome, Task


class TaskProgress:
    """Tells `update` of tasks as they start and end, of `count` in all."""

    def __init__(self, update: Callable[[float, str], None], count: int) -> None:
        self._update = update
        self._count = count
        self._done = 0
        self._seconds = 0.0

    def __call__(self, task: Task, outcome: Outcome | None) -> None:
        """Take in that `task` starts, or ends with `outcome`."""
        if outcome is not None:
            self._done += 1
            self._seconds += outcome.seconds
        words = task.what
        if self._done:
            left = self._seconds / self._done * max(0, self._count - self._done)
            words += f", about {duration(round(left))} left"
        self._update(min(1.0, self._done / self._count), words)
