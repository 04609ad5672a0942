"""Measuring here, in a process of its own: a candidate that crashes or hangs costs itself alone."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ....ir.core.errors import BackendError
from ..compile.kernel import compile_kernel
from ..runtime.threads import use_pool
from ..spec.machine import CpuMachine
from .choice import Choice
from .timing import TimingBench, line_of

_SECONDS = 60.0  # for one candidate, to be built and run once
_bench: TimingBench | None = None  # of the process that measures


class LocalMeasurer:
    """A measurer of this machine's kernels on so many `threads`; to be closed after use."""

    def __init__(self, machine: CpuMachine, threads: int, seed: int) -> None:
        from tvm.support.popen_pool import PopenWorker

        for package in ("cloudpickle", "psutil"):
            if importlib.util.find_spec(package) is None:
                raise BackendError(
                    f"measuring kernels needs {package}, which is not installed: pip install "
                    "'planish[tvm]'"
                )
        self._machine = machine
        self._threads = threads
        self._seed = seed
        self._absent = without_torch_there()
        self._worker = PopenWorker(_begin, (threads,), stderr=subprocess.DEVNULL)
        self.trouble = ""

    def measure(
        self, choice: Choice[Any, Any], op: Any, candidates: list[Any], rounds: int
    ) -> list[float | None]:
        """Return the seconds of the kernel of each candidate, None where it does not run."""
        ready = set(range(len(candidates)))
        while ready:
            broken = self._prepare(choice, op, candidates, ready)
            ready -= broken
            if not ready:
                break
            if broken and not self._worker.is_alive():
                continue  # a new process holds nothing yet
            found = self._asked(_times, rounds, seconds=_SECONDS * len(ready))
            return [(found or {}).get(index) for index in range(len(candidates))]
        return [None] * len(candidates)

    def close(self) -> None:
        """End the process."""
        self._worker.kill()
        self._absent.cleanup()

    def _prepare(
        self, choice: Choice[Any, Any], op: Any, candidates: list[Any], indices: set[int]
    ) -> set[int]:
        """Hold these candidates in the process; return those that cannot be, up to a crash."""
        broken = set()
        self._asked(_forget, self._machine, self._threads, self._seed)
        for index in sorted(indices):
            arguments = (index, choice, op, candidates[index], self._machine)
            if not self._asked(_add, *arguments, seconds=_SECONDS):
                broken.add(index)
                if not self._worker.is_alive():
                    break
        return broken

    def _asked(self, function: Any, *arguments: Any, seconds: float | None = None) -> Any:
        """Return what `function` gives over there, None where it fails, crashes or takes long."""
        with _paths(self._absent.name):
            self._worker.send(function, arguments, timeout=seconds)
        try:
            return self._worker.recv()
        except Exception as error:  # what a candidate does is its own affair
            self.trouble = line_of(error)
            return None


def without_torch_there() -> tempfile.TemporaryDirectory[str]:
    """Return a folder that, first on its path, lets a process find no PyTorch.

    TVM imports PyTorch where it is there, which takes seconds, only to exchange tensors with it.
    """
    folder = tempfile.TemporaryDirectory(prefix="planish-")
    text = 'raise ModuleNotFoundError("torch is not needed to measure kernels", name="torch")\n'
    Path(folder.name, "torch.py").write_text(text)
    return folder


@contextmanager
def _paths(first: str) -> Iterator[None]:
    """Let a process that starts here import what lies in `first`, then what this one can."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([first, *(path for path in sys.path if path)])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _begin(threads: int) -> None:
    # Ctrl-C is for the process that asked; it ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    use_pool(threads)


def _forget(machine: CpuMachine, threads: int, seed: int) -> None:
    import tvm

    global _bench
    _bench = TimingBench(
        lambda kernel: compile_kernel(kernel, machine, threads), tvm.cpu(), machine, seed
    )


def _add(
    index: int, choice: Choice[Any, Any], op: Any, candidate: Any, machine: CpuMachine
) -> bool:
    assert _bench is not None
    _bench.add(index, choice.kernel(op, candidate, machine))
    return True


def _times(rounds: int) -> dict[int, float]:
    assert _bench is not None
    return _bench.times(rounds)
