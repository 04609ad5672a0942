"""Latency, for passes whose choices are made by measuring; backends say how to take it.

Passes stand below backends, so a backend puts its stopwatch in here for the targets it has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # this is all that `import planish` runs
    import numpy as np
    import onnx_graphsurgeon as gs


class Stopwatch(Protocol):
    """Times graphs side by side on a target."""

    def __call__(
        self,
        graphs: Sequence[gs.Graph],
        feed: Mapping[str, np.ndarray[Any, Any]],
        target: str,
        *,
        seconds: float,
        seed: int,
    ) -> list[float]:
        """Return the median seconds of one run of each graph, from interleaved rounds."""


class RepeatedStopwatch(Protocol):
    """Times graphs side by side on a target, over and over from the start."""

    def __call__(
        self,
        graphs: Sequence[gs.Graph],
        feed: Mapping[str, np.ndarray[Any, Any]],
        target: str,
        *,
        seconds: float,
        seed: int,
        repeats: int,
    ) -> list[list[float]]:
        """Return the usual seconds of one run of each graph, `repeats` times.

        Each time takes `seconds`, and lowers the graphs anew: in a process of its own, where a
        backend can.
        """


class Profiler(Protocol):
    """Times the parts of a graph on a target."""

    def __call__(
        self,
        graph: gs.Graph,
        feed: Mapping[str, np.ndarray[Any, Any]],
        target: str,
        *,
        seconds: float,
    ) -> dict[str, float]:
        """Return the usual seconds of what the runtime executes in one run.

        Each is called after a node of `graph` or a tensor that it makes; of several that became one
        operator, one name is given.
        """


STOPWATCHES: dict[str, Stopwatch] = {}
REPEATED: dict[str, RepeatedStopwatch] = {}
PROFILERS: dict[str, Profiler] = {}
_WAITING: list[Callable[[], object]] = []


def register_later(load: Callable[[], object]) -> None:
    """Call `load`, which registers, when a stopwatch or profiler is first asked for."""
    _WAITING.append(load)


def _load() -> None:
    while _WAITING:
        _WAITING.pop()()


def register_stopwatch(
    kind: str, stopwatch: Stopwatch, over_and_over: RepeatedStopwatch | None = None
) -> None:
    """Let `stopwatch` time targets of `kind`, such as `cpu`; `over_and_over` does so repeatedly."""
    STOPWATCHES[kind] = stopwatch
    REPEATED[kind] = repeated(stopwatch) if over_and_over is None else over_and_over


def repeated(stopwatch: Stopwatch) -> RepeatedStopwatch:
    """Return what asks `stopwatch` again and again."""

    def ask(
        graphs: Sequence[gs.Graph],
        feed: Mapping[str, np.ndarray[Any, Any]],
        target: str,
        *,
        seconds: float,
        seed: int,
        repeats: int,
    ) -> list[list[float]]:
        return [
            stopwatch(graphs, feed, target, seconds=seconds, seed=seed + repeat)
            for repeat in range(repeats)
        ]

    return ask


def find_stopwatch(target: str) -> Stopwatch | None:
    """Return what times `target` (`cpu`, `cpu{threads=2}`), None where no backend can."""
    _load()
    return STOPWATCHES.get(target.partition("{")[0])


def find_repeated_stopwatch(target: str) -> RepeatedStopwatch | None:
    """Return what times `target` over and over, None where no backend can."""
    stopwatch = find_stopwatch(target)
    if stopwatch is None:
        return None
    return REPEATED.get(target.partition("{")[0], repeated(stopwatch))


def register_profiler(kind: str, profiler: Profiler) -> None:
    """Let `profiler` take apart runs on targets of `kind`, such as `cpu`."""
    PROFILERS[kind] = profiler


def find_profiler(target: str) -> Profiler | None:
    """Return what takes apart runs on `target`, None where no backend can."""
    _load()
    return PROFILERS.get(target.partition("{")[0])
