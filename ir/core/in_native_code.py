"""Runs in native code, in the middle of which the interpreter does not end.

A daemon thread that comes back to an interpreter which ends is ended by Python (before 3.14) with
its stack unwound. The bindings of all runtimes come back in a destructor of C++, through which
nothing may unwind, so that the process would end with "terminate called without an active
exception". So the end waits for the runs that there are, and runs that would begin wait for the
end: a second at most, for what is called at the end may wait in turn for a thread that runs.
"""

from __future__ import annotations

import atexit
import os
import threading
import time

_PATIENCE = 1.0  # seconds
_LOOK = 1e-3


class _Runs:
    """A context for a run, to be entered by any thread; what is inside another is a part of it.

    It has no lock, which a signal's handler or a fork could find taken: each thread has an entry.
    """

    def __init__(self) -> None:
        self._depths: dict[int, int] = {}
        self._end: float | None = None

    def __enter__(self) -> None:
        thread = threading.get_ident()
        depth = self._depths.get(thread, 0)
        self._depths[thread] = depth + 1  # before it looks, so that the end sees it or is seen
        if self._end is not None and not depth:
            del self._depths[thread]
            time.sleep(max(0.0, self._end - time.monotonic()))
            self._depths[thread] = 1

    def __exit__(self, *_: object) -> None:
        thread = threading.get_ident()
        depth = self._depths.pop(thread)
        if depth > 1:
            self._depths[thread] = depth - 1

    def end(self) -> None:
        """Wait until no other thread is inside; this one, which ends all, may still run."""
        self._depths[threading.get_ident()] = 1
        self._end = time.monotonic() + _PATIENCE
        while len(self._depths) > 1 and time.monotonic() < self._end:
            time.sleep(_LOOK)

    def forget_others(self) -> None:
        """Be of this thread alone, the only one that a forked child has."""
        thread = threading.get_ident()
        self._depths = {thread: self._depths[thread]} if thread in self._depths else {}


in_native_code = _Runs()
atexit.register(in_native_code.end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=in_native_code.forget_others)
