"""Tasks in the process of the test: a search takes a second then, not one for each of its tasks."""

from __future__ import annotations

import threading

from planish.backends.timing import bench as timing
from planish.tools.tasks.task import Outcome, TaskCall, named_files
from planish.tools.tasks.worker import perform


class InProcess:
    """Runs tasks one after the other; `most`: after so many it is interrupted.

    `clock`: what tasks that measure found, by what they were asked; who shares it reads one clock.
    """

    def __init__(self, most=None, clock=None):
        self.count, self._most, self._clock = 0, most, clock

    def run(self, tasks, folders):
        for place, (task, out) in enumerate(zip(tasks, folders, strict=True)):
            if self.count == self._most:
                raise KeyboardInterrupt
            self.count += 1
            found = self._perform(task, out)
            assert "trace" not in found, found["trace"]
            found.pop("trace", None)
            yield place, Outcome(**found, files=named_files(out))

    def _perform(self, task, out):
        if self._clock is None or not task.exclusive:
            return perform(task.function, TaskCall(task.options, task.files, out))
        files = tuple((name, path.read_bytes()) for name, path in sorted(task.files.items()))
        key = (task.function, repr(task.options), files)
        if key not in self._clock:
            self._clock[key] = perform(task.function, TaskCall(task.options, task.files, out))
        return dict(self._clock[key])


def wait_for_ever(call):
    """Say so, and wait: a task for a process that something else has to end."""
    print("waiting", flush=True)
    threading.Event().wait()


def briefly(*subjects, seconds=None, burst=0.0, **options):
    """Bench for a fraction of the time."""
    return timing.bench(*subjects, seconds=(seconds or 1) / 100, burst=burst / 100, **options)
