"""A candidate as the process that asks sees it: started, asked for bursts, ended."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from ...ir.core.errors import BackendError
from ..contract.backend import Backend
from ..contract.registry import is_builtin
from ..timing.processes import command_of
from .messages import Job, NotLowered, Ready, Registered

_PROGRAM = f"{__package__}.candidate"
_LAST = 300  # characters of what it printed


class Running:
    """A network in a process of its own. Raises BackendError where that cannot make or run it.

    `patience`: seconds that an answer may take. `log`: where what it prints goes.
    """

    def __init__(self, job: Job, backend: Backend, log: Path, patience: float) -> None:
        self.job = replace(job, registered=_registered(backend))
        self._log = log
        self._patience = patience
        self._connection, theirs = Pipe()
        with log.open("wb") as printed, theirs:
            self._process = subprocess.Popen(
                command_of(_PROGRAM, str(theirs.fileno())),
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=printed,
                pass_fds=[theirs.fileno()],
            )
        try:
            self.ready: Ready = self._ask(self.job)
        except BaseException:
            self.close()
            raise

    def burst(self, seconds: float) -> float:
        """Return the usual seconds of a run, of a burst: their 20th percentile."""
        return float(np.percentile(self._ask(seconds), 20))

    def run(self) -> Callable[[Mapping[str, np.ndarray[Any, Any]]], dict[str, Any]]:
        """Return what gives the outputs that it had for each feed of the job."""
        known = {id(f): o for f, o in zip(self.job.feeds, self.ready.outputs, strict=True)}
        return lambda feed: dict(known[id(feed)])

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(self, question: Any) -> Any:
        try:
            self._connection.send(question)
            if not self._connection.poll(self._patience):
                raise BackendError(f"it did not answer within {self._patience:g} seconds")
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise BackendError(self._how_it_ended()) from error
        if isinstance(answer, NotLowered):
            raise BackendError(answer.reason)
        return answer

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        how = f"with exit code {code}" if code >= 0 else f"by a signal: {signal.strsignal(-code)}"
        lines = self._log.read_text("utf-8", "replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"its process ended {how}" + (f": {last[-_LAST:]}" if last else "")


def _registered(backend: Backend) -> Registered | None:
    """Return where the class of `backend` is; None for planish's own."""
    kind = type(backend)
    if is_builtin(backend.name):
        return None
    if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
        raise BackendError(
            f"backend '{backend.name}' is registered by a script or inside a function, where "
            "another process cannot find it; put its class into a module"
        )
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return Registered(backend.name, kind.__module__, kind.__qualname__, file)
