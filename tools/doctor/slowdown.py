"""How much slower one model is than another, and in which layers that is.

    whole: ratio of interleaved runs, with its bound     layer: [min(s) - max(f), max(s) - min(f)]

with the seconds s of the slower and f of the faster one in sessions that take turns. A layer is
told where that interval does not hold 0, and none where the whole is not known to be slower.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.errors import BackendError, FeedError
from ...passes.engine.stopwatch import Profiler, find_profiler, find_repeated_stopwatch
from ...passes.quantize.quantize.latency_ratio import LatencyRatio, measure_graphs

Feed = Mapping[str, np.ndarray[Any, Any]]
Times = Mapping[str, Sequence[float]]

# Of two layers that take the same, 8 sessions of one are all slower than 8 of the other in one of
# 12,870 cases: a network has some hundred layers.
_SESSIONS = 8
_SECONDS_OF_SESSION = 0.15
_SECONDS_OF_MEASUREMENT = 0.5


@dataclass(frozen=True)
class LayerChange:
    """A layer that takes from `low` to `high` seconds more; less where both are negative.

    `names`: of the nodes or tensors that the runtime calls its kernels after, none where the faster
    model alone has it. `before`: those of the faster one, where it is other kernels there.
    """

    names: tuple[str, ...]
    before: tuple[str, ...]
    low: float
    high: float


@dataclass(frozen=True)
class Slowdown:
    """The ratio of latencies, and the layers that differ, those first that lose most."""

    ratio: LatencyRatio
    layers: tuple[LayerChange, ...] = ()

    @property
    def is_slower(self) -> bool:
        """Whether the bound of the ratio says so."""
        return self.ratio.low > 1


def measure_slowdown(
    faster: gs.Graph, slower: gs.Graph, feed: Feed, target: str = "cpu", *, seed: int = 0
) -> Slowdown:
    """Time both on ONNX Runtime for `target`, in turns, and where the second is slower its layers.

    Takes 2 to 8 seconds and 16 sessions of each. Raises FeedError where the models read other
    inputs, and BackendError or ExecutionError where the target is not there or refuses one.
    """
    graphs = (faster, slower)
    names = [{tensor.name for tensor in graph.inputs} for graph in graphs]
    if names[0] != names[1]:
        told = ", ".join(sorted(names[0] ^ names[1]))
        raise FeedError(f"only one of the two models reads {told}; give models of one network")
    stopwatch, profiler = find_repeated_stopwatch(target), find_profiler(target)
    if stopwatch is None or profiler is None:
        raise BackendError(f"nothing can time target '{target}'; take --target cpu")

    (ratio,) = measure_graphs(
        stopwatch, graphs, feed, target, seconds=_SECONDS_OF_MEASUREMENT, seed=seed, border=1.0
    )
    if ratio.low <= 1:
        return Slowdown(ratio)
    return Slowdown(ratio, _changes(slower, *_profiled(graphs, feed, target, profiler)))


def _profiled(
    graphs: Sequence[gs.Graph], feed: Feed, target: str, profiler: Profiler
) -> list[dict[str, list[float]]]:
    """Return the seconds of each layer in each session, by graph."""
    found: list[dict[str, list[float]]] = [{} for _ in graphs]
    for session in range(_SESSIONS):
        turns = list(zip(graphs, found, strict=True))
        for graph, times in turns if session % 2 else reversed(turns):
            for name, seconds in profiler(graph, feed, target, seconds=_SECONDS_OF_SESSION).items():
                times.setdefault(name, []).append(seconds)
    return found


def _changes(slower: gs.Graph, before: Times, after: Times) -> tuple[LayerChange, ...]:
    changes = []
    for here, there in _groups(slower, before, after):
        old, new = _together(before, there), _together(after, here)
        low, high = min(new) - max(old), max(new) - min(old)
        if low > 0 or high < 0:
            changes.append(LayerChange(here, there, low, high))
    return tuple(sorted(changes, key=lambda change: -change.low))


def _groups(
    slower: gs.Graph, before: Times, after: Times
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yield kernels of the slower model with those of the faster one that do the same.

    A fused kernel is called after the last of its nodes: what is a kernel of its own in the slower
    model alone, and leads to that node, was in it.
    """
    makers = {tensor.name: node for node in slower.nodes for tensor in node.outputs}
    makers |= {node.name: node for node in slower.nodes if node.name}
    left = dict.fromkeys(name for name in after if name not in before)
    for fused in [name for name in before if name not in after]:
        parts: list[str] = []
        waiting = [makers[fused]] if fused in makers else []
        while waiting:
            node = waiting.pop()
            own = [n for n in (node.name, *(t.name for t in node.outputs)) if n in left]
            for name in own:
                del left[name]
            parts += own
            waiting += [makers[t.name] for t in node.inputs if own and t.name in makers]
        yield tuple(parts[::-1]), (fused,)
    yield from (((name,), (name,)) for name in after if name in before)
    yield from (((name,), ()) for name in left)


def _together(times: Times, names: Sequence[str]) -> list[float]:
    """Return the seconds of these kernels in each session."""
    return [sum(each) for each in zip(*(times[name] for name in names), strict=False)] or [0.0]
