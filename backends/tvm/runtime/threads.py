"""The threads that networks run on where they have no pool of helpers (`pool`), one at a time.

TVM makes a pool for each thread that calls it, and fixes its size at the first use. So all runs on
several threads are handed to one worker of planish's own, which has the pool: a server with a
thread for each request has one, not hundreds, and a child of a fork, where the threads of a pool
are gone, makes its own. The pool has as many threads as the network that asked for most; where
another asks for more, a new one takes its place. A run on one thread needs no pool and stays with
its caller.

Between two runs the pool's threads look for work for some tenths of a millisecond, then they sleep.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakSet

from ....ir.core.cpu import core_numbers
from .quiet import quietly

_Result = TypeVar("_Result")

_SHARE_ALL_CORES = -3  # TVM's name for it is kSpecifyThreadShareAllCore
# How often an idle thread of a pool yields before it sleeps. TVM's own default is some 0.1 seconds.
_SPINS = ("TVM_THREAD_POOL_SPIN_COUNT", "1000")


# Who has LLVM make machine code; a fork waits, for LLVM's own locks would stay taken in the child.
making_code = threading.RLock()


class Turn:
    """A lock for one run at a time; in a forked child it is free, whoever held it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._interrupted = False
        _turns.add(self)

    def free(self) -> None:
        """Let nobody hold it."""
        self._interrupted |= self._lock.locked()
        self._lock = threading.Lock()

    def was_interrupted(self) -> bool:
        """Say, once, whether a run was left in the middle: this process is forked from it."""
        found, self._interrupted = self._interrupted, False
        return found

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class _StoppedError(Exception):
    """A worker was asked that is no more."""


class _Worker:
    """A thread that does what it is given, one thing after the other, with a pool of `threads`.

    Two locks and no queue, since every run waits for the handing over: some 20 microseconds.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._stopped = False
        self._turn = threading.Lock()
        self._asked, self._done = threading.Lock(), threading.Lock()
        self._asked.acquire()
        self._done.acquire()
        self._job: Callable[[], Any] = lambda: None
        self._result: Any = None
        self._error: BaseException | None = None
        # A daemon, since it waits in TVM or for a lock when the process ends.
        self._thread = threading.Thread(target=self._serve, name="planish-tvm", daemon=True)
        self._thread.start()

    def do(self, job: Callable[[], _Result]) -> _Result:
        """Return what `job` returns, or raise what it raises; another thread asks for it."""
        with self._turn:
            if self._stopped:
                raise _StoppedError
            self._job = job
            self._asked.release()
            self._wait()
            result, error = self._result, self._error
            self._job, self._result, self._error = (lambda: None), None, None
        if error is not None:
            raise error
        found: _Result = result
        return found

    def is_here(self) -> bool:
        """Say whether the caller is this thread."""
        return threading.current_thread() is self._thread

    def stop(self) -> None:
        """End the thread and its pool, once it has done what it was given."""
        with self._turn:
            self._stopped = True
            self._asked.release()
        self._thread.join()

    def _wait(self) -> None:
        """Wait until the job is done: on Ctrl-C too, since it reads and writes what is lent it."""
        interrupt: BaseException | None = None
        while True:
            try:
                self._done.acquire()
                break
            except BaseException as error:
                interrupt = error
        if interrupt is not None:
            raise interrupt

    def _serve(self) -> None:
        while True:
            self._asked.acquire()
            if self._stopped:
                return
            try:
                self._result = self._job()
            except BaseException as error:  # it is raised where the job was asked for
                self._error = error
            self._done.release()


_here = threading.local()
_starting = threading.Lock()
_worker: _Worker | None = None
_turns: WeakSet[Turn] = WeakSet()


def run_on(threads: int, run: Callable[[], _Result]) -> _Result:
    """Return what `run`, which calls TVM, returns or raises when it may use `threads` threads.

    The caller waits; runs on several threads come one after the other, whoever asks for them.
    """
    if threads == 1:
        _use_no_pool()
        allow(1)
        return run()

    def on_pool() -> _Result:
        use_pool(threads)
        allow(threads)
        return run()

    if _worker is not None and _worker.is_here():  # it is what the starting of another waits for
        return on_pool()
    while True:
        with contextlib.suppress(_StoppedError):  # by who asked for more threads
            return _shared_worker(threads).do(on_pool)


def use_pool(threads: int) -> None:
    """Let this thread have a pool of its own, of `threads` threads on the cores of this process.

    What a thread was told last is kept, since telling takes as long as a small layer.
    """
    told = getattr(_here, "threads", None)
    if told == threads:
        return
    cores = core_numbers()
    if told is None:  # the first list is as long as the pool is large
        os.environ.setdefault(*_SPINS)
        with quietly():  # TVM warns of more threads than cores before it can be told which
            _configure(threads, [cores[i % len(cores)] for i in range(threads)])
    _configure(threads, cores)
    _here.threads = threads


def threads_here() -> int:
    """Return how many threads what this thread calls may use."""
    return getattr(_here, "allowed", 1)


def allow(threads: int) -> None:
    """Say how many threads what this thread calls may use."""
    _here.allowed = threads


def _use_no_pool() -> None:
    """Let what this thread calls run in itself: to TVM it has one core, so that no pool is made."""
    if getattr(_here, "threads", None) is None:
        cores = core_numbers()
        _configure(1, cores[:1])
        with contextlib.suppress(AttributeError, OSError):  # TVM pins its caller to what it is told
            os.sched_setaffinity(0, cores)
        _here.threads = 1


def _configure(threads: int, cores: list[int]) -> None:
    import tvm

    tell = tvm.get_global_func("runtime.config_threadpool")
    tell(_SHARE_ALL_CORES, threads, [str(core) for core in cores])


def _shared_worker(threads: int) -> _Worker:
    global _worker
    with _starting:
        if _worker is not None and _worker.threads < threads:
            _worker.stop()
            _worker = None
        if _worker is None:
            _worker = _Worker(threads)
        return _worker


def _after_fork() -> None:
    global _starting, _worker
    _starting, _worker = threading.Lock(), None
    for turn in _turns:
        turn.free()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=making_code.acquire,
        after_in_parent=making_code.release,
        after_in_child=making_code.release,
    )
    os.register_at_fork(after_in_child=_after_fork)
