"""The stopwatch of the ONNX Runtime targets, for passes that choose by measuring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.errors import ExecutionError, SaveError
from ...ir.core.target import Target
from ...passes.engine.stopwatch import register_profiler, register_stopwatch, repeated
from ..timing.bench import Subject, bench
from .apart import time_apart
from .backend import OnnxRuntime
from .profiler import profile

_MOST_ROUNDS = 10_000


def time_graphs(
    graphs: Sequence[gs.Graph],
    feed: Mapping[str, np.ndarray[Any, Any]],
    target: str,
    *,
    seconds: float,
    seed: int,
) -> list[float]:
    """Return the median seconds of one run of each graph, in rounds that run all of them.

    `seconds`: how long to measure in all. Raises BackendError or ExecutionError where the target
    is not there or refuses a graph.
    """
    parsed = Target.parse(target)
    backend = OnnxRuntime()
    subjects = [
        Subject(str(place), backend.lower(graph, parsed, parsed.threads), feed)
        for place, graph in enumerate(graphs)
    ]
    timings = bench(subjects, rounds=_MOST_ROUNDS, warmup=3, seconds=seconds, seed=seed)
    return [timing.median_ms / 1000 for timing in timings]


def time_repeatedly(
    graphs: Sequence[gs.Graph],
    feed: Mapping[str, np.ndarray[Any, Any]],
    target: str,
    *,
    seconds: float,
    seed: int,
    repeats: int,
) -> list[list[float]]:
    """Return what `time_graphs` does, `repeats` times, each time in a process of its own.

    In this process where no other can be started, or the feed cannot be handed over.
    """
    try:
        return time_apart(graphs, feed, target, seconds=seconds, seed=seed, repeats=repeats)
    except (ExecutionError, SaveError, ValueError):
        return repeated(time_graphs)(
            graphs, feed, target, seconds=seconds, seed=seed, repeats=repeats
        )


for _kind in OnnxRuntime().targets():
    register_stopwatch(_kind, time_graphs, time_repeatedly)
    register_profiler(_kind, profile)
