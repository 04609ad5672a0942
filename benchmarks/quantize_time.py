"""What quantizing takes of CPU time, in runs of the float network.

    python -m benchmarks.quantize_time [NETWORK ...] [--samples 16]

A run is one sample on the reference runtime, measured before and behind each pass: the quotient
says how much they do beside what has to be done, and little of what else the machine does.
`rounding` is `round-adaptively`, `calibration` is `quantize` without a guard, and `search` asks for
half of the noise: layers are ranked, and choices are made by bisection. Latency is not measured:
that takes the time which it is given.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from rich.console import Console

import planish
from planish.ir.run.reference import Reference

from examples import models

NETWORKS = ("detector", "mobilenet_v2")
SIZE, WIDTH = 160, 0.5
_RUNS = 8
_DECIBELS = 3.0
_NO_GUARD = "quantize{measure=false,guard=off}"
Feeds = list[dict[str, np.ndarray[Any, Any]]]


def seconds_of(action: Callable[[], object]) -> float:
    """Return the CPU time of all threads."""
    started = time.process_time()
    action()
    return time.process_time() - started


def measured(name: str, samples: int) -> list[str]:
    """Return a line of the table: how many runs each part takes."""
    module = models.build(name, width=WIDTH, size=SIZE)
    inputs = models.example_inputs(name, batch=1, size=SIZE)
    given = planish.trace(module, inputs)
    graph = planish.Pipeline.parse("simplify").run(given, verify="off").graph
    generator = np.random.default_rng(0)
    (x,) = graph.inputs
    feeds: Feeds = [
        {x.name: generator.standard_normal(x.shape).astype(np.float32)} for _ in range(samples)
    ]

    def run(text: str, of: gs.Graph = graph) -> gs.Graph:
        return planish.Pipeline.parse(text).run(of, feeds, verify="off").graph

    reference = Reference(graph)
    integers = run(_NO_GUARD)
    found = planish.compare(graph, integers, feeds)
    least = min(output.sqnr_db for output in found.outputs) + _DECIBELS
    texts = ("round-adaptively", _NO_GUARD, f"quantize{{measure=false,min-sqnr={least:.1f}}}")
    cells = []
    for text in texts:
        before = seconds_of(lambda: [reference(feeds[0]) for _ in range(_RUNS)])
        spent = seconds_of(lambda text=text: run(text))  # type: ignore[misc]
        after = seconds_of(lambda: [reference(feeds[0]) for _ in range(_RUNS)])
        cells.append(f"{spent / ((before + after) / (2 * _RUNS)):.0f}")
    return [name, str(samples), *cells]


def main() -> None:
    """Print a line a network."""
    from planish.cli.show.plain import listing_table

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--samples", type=int, default=16)
    asked = parser.parse_args()
    lines = [measured(name, asked.samples) for name in asked.networks]
    columns = ("network", "samples", "rounding", "calibration", "search")
    Console().print(listing_table([tuple(line) for line in lines], *columns))


if __name__ == "__main__":
    main()
