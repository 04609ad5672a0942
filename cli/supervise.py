"""A command in a process of its own, and one that waits for it and says how it ended.

Native code can end a process without an exception: a kernel of ONNX Runtime that divides the least
integer by -1, LLVM where it may not write, the system where memory runs out. The process that
waits does nothing else, so that there is one message and exit code 4 also then.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import mmap
import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

from ..ir.core.environment import is_off
from .exit_codes import FAILED

ENVIRONMENT = "PLANISH_SUPERVISE"
INTERRUPTED = "interrupted; no half-written file is left"

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
_BY_KERNEL = 0x80  # SI_KERNEL of <asm-generic/siginfo.h>
_TWICE_SECONDS = 1.0
_ROOM = 4096
_ROOM_FOR_FILES = 1 << 16

_doing: mmap.mmap | None = None
_files: mmap.mmap | None = None


def doing(what: str) -> None:
    """Tell the process that waits what this one does now; nothing where none waits."""
    if _doing is not None:
        text = " ".join(what.split()).encode()[: _ROOM - 1]
        _doing[: len(text) + 1] = text + b"\0"


@contextlib.contextmanager
def while_doing(what: str) -> Iterator[None]:
    """Tell it for a while; what was told before is true again behind."""
    before = _told()
    doing(what)
    yield
    doing(before)


def reading_from(files: Iterable[tuple[str, int]]) -> None:
    """Tell the process that waits which files are mapped from now on, and how many bytes each has.

    One that somebody cuts short ends the process when it is read.
    """
    if _files is not None:
        for name, size in files:
            line = f"{size} {os.path.abspath(name)}\n".encode(errors="surrogateescape")
            if "\n" not in name and _files.tell() + len(line) < _ROOM_FOR_FILES:
                _files.write(line)


def _cut_short() -> str:
    """Return the name of a file that has become shorter since `reading_from`; "" of none."""
    assert _files is not None
    for line in _files[:].rstrip(b"\0").decode(errors="surrogateescape").splitlines():
        size, _, name = line.partition(" ")
        with contextlib.suppress(OSError):
            if os.stat(name).st_size < int(size):
                return name
    return ""


def _told() -> str:
    """Return what was told last."""
    return _doing[:].split(b"\0")[0].decode(errors="replace") if _doing is not None else ""


def supervised(run: Callable[[], None]) -> None:
    """Call `run` in a child of this process; exit as it does, with a message where it crashes.

    Here, on other systems than Linux, under a debugger, with `PLANISH_SUPERVISE=0`, and where the
    system allows no more processes.
    """
    global _doing, _files
    if not _can_supervise():
        run()
        return
    parent, watched = os.getpid(), _PASSED_ON | {signal.SIGCHLD}
    _doing, report = mmap.mmap(-1, _ROOM), os.memfd_create("planish-report")
    _files = mmap.mmap(-1, _ROOM_FOR_FILES)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # else nothing is told of children
    before = signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    try:
        child = os.fork()
    except OSError:
        child = 0
    if child:
        _exit_like(*_wait(child, watched), before, report)
    if os.getpid() != parent:
        _end_with(parent)
        faulthandler.enable(report)
        _interrupt_once()
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        run()
    finally:
        if os.getpid() != parent:  # the second of two may come late, and Python guards no end
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        doing("the end, when all else was done")


def _can_supervise() -> bool:
    return (
        sys.platform == "linux"
        and hasattr(os, "memfd_create")
        and sys.gettrace() is None
        and not is_off(ENVIRONMENT)
    )


def _end_with(parent: int) -> None:
    """End this process when `parent` does: who kills that means the command."""
    ctypes.CDLL(None).prctl(_PARENT_DIED, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _interrupt_once() -> None:
    """Have a Ctrl-C that comes twice interrupt once.

    Who sends it to a process group reaches this process and the one that waits, which sends it on:
    the second would end what the first has a command write of its best so far.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    latest = -_TWICE_SECONDS

    def interrupt(number: int, frame: object) -> None:
        nonlocal latest
        before, latest = latest, time.monotonic()
        if not _told():  # native modules that are interrupted while they are imported may crash
            _end_interrupted(os._exit)
        if latest - before >= _TWICE_SECONDS:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)


def _end_interrupted(end: Callable[[int], NoReturn]) -> NoReturn:
    with contextlib.suppress(OSError):  # nobody reads it
        os.write(2, f"{INTERRUPTED}\n".encode())
    end(130)


def _wait(child: int, watched: frozenset[signal.Signals]) -> tuple[int, bool]:
    """Return the status with which `child` ends, and whether it was interrupted.

    What somebody sends here is sent on to it.
    """
    interrupted = False
    while True:
        came = signal.sigwaitinfo(watched)
        if came.si_signo != signal.SIGCHLD:
            interrupted |= came.si_signo == signal.SIGINT
            if came.si_code != _BY_KERNEL:  # as a terminal's Ctrl-C is sent, which reaches both
                os.kill(child, came.si_signo)
            continue
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status, interrupted


def _exit_like(status: int, interrupted: bool, mask: set[int], report: int) -> NoReturn:
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        sys.exit(code)
    name = signal.Signals(-code).name if -code in set(signal.Signals) else ""
    if interrupted and name in _CRASHES:
        _end_interrupted(sys.exit)
    if name in _CRASHES:
        size = os.fstat(report).st_size
        text = _message(name, os.pread(report, size, 0).decode(errors="replace"))
        with contextlib.suppress(OSError):  # nobody reads it
            os.write(2, text.encode(errors="replace"))
        sys.exit(FAILED)
    if name:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    sys.exit(128 - code)


def _message(ended: str, traces: str) -> str:
    text = f"error: {ended} ended the process while it was at '{_told() or 'its start'}'"
    text += f" ({_CRASHES[ended]}"
    text += f", in {_place(traces)})" if traces else ")"
    text += "; no half-written file is left. "
    cut = _cut_short() if ended == "SIGBUS" else ""
    if cut:
        return f"{text}'{cut}' became shorter while it was read; leave it alone and run again\n"
    text += "Look whether the model runs elsewhere"
    kept = keep_report(traces) if traces else ""
    return f"{text}; report it with the model{kept and f' and {kept}'}\n"


def keep_report(text: str) -> str:
    """Return the name, in quotes, of a new file with `text`; "" where there is no place for it."""
    with (
        contextlib.suppress(OSError),
        tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", prefix="planish-", suffix=".txt", delete=False
        ) as file,
    ):
        file.write(text)
        return f"'{file.name}'"
    return ""


def _place(traces: str) -> str:
    """Say in whose code it was, from what `faulthandler` wrote: innermost calls first."""
    current = traces.partition("Current thread")[2] or traces
    frames = [match["file"] for match in _FRAME.finditer(current)]
    packages = [file.rpartition("site-packages/")[2].split("/")[0] for file in frames]
    if frames and "site-packages/" in frames[0] and packages[0] != "planish":
        return f"native code of {packages[0]}"
    return "native code"
