"""The process of one candidate: lowers a model, and runs it in bursts when it is asked to.

Run as a program, with the number of a connection's file as its argument. Threads that still spin
when a burst ends would slow down the next candidate's: it answers when they are quiet.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import time
from multiprocessing.connection import Connection

from ...ir.core.errors import PlanishError, in_words
from ..contract.backend import Compiled
from ..contract.registry import load_compiled, lower, register_backend, written_by
from .messages import Arrays, Job, NotLowered, Ready, Registered

_QUIET = 0.2  # of a core
_LOOK = 0.005  # seconds
_MOST_LOOKS = 60


def serve(parent: Connection) -> None:
    """Do the job that `parent` sends, and then run for as many seconds as it says, each time."""
    job: Job = parent.recv()
    try:
        if job.registered is not None:
            _register(job.registered)
        started = time.perf_counter()
        compiled = _made(job)
        seconds = time.perf_counter() - started
        outputs = [compiled(feed) for feed in job.feeds]
        parent.send(Ready(outputs=outputs, seconds=seconds, saved=_saved(compiled, job.artifact)))
    except Exception as error:  # anybody's backend
        reason = str(error) if isinstance(error, PlanishError) else in_words(error)
        parent.send(NotLowered(reason))
        return
    with contextlib.suppress(EOFError):  # it has seen enough
        while True:
            parent.send(_burst(compiled, job.feeds[0], parent.recv()))


def _made(job: Job) -> Compiled:
    if written_by(job.model) is None:
        return lower(job.model, job.backend, job.target, job.threads)
    return load_compiled(job.model, target=job.target, threads=job.threads)


def _burst(compiled: Compiled, feed: Arrays, seconds: float) -> list[float]:
    """Return the seconds of each run of a burst, behind one that is not counted."""
    compiled(feed)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        before = time.perf_counter()
        compiled(feed)
        times.append(time.perf_counter() - before)
    for _ in range(_MOST_LOOKS):
        before = time.process_time()
        time.sleep(_LOOK)
        if time.process_time() - before < _QUIET * _LOOK:
            break
    return times


def _saved(compiled: Compiled, path: str) -> bool:
    try:
        compiled.save(path)
    except Exception:  # what is not saved is lowered again
        return False
    return True


def _register(found: Registered) -> None:
    """Register a backend of a plug-in: an importable module's, or that of a file."""
    try:
        module = importlib.import_module(found.module)
    except ImportError:
        if found.file is None:
            raise
        made = importlib.util.spec_from_file_location(found.module, found.file)
        if made is None or made.loader is None:
            raise
        module = importlib.util.module_from_spec(made)
        sys.modules[found.module] = module
        made.loader.exec_module(module)
    item = module
    for name in found.qualname.split("."):
        item = getattr(item, name)
    register_backend(item)  # type: ignore[type-var]


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
