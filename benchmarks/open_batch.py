"""What an open batch costs on the TVM backend, beside networks of batches that are known.

    python -m benchmarks.open_batch [NETWORK | FILE.onnx ...] [--batches 1 8 32] [--threads 2]
                                    [--bursts 9]

`compiled`: CPU time to compile the network with an open batch, by that with a batch of 1; no code
of before is used. Then for each batch the time of a run, by that of the network compiled for just
this batch: bursts of both in turns, 20th percentiles, the median over turns with quartiles behind
it. Files are float32 networks whose batch is the first axis of all inputs and in no constant.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

import planish

from .ratios import Ratio
from examples import models

NETWORKS = ("mobilenet_v2", "resnet18", "efficientnet_b0")
_BURST = 0.5  # seconds
Feeds = dict[str, np.ndarray[Any, Any]]


def load(name: str) -> gs.Graph:
    """Return the graph of a file, or of one of the example networks."""
    if name in models.NAMES:
        return planish.trace(models.build(name), models.example_inputs(name))
    return planish.load(name)


def with_batch(graph: gs.Graph, batch: int | str) -> gs.Graph:
    """Return `graph` for so many images, or for any number, which is given a name."""
    found = graph.copy()
    kept = {id(tensor) for tensor in [*found.inputs, *found.outputs]}
    for tensor in found.tensors().values():
        if isinstance(tensor, gs.Variable) and id(tensor) not in kept:
            tensor.shape = None
    for tensor in [*found.inputs, *found.outputs]:
        if tensor.shape is not None:
            tensor.shape = [batch, *tensor.shape[1:]]
    return found


def percentile(run: Callable[[Feeds], object], feeds: Feeds) -> float:
    """Return the 20th percentile of the seconds of a burst of runs."""
    times, end = [], time.perf_counter() + _BURST
    while not times or time.perf_counter() < end:
        begin = time.perf_counter()
        run(feeds)
        times.append(time.perf_counter() - begin)
    return float(np.percentile(times, 20))


def report(name: str, batches: list[int], threads: int, bursts: int) -> None:
    """Print what an open batch costs `name` to compile, and to run with each of `batches`."""
    graph = load(name)

    def compiled(batch: int | str) -> tuple[Any, float]:
        begin = time.process_time()
        made = planish.lower(with_batch(graph, batch), "tvm", threads=threads, cache_code=False)
        return made, time.process_time() - begin

    compiled(1)  # what is imported or read once, and what checks keep
    known, whole = compiled(1)
    opened, seconds = compiled("N")
    print(f"{Path(name).name:30} compiled {seconds / whole:.2f}x of {whole:.1f} s")
    for batch in batches:
        if batch != 1:
            known, _ = compiled(batch)
        rng = np.random.default_rng(0)
        feeds = {
            port.name: rng.standard_normal((batch, *map(int, (port.shape or ())[1:])), np.float32)
            for port in known.inputs
        }
        for run in [known, opened]:
            run(feeds)
        times = [(percentile(opened, feeds), percentile(known, feeds)) for _ in range(bursts)]
        each = np.median([one for _, one in times]) * 1e3
        ratio = Ratio.of(*zip(*times, strict=True))
        print(f"{'':30} batch {batch:3} {ratio} of {each:.2f} ms")


def main() -> None:
    """Read the command line, and report each network."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK | FILE.onnx", default=NETWORKS)
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 32])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bursts", type=int, default=9)
    options = parser.parse_args()
    for name in options.networks:
        report(name, options.batches, options.threads, options.bursts)


if __name__ == "__main__":
    main()
