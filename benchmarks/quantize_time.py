"""What quantizing takes of CPU time, in runs of the float network.

    python -m benchmarks.quantize_time [NETWORK ...] [--samples 16] [--parts search ...]
                                       [--against FOLDER]

A run is one sample on the reference runtime, measured before and behind each pass: the quotient
says how much they do beside what has to be done, and little of what else the machine does.
`rounding` is `round-adaptively`, `calibration` is `quantize` without a guard, and `search` asks for
half of the noise: layers are ranked, and choices are made by bisection. `blocks` is
`reconstruct-blocks` with 20 steps a block, `recover` two epochs block by block behind pruning.
Latency is not measured: that takes the time which it is given.

`--against`: a folder that holds another `planish`, such as a worktree of an earlier commit; the
same runs with it, in a process of its own behind that of this one, and the quotients are told.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
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
PARTS = {
    "rounding": "round-adaptively",
    "calibration": _NO_GUARD,
    "search": "quantize{measure=false,min-sqnr=LEAST}",
    "blocks": f"{_NO_GUARD},reconstruct-blocks{{steps=20}}",
    "recover": "prune{criterion=l2,granularity=channel,amount=0.3},recover{epochs=2}",
}
Feeds = list[dict[str, np.ndarray[Any, Any]]]


def seconds_of(action: Callable[[], object]) -> float:
    """Return the CPU time of all threads."""
    started = time.process_time()
    action()
    return time.process_time() - started


def measured(name: str, samples: int, parts: list[str]) -> list[float]:
    """Return how many runs each of `parts` takes."""
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
    least = 0.0
    if "search" in parts:
        found = planish.compare(graph, run(_NO_GUARD), feeds)
        least = min(output.sqnr_db for output in found.outputs) + _DECIBELS
    runs = []
    for part in parts:
        text = PARTS[part].replace("LEAST", f"{least:.1f}")
        before = seconds_of(lambda: [reference(feeds[0]) for _ in range(_RUNS)])
        spent = seconds_of(lambda text=text: run(text))  # type: ignore[misc]
        after = seconds_of(lambda: [reference(feeds[0]) for _ in range(_RUNS)])
        runs.append(spent / ((before + after) / (2 * _RUNS)))
    return runs


def apart(folder: str, name: str, samples: int, parts: list[str]) -> list[float]:
    """Return what `measured` does in a process of its own, with the planish that `folder` holds."""
    path = os.pathsep.join([folder, os.getcwd()])
    command = [sys.executable, "-m", __spec__.name, name, "--samples", str(samples), "--plain"]
    done = subprocess.run(
        [*command, "--parts", *parts],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(each) for each in done.stdout.split()]


def main() -> None:
    """Print a line a network."""
    from planish.cli.show.plain import listing_table

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--against", metavar="FOLDER")
    parser.add_argument("--plain", action="store_true", help="numbers alone, for --against")
    asked = parser.parse_args()
    lines = []
    for name in asked.networks:
        if asked.plain:
            print(*measured(name, asked.samples, asked.parts))
            continue
        here = str(Path(planish.__file__).parents[1])
        found = apart(here, name, asked.samples, asked.parts)
        cells = [f"{runs:.0f}" for runs in found]
        if asked.against:
            before = apart(asked.against, name, asked.samples, asked.parts)
            pairs = zip(found, before, strict=True)
            cells = [f"{now:.0f} ({was / now:.2f}x)" for now, was in pairs]
        lines.append((name, str(asked.samples), *cells))
    if lines:
        Console().print(listing_table(lines, "network", "samples", *asked.parts))


if __name__ == "__main__":
    main()
