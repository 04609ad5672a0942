"""A command in a process of its own, and one that waits for it and says how it ended.

Native code can end a process without an exception: a kernel of ONNX Runtime that divides the least
integer by -1, LLVM where it may not write, the system where memory runs out. The process that
waits does nothing else, so that there is one message and exit code 2 also then.
"""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable
from typing import IO, NoReturn

ENVIRONMENT = "PLANISH_SUPERVISE"

_PASSED_ON = frozenset({signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)})
_CRASHES = {
    "SIGFPE": "an arithmetic trap, as of an integer divided by zero",
    "SIGSEGV": "an access to memory that is not there",
    "SIGBUS": "an access to a file or memory that is not there",
    "SIGABRT": "a check of native code that failed",
    "SIGILL": "an instruction that this processor lacks",
    "SIGTRAP": "a check of native code that failed",
    "SIGXFSZ": "a file larger than the limit that is set here",
    "SIGKILL": "as the system does where memory runs out; use a smaller batch or shape",
}
_FRAME = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+) in (?P<name>\S+)$', re.MULTILINE)
_PARENT_DIED = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>
_ROOM = 4096

_doing: mmap.mmap | None = None


def doing(what: str) -> None:
    """Tell the process that waits what this one does now; nothing where none waits."""
    if _doing is not None:
        text = " ".join(what.split()).encode()[: _ROOM - 1]
        _doing[: len(text) + 1] = text + b"\0"


def supervised(run: Callable[[], None]) -> None:
    """Call `run` in a child of this process; exit as it does, with a message where it crashes.

    Here, where there is no `fork` or no way to tell who sent a signal (Windows, macOS), under a
    debugger, and with `PLANISH_SUPERVISE=0`.
    """
    if not _can_supervise():
        run()
        return
    with tempfile.TemporaryFile("w+b") as report:
        _run_in_child(run, report)


def _run_in_child(run: Callable[[], None], report: IO[bytes]) -> None:
    global _doing
    _doing = mmap.mmap(-1, _ROOM)
    parent = os.getpid()
    watched = _PASSED_ON | {signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    child = os.fork()
    if child == 0:
        _end_with(parent)
        faulthandler.enable(report)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        try:
            run()
        finally:
            doing("the end, when all else was done")
            faulthandler.disable()  # the report is closed
        return
    _exit_like(_wait(child, watched), before, report)


def _can_supervise() -> bool:
    return (
        hasattr(os, "fork")
        and hasattr(signal, "sigwaitinfo")
        and sys.gettrace() is None
        and os.environ.get(ENVIRONMENT) != "0"
    )


def _end_with(parent: int) -> None:
    """End this process when `parent` does: who kills that means the command."""
    try:
        ctypes.CDLL(None).prctl(_PARENT_DIED, signal.SIGKILL)
    except (OSError, AttributeError):  # not Linux
        return
    if os.getppid() != parent:
        os._exit(1)


def _wait(child: int, watched: frozenset[signal.Signals]) -> int:
    """Return the status with which `child` ends; what somebody sends here is sent on to it."""
    while True:
        came = signal.sigwaitinfo(watched)
        if came.si_signo != signal.SIGCHLD:
            if came.si_pid:  # a terminal's Ctrl-C has no sender, and reaches both
                os.kill(child, came.si_signo)
            continue
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status


def _exit_like(status: int, mask: set[int], report: IO[bytes]) -> NoReturn:
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        sys.exit(code)
    ended = signal.Signals(-code)
    if ended.name in _CRASHES:
        report.seek(0)
        sys.stderr.write(_message(ended.name, report.read().decode(errors="replace")))
        sys.exit(2)
    signal.signal(ended, signal.SIG_DFL)
    os.kill(os.getpid(), ended)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    sys.exit(128 + ended)


def _message(ended: str, traces: str) -> str:
    what = _doing[:].split(b"\0")[0].decode(errors="replace") if _doing is not None else ""
    text = f"error: {ended} ended the process while it was at '{what or 'its start'}'"
    text += f" ({_CRASHES[ended]})"
    if not traces:
        return text + "; no half-written file is left\n"
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", prefix="planish-", suffix=".txt", delete=False
    ) as file:
        file.write(traces)
    return (
        f"{text}: {_place(traces)}; no half-written file is left. Look whether the model runs "
        f"elsewhere; report it with the model and '{file.name}'\n"
    )


def _place(traces: str) -> str:
    """Say in whose code it was, from what `faulthandler` wrote: innermost calls first."""
    current = traces.partition("Current thread")[2] or traces
    frames = [match["file"] for match in _FRAME.finditer(current)]
    packages = [file.rpartition("site-packages/")[2].split("/")[0] for file in frames]
    if frames and "site-packages/" in frames[0] and packages[0] != "planish":
        return f"native code of {packages[0]}"
    return "native code"
