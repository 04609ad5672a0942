"""Tasks in the process of the test: a search takes a second then, not one for each of its tasks."""

from __future__ import annotations

import threading

from planish.backends.timing import bench as timing
from planish.tools.tasks.task import Outcome, TaskCall, named_files
from planish.tools.tasks.worker import perform


class InProcess:
    """Runs tasks one after the other; `most`: after so many it is interrupted."""

    def __init__(self, most=None):
        self.count, self._most = 0, most

    def run(self, tasks, folders):
        for place, (task, out) in enumerate(zip(tasks, folders, strict=True)):
            if self.count == self._most:
                raise KeyboardInterrupt
            self.count += 1
            found = perform(task.function, TaskCall(task.options, task.files, out))
            assert "trace" not in found, found["trace"]
            found.pop("trace", None)
            yield place, Outcome(**found, files=named_files(out))


def wait_for_ever(call):
    """Say so, and wait: a task for a process that something else has to end."""
    print("waiting", flush=True)
    threading.Event().wait()


def briefly(*subjects, seconds=None, burst=0.0, **options):
    """Bench for a fraction of the time."""
    return timing.bench(*subjects, seconds=(seconds or 1) / 100, burst=burst / 100, **options)
