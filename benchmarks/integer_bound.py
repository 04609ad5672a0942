"""What integers gain on ONNX Runtime, kernel by kernel, and the most that a choice of them can.

    python -m benchmarks.integer_bound [FILE.onnx | NETWORK ...] [--runs 60]

    most = float time / sum over kinds of operators of min(float kernels, integer kernels)

in which borders between both cost nothing, which they do. One thread. Kernels are timed
by the runtime's own profile, graphs in turns in three processes, by the CPU time of the thread, so
that what else the machine does counts little; the 20th percentile of the runs is taken. Graphs are
float32 as `exact` gives it, all layers on integers, and what `quantize` chooses by measuring.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import onnxruntime as ort

import planish
from planish.backends.onnxruntime.profiler import profile

from examples import models

PREPARED = "exact,inline-fused-operators,align-depthwise{multiple=16},lower-conv-transpose"
GRAPHS = {
    "float32": "exact,inline-fused-operators",
    "all on integers": f"{PREPARED},quantize{{measure=false,guard=off}}",
    "as measured": f"{PREPARED},quantize{{guard=off}}",
}
TARGET = "cpu{threads=1}"
PROCESSES, PROFILED = 3, 2.0
_CONVERSIONS = "conversions, layouts"


def load(name: str) -> gs.Graph:
    """Return the graph of a file, or of one of the example networks."""
    if name in models.NAMES:
        return planish.trace(models.build(name), models.example_inputs(name))
    return planish.load(name)


def kinds_of(graph: gs.Graph) -> dict[str, tuple[str, str]]:
    """Return the kind of each node, and its key, by the names that its kernel may have."""
    found: dict[str, tuple[str, str]] = {}
    for node in graph.nodes:
        if node.op in ("QuantizeLinear", "DequantizeLinear"):
            continue
        kind = "other"
        if node.op in ("Conv", "Gemm", "MatMul"):
            weight = node.inputs[1].shape
            depthwise = node.attrs.get("group", 1) > 1 and weight[1] == 1
            kind = "depthwise convolutions" if depthwise else "other convolutions, products"
        elif node.op in ("Sigmoid", "HardSigmoid", "HardSwish", "Mul", "Clip", "Relu"):
            kind = "activations, gates"
        elif "Pool" in node.op or node.op.startswith("Reduce"):
            kind = "pooling"
        for name in (node.name, *(tensor.name for tensor in node.outputs)):
            found[name] = (kind, node.name)
    return found


def by_layer(graph: gs.Graph, feed: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, float]:
    """Return seconds by layer of `graph`; what belongs to none is summed up as conversions."""
    kinds = kinds_of(graph)
    found: dict[str, float] = defaultdict(float)
    for kernel, seconds in profile(graph, feed, TARGET, seconds=PROFILED).items():
        found[kinds.get(kernel, ("", _CONVERSIONS))[1]] += seconds
    return found


def run_in_turns(paths: Sequence[Path], feed: Mapping[str, Any], runs: int) -> list[float]:
    """Return the CPU milliseconds of one run of each file."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    sessions = [ort.InferenceSession(str(p), options, providers=providers) for p in paths]
    times: list[list[float]] = [[] for _ in sessions]
    for turn in range(runs + 3):
        for session, taken in zip(sessions, times, strict=True):
            start = time.thread_time()
            session.run(None, feed)
            if turn > 2:
                taken.append(time.thread_time() - start)
    return [1e3 * float(np.percentile(taken, 20)) for taken in times]


def whole(graphs: Iterable[gs.Graph], feed: Mapping[str, Any], runs: int) -> list[float]:
    """Return the CPU milliseconds of each graph, the median of several processes."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}.onnx" for index, _ in enumerate(GRAPHS)]
        for graph, path in zip(graphs, paths, strict=True):
            planish.save(graph, path, portable=True)
        with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
            found = [pool.apply(run_in_turns, (paths, feed, runs)) for _ in range(PROCESSES)]
    return [statistics.median(column) for column in zip(*found, strict=True)]


def measure(name: str, runs: int) -> None:
    """Print the table of one network."""
    graph = load(name)
    feeds = planish.random_feeds(graph, samples=4)
    made = [
        planish.Pipeline.parse(each).run(graph, feeds, verify="off", target=TARGET).graph
        for each in GRAPHS.values()
    ]
    floats, integers = (by_layer(each, feeds[0]) for each in made[:2])
    kinds = {key: kind for each in made[:2] for kind, key in kinds_of(each).values()}
    kinds[_CONVERSIONS] = _CONVERSIONS
    print(f"\n{name}: kernels, ms{'':14} {'float32':>9} {'integers':>9} {'the faster':>11}")
    total = defaultdict(float)
    for kind in sorted(set(kinds.values())):
        keys = [key for key, own in kinds.items() if own == kind]
        a, b = (sum(times.get(key, 0.0) for key in keys) for times in (floats, integers))
        least = 0.0 if kind == _CONVERSIONS else min(a, b)
        for column, value in zip(("a", "b", "least"), (a, b, least), strict=True):
            total[column] += 1e3 * value
        print(f"{kind:34} {1e3 * a:9.2f} {1e3 * b:9.2f} {1e3 * least:11.2f}")
    print(f"{'sum':34} {total['a']:9.2f} {total['b']:9.2f} {total['least']:11.2f}")
    print(f"at most {total['a'] / total['least']:.2f} times as fast as float32, borders for free")
    times = whole(made, feeds[0], runs)
    for label, value in zip(GRAPHS, times, strict=True):
        print(f"{label:34} {value:9.2f} ms of CPU {times[0] / value:6.2f}x")


def main() -> None:
    """Print one table a network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=["efficientnet_b0"])
    parser.add_argument("--runs", type=int, default=60)
    given = parser.parse_args()
    for name in given.networks:
        measure(name, given.runs)


if __name__ == "__main__":
    main()
