"""What decompositions save on one network, and what they lose, in one run.

    python -m benchmarks.decompositions [NETWORK] [--threads 2] [--seconds 20] [--samples 4]

Every variant takes the network as `exact` leaves it, decomposes it on the same feeds, and runs in
turns with the others; the 20th percentile of a run's time is compared. Error is the part of the
outputs' variance that is lost, on other samples than those fitted on. The example networks have
random weights, of full rank: of trained ones much more is kept. See `tests/passes/decompose`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

import planish
from benchmarks.quantized_speed import milliseconds
from planish.passes.analysis.cost import cost

from examples import models

VARIANTS = (
    "substitute-depthwise{terms=1,max-error=none,measure=false}",
    "substitute-depthwise{terms=2,max-error=none,measure=false}",
    "decompose-spatial{ratio=0.5,measure=false}",
    "decompose-tucker{ratio=0.5,measure=false}",
    "decompose-svd{ratio=0.5,measure=false}",
)

Feed = Mapping[str, np.ndarray[Any, Any]]


def lost(graph: gs.Graph, other: gs.Graph, feeds: Sequence[Feed], threads: int) -> float:
    """Return the part of the first output's variance that `other` does not give, over `feeds`."""
    first, second = (planish.lower(g, threads=threads) for g in (graph, other))
    name = graph.outputs[0].name
    expected, found = (np.stack([run(feed)[name] for feed in feeds]) for run in (first, second))
    return float(np.mean((expected - found) ** 2) / expected.var())


def main() -> None:
    """Print one row a variant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", nargs="?", default="resnet18", choices=models.NAMES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--samples", type=int, default=4)
    given = parser.parse_args()
    traced = planish.trace(models.build(given.network), models.example_inputs(given.network))
    exact = planish.Pipeline.parse("exact").run(traced, verify="off").graph
    feeds = planish.random_feeds(traced, samples=given.samples)
    judged = planish.random_feeds(traced, samples=given.samples, seed=1)
    graphs = [exact]
    for variant in VARIANTS:
        pipeline = planish.Pipeline.parse(f"{variant},exact")
        graphs.append(pipeline.run(exact, feeds, verify="off").graph)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{place}.onnx" for place in range(len(graphs))]
        for graph, path in zip(graphs, paths, strict=True):
            planish.save(graph, path, portable=True)
        first, *times = milliseconds(paths, feeds[0], given.threads, given.seconds)
    before = cost(exact)
    print(f"{given.network}: {before.macs / 1e9:.2f} G MACs, {first:.1f} ms")
    print(f"{'':60}{'MACs':>6}{'parameters':>12}{'error':>8}{'time':>7}")
    for variant, graph, time in zip(VARIANTS, graphs[1:], times, strict=True):
        after = cost(graph)
        print(
            f"{variant:60}{after.macs / before.macs:6.2f}"
            f"{after.parameters / before.parameters:12.2f}"
            f"{lost(exact, graph, judged, given.threads):8.2g}{time / first:7.2f}"
        )


if __name__ == "__main__":
    main()
