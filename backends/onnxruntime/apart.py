"""Timing graphs in a process of its own, which shares nothing with the one that asks.

Where memory lies, what threads wait and what a library has set up differs from process to process
and moves latency by some percent: a fresh one for each measurement makes that part of the noise
which is seen. Run as a program, this module times the models of the folder that it is given.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...ir.core.errors import BackendError, ExecutionError
from ..contract.backend import Arrays, Compiled
from ..timing.processes import command_of

if TYPE_CHECKING:  # the process that times needs nothing of it
    import onnx_graphsurgeon as gs

_MOST_ROUNDS = 10_000
_WARM_UP = 3
# For starting, loading the models and running each a few times, beside the time asked for.
_PATIENCE = 120.0
_JOB, _FEED, _TIMES = "job.json", "feed.npz", "times.json"


def time_apart(
    graphs: Sequence[gs.Graph],
    feed: Mapping[str, np.ndarray[Any, Any]],
    target: str,
    *,
    seconds: float,
    seed: int,
    repeats: int,
) -> list[list[float]]:
    """Return the seconds of one run of each graph, as each of `repeats` processes has them.

    They are the 20th percentile, which load disturbs least. A process runs all graphs in turns, for
    `seconds` in all. Raises ExecutionError where one ends without times.
    """
    from ...ir.files.save import save

    with tempfile.TemporaryDirectory(prefix="planish-") as name:
        folder = Path(name)
        for place, graph in enumerate(graphs):
            save(graph, folder / f"{place}.onnx")
        arrays = {str(place): array for place, array in enumerate(feed.values())}
        np.savez(folder / _FEED, allow_pickle=False, **arrays)
        found = []
        for repeat in range(repeats):
            job = {
                "count": len(graphs),
                "inputs": list(feed),
                "target": target,
                "seconds": seconds,
                "seed": seed + repeat,
            }
            (folder / _JOB).write_text(json.dumps(job), encoding="utf-8")
            found.append(_run(folder, seconds))
        return found


def _run(folder: Path, seconds: float) -> list[float]:
    command = command_of(__name__, str(folder))
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=seconds + _PATIENCE)
        found = json.loads((folder / _TIMES).read_text(encoding="utf-8"))
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        raise ExecutionError(f"timing in a process of its own failed: {error}") from error
    return [float(each) for each in found]


class _TimedSession(Compiled):
    """A session that is run and no more."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __call__(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))

    def save(self, path: str | Path) -> None:
        raise BackendError("what is timed in a process of its own is not written")


def _time(folder: Path) -> None:
    """Time the models in `folder` and write their times there."""
    from ...ir.core.target import Target
    from ...ir.run.open_session import open_session
    from ..timing.bench import Subject, bench
    from .session_options import SessionSettings, providers_for, session_options

    job = json.loads((folder / _JOB).read_text(encoding="utf-8"))
    target = Target.parse(job["target"])
    with np.load(folder / _FEED) as held:
        feed = {name: held[str(place)] for place, name in enumerate(job["inputs"])}
    subjects = []
    for place in range(job["count"]):
        session = open_session(
            str(folder / f"{place}.onnx"),
            session_options(target.threads, SessionSettings()),
            providers_for(target, None),
        )
        subjects.append(Subject(str(place), _TimedSession(session), feed))
    timings = bench(
        subjects, rounds=_MOST_ROUNDS, warmup=_WARM_UP, seconds=job["seconds"], seed=job["seed"]
    )
    times = [timing.p20_ms / 1000 for timing in timings]
    (folder / _TIMES).write_text(json.dumps(times), encoding="utf-8")


if __name__ == "__main__":
    _time(Path(sys.argv[1]))
