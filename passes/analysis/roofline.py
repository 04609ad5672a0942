"""The roofline model of a graph: the least time that a machine needs for each node.

    time = max(2 * MACs / peak, bytes / bandwidth)

Williams, Waterman and Patterson 2009, "Roofline: An Insightful Visual Performance Model for
Multicore Architectures". A multiply-accumulate is two floating-point operations; nodes without
any, such as element-wise ones, are bound by their bytes alone. Every tensor is read or written
once from memory, so that a node whose input is still in a cache can be faster than its roof.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.errors import PlanishError
from ...ir.run.reference import Reference
from .cost import GraphCost, NodeCost

_MATRIX = 512  # fits the inner caches and still gives every thread enough to do
_COPIED = 1 << 27  # bytes; more than most caches hold
_SECONDS, _TRIES = 0.2, 5  # the longer of the two


@dataclass(frozen=True)
class Machine:
    """What a machine can do at most: `peak` in FLOP/s and `bandwidth` in bytes/s."""

    peak: float
    bandwidth: float

    @property
    def ridge(self) -> float:
        """FLOPs a byte from which on a node is bound by computing."""
        return self.peak / self.bandwidth


@dataclass(frozen=True)
class NodeTime:
    """The roofline time of one node in seconds, its share of the total, and what bounds it.

    All are None where the cost of the node is unknown.
    """

    cost: NodeCost
    seconds: float | None
    share: float | None
    bound: Literal["compute", "memory"] | None


@dataclass(frozen=True)
class Roofline:
    """The roofline times of a graph on `machine`; the total leaves out unknown nodes."""

    machine: Machine
    nodes: tuple[NodeTime, ...]
    seconds: float


def roofline(cost: GraphCost, machine: Machine) -> Roofline:
    """Return the roofline time of every node, in the order of the graph.

    Raises PlanishError where a figure of the machine is not positive.
    """
    _check_figures(machine.peak, machine.bandwidth)
    times = [_time(node, machine) for node in cost.nodes]
    total = sum(seconds for seconds, _ in times if seconds is not None)
    nodes = tuple(
        NodeTime(node, seconds, None if seconds is None or not total else seconds / total, bound)
        for node, (seconds, bound) in zip(cost.nodes, times, strict=True)
    )
    return Roofline(machine, nodes, total)


def _check_figures(peak: float | None, bandwidth: float | None) -> None:
    for name, value in (("peak", peak), ("bandwidth", bandwidth)):
        if value is not None and not 0 < value < float("inf"):
            raise PlanishError(f"the machine's {name} is {value:g}; give a positive number")


def _time(
    node: NodeCost, machine: Machine
) -> tuple[float | None, Literal["compute", "memory"] | None]:
    if node.macs is None or node.bytes_moved is None:
        return None, None
    computing = 2 * node.macs / machine.peak
    moving = node.bytes_moved / machine.bandwidth
    return (computing, "compute") if computing > moving else (moving, "memory")


def measure_machine(
    threads: int | None = None, *, peak: float | None = None, bandwidth: float | None = None
) -> Machine:
    """Measure in less than a second what this machine can do; figures that are given are kept.

    The peak is that of the product with a constant 512 x 512 float32 matrix on ONNX Runtime, the
    bandwidth that of copying 128 MiB, read and written, with as many threads; the best of at least
    five tries each. Raises PlanishError where a figure that is given is not positive.
    """
    _check_figures(peak, bandwidth)
    if peak is None:
        peak = _measure_peak(threads)
    if bandwidth is None:
        bandwidth = _measure_bandwidth(threads or os.cpu_count() or 1)
    return Machine(peak, bandwidth)


def _measure_peak(threads: int | None) -> float:
    shape = [_MATRIX, _MATRIX]
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    x, y = (gs.Variable(name, np.float32, shape) for name in "xy")
    product = gs.Node("MatMul", "product", inputs=[x, gs.Constant("w", values)], outputs=[y])
    graph = gs.Graph([product], [x], [y], opset=17, ir_version=8)
    run = Reference(graph, optimized=True, threads=threads)
    return float(2 * _MATRIX**3 / _shortest(lambda: run({"x": values})))


def _measure_bandwidth(threads: int) -> float:
    source = np.ones(_COPIED // 8)
    parts = list(zip(np.array_split(source, threads), _like(source, threads), strict=True))
    with ThreadPoolExecutor(threads) as pool:

        def copy() -> None:
            for done in [pool.submit(np.copyto, to, values) for values, to in parts]:
                done.result()

        return 2 * _COPIED / _shortest(copy)


def _like(source: np.ndarray[Any, Any], parts: int) -> list[np.ndarray[Any, Any]]:
    return np.array_split(np.zeros_like(source), parts)


def _shortest(run: Callable[[], object]) -> float:
    run()
    found: list[float] = []
    while len(found) < _TRIES or sum(found) < _SECONDS:
        before = time.perf_counter()
        run()
        found.append(time.perf_counter() - before)
    return min(found)
