"""Threads that help with runs: one pool in a process, for all networks and whoever calls them.

A run stays with its caller and publishes what there is to do; helpers, asleep till then, join in
(`compile/pool_code.py`). It ends when its work is done, also where helpers were not scheduled in
time. Runs on several threads come one after the other; the pool has as many helpers as the network
that asked for most needs, one less than threads. A child of a fork, where the helpers of its parent
are not, starts its own.

Helpers are threads of Python's that are in native code, without its lock, until the process ends.
Between runs they look for work for some eighty microseconds, then they sleep.
"""

from __future__ import annotations

import atexit
import ctypes
import mmap
import os
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from .pool_memory import (
    ACTIVE,
    CAPTURED,
    GENERATION,
    HELPERS,
    JOIN,
    LINE,
    MOST_HELPERS,
    SERVE,
    SIZE,
    STOP_POOL,
)

_Result = TypeVar("_Result")
_PATIENCE = 1.0  # seconds, at the end of the process


class _Pool:
    """Helpers, and the memory by which they are told what to do."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, SIZE, access=mmap.ACCESS_COPY)
        # Threads may be at it when the interpreter ends and lets go of all objects.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._memory))
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self._words = memoryview(self._memory).cast("Q")
        self._halves = memoryview(self._memory).cast("I")
        self._turn = threading.RLock()
        self._helpers: list[threading.Thread] = []
        self._code: Any = None  # the first library's; helpers are in it

    def run(self, library: Any, threads: int, run: Callable[[], _Result]) -> _Result:
        """Return what `run`, a run of `library`, returns; it waits for the runs before it."""
        with self._turn:
            self._start(library, min(threads - 1, MOST_HELPERS))
            self._halves[HELPERS // 4] = min(threads - 1, len(self._helpers))
            return run()

    def wait_for_leaving(self) -> None:
        """Wait until no helper is at what belongs to a run that is over."""
        now = self._words[GENERATION // 8]
        for index in range(len(self._helpers)):
            while 0 < self._words[(ACTIVE + index * LINE) // 8] < now:
                time.sleep(1e-4)

    def stop(self) -> None:
        """End the helpers, unless a run that is not over has them."""
        if self._code is None or not self._turn.acquire(timeout=_PATIENCE):
            return
        try:
            self._code.get_function(STOP_POOL, query_imports=True)(self.address)
            for helper in self._helpers:
                helper.join(_PATIENCE)
        finally:
            self._turn.release()

    def forget(self) -> None:
        """Be as new: the process is a fork's child, which has no helpers."""
        lines = ACTIVE, len(self._helpers) * LINE
        for begin, size in ((0, CAPTURED), lines):
            self._memory[begin : begin + size] = bytes(size)
        self._helpers, self._turn = [], threading.RLock()

    def _start(self, library: Any, count: int) -> None:
        if len(self._helpers) >= count:
            return
        self._code = self._code or library
        serve = self._code.get_function(SERVE, query_imports=True)
        serve.release_gil = True
        while (index := len(self._helpers)) < count:
            helper = threading.Thread(
                target=serve, args=(self.address, index), name="planish-helper", daemon=True
            )
            self._helpers.append(helper)  # first, for an index is one thread's
            try:
                helper.start()
            except RuntimeError:  # the interpreter ends, or the system has no more
                self._helpers.pop()
                return


_pool: _Pool | None = None
_making = threading.Lock()


def join(library: Any, threads: int) -> bool:
    """Let `library` run its loops on `threads` of the pool; False where it has no code for that."""
    if not library.implements_function(JOIN, query_imports=True):
        return False
    library.get_function(JOIN, query_imports=True)(_shared().address if threads > 1 else 0)
    return True


def run_with_helpers(library: Any, threads: int, run: Callable[[], _Result]) -> _Result:
    """Return what `run` returns or raises, a run of `library`, which has joined the pool."""
    return run() if threads == 1 else _shared().run(library, threads, run)


def wait_for_leaving() -> None:
    """Wait until no helper is at what belongs to a run that is over."""
    if _pool is not None:
        _pool.wait_for_leaving()


def _shared() -> _Pool:
    global _pool
    with _making:
        if _pool is None:
            _pool = _Pool()
            atexit.register(_pool.stop)
        return _pool


def _after_fork() -> None:
    global _making
    _making = threading.Lock()
    if _pool is not None:
        _pool.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
