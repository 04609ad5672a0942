"""Work in a child of this process: what ends it, or never ends, is a finding and not our end."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import pickle
import select
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import TIMEOUT_MAX
from typing import IO, Any, Generic, NoReturn, TypeVar

from ...ir.core.errors import RefusedError

T = TypeVar("T")

HANGS = "does not end"
OUT_OF_MEMORY = "needs more memory than it may have"
_PARENT_DIED = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>


@dataclass(frozen=True)
class Limits:
    """What a child may take: seconds, and bytes beside what this process has, both above 0."""

    seconds: float = 60.0
    memory: int = 8 << 30

    def __post_init__(self) -> None:
        for name in ("seconds", "memory"):
            if not getattr(self, name) > 0:
                raise RefusedError(
                    f"the limit of {name} is {getattr(self, name)}, with which nothing can be "
                    "tried; give more than 0"
                )


@dataclass(frozen=True)
class Ended(Generic[T]):
    """How a child ended: with a `value`, or with what went wrong in words, `how`.

    `error`: what it raised, as text with its traceback; empty where it did not.
    """

    value: T | None = None
    how: str = ""
    error: str = ""


def run_apart(work: Callable[[], T], limits: Limits | None) -> Ended[T]:
    """Return what `work` returns in a forked process, or how that ended.

    Without limits, and where the system cannot fork, `work` runs in this process. What is returned
    has to be picklable.
    """
    if limits is None or not hasattr(os, "fork"):
        return _here(work)
    with tempfile.TemporaryFile() as file:
        read, write = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads: none is used there
            child = os.fork()
        if not child:
            os.close(read)
            _work(work, limits, file)
        os.close(write)
        ended: list[int] = []
        try:
            ended, _, _ = select.select([read], [], [], min(limits.seconds, TIMEOUT_MAX))
        finally:
            os.close(read)
            if not ended:
                _kill(child)
            status = os.waitpid(child, 0)[1]
            with contextlib.suppress(OSError):
                os.killpg(child, signal.SIGKILL)  # what it has started
        return _read(file, os.waitstatus_to_exitcode(status)) if ended else Ended(how=HANGS)


def _here(work: Callable[[], T]) -> Ended[T]:
    try:
        return Ended(work())
    except MemoryError:
        return Ended(how=OUT_OF_MEMORY)
    except SystemExit as error:
        return Ended(how=_exits(error.code))
    except Exception as error:
        return Ended(how=f"raises {type(error).__name__}", error=traceback.format_exc())


def _work(work: Callable[[], Any], limits: Limits, file: IO[bytes]) -> NoReturn:
    """Do the work and end; nothing of this process is flushed or closed."""
    code = 1
    try:
        os.setpgid(0, 0)
        faulthandler.disable()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):  # native code says there why it ends
            os.dup2(nowhere, stream)
        _limit(limits)
        file.write(pickle.dumps(_here(work), pickle.HIGHEST_PROTOCOL))
        file.flush()
        code = 0
    finally:
        os._exit(code)


def _limit(limits: Limits) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError, ValueError):  # where the system tells otherwise
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        most = min(pages * resource.getpagesize() + limits.memory, sys.maxsize)
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PARENT_DIED, signal.SIGKILL)


def _exits(code: object) -> str:
    status = code if isinstance(code, int) else int(code is not None)  # as Python has it
    return f"ends with exit code {status}"


def _kill(child: int) -> None:
    """End the process group of `child`, which it may not have made yet."""
    for end in (os.killpg, os.kill):
        with contextlib.suppress(OSError):
            end(child, signal.SIGKILL)


def _read(file: IO[bytes], code: int) -> Ended[Any]:
    if code < 0:
        return Ended(how=f"ends with {signal.Signals(-code).name}")
    file.seek(0, os.SEEK_END)
    if code > 0 or not file.tell():  # it may end with 0 before its work does
        return Ended(how=_exits(code))
    file.seek(0)
    found: Ended[Any] = pickle.load(file)  # of our own child
    return found
