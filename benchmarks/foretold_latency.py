"""How near the latency that `planish search` foretells is to what is measured, network by network.

    python -m benchmarks.foretold_latency [NETWORK ...] [--threads 1] [--samples 8] [--files FOLDER]

The costs of all choices are measured once, as a search does. For each speedup the programme is
solved for the least error, and what it chooses is built and timed beside the float network; nothing
is corrected by what came before. Networks have random weights: the choices are odd ones, their
times are not.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np

import planish
from planish.tools.search.builder import PointBuilder, stages_of
from planish.tools.search.costs import ChoiceCosts
from planish.tools.search.request import Budget, Request
from planish.tools.search.start import begin
from planish.tools.search.survey import Survey
from planish.tools.tasks.journal import TaskJournal
from planish.tools.tasks.processes import LocalProcesses
from planish.tools.trials.clock import Runtime

from examples import models

_SPEEDUPS = (1.5, 2.0, 3.0, 4.0, 6.0)


def main() -> None:
    """Print a row a network and speedup."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=["resnet18", "mobilenet_v2"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--files", type=Path, help="where what was measured is kept")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ratios = []
        for network in given.networks:
            place = (given.files or Path(folder)) / network
            ratios += rows_of(network, given.threads, given.samples, place)
    off = np.abs(np.log(ratios))
    print(
        f"foretold / measured: {np.exp(np.median(off)) - 1:.1%} off in the middle, "
        f"{np.exp(off.max()) - 1:.1%} at most"
    )


def rows_of(network: str, threads: int, samples: int, folder: Path) -> list[float]:
    """Print and return the ratios of foretold to measured seconds for one network."""
    traced = planish.trace(models.build(network), models.example_inputs(network))
    given = begin(traced, planish.random_feeds(traced, samples=samples), folder).given
    request = Request(
        budget=Budget(speedup=1.0), seconds=math.inf, runtime=Runtime(threads=threads)
    )
    journal = TaskJournal(folder, LocalProcesses(), {"planish": planish.__version__})
    costs = Survey(journal, given, request).costs()
    choices = ChoiceCosts(costs)
    builder = PointBuilder(journal, given, request)
    first = builder.build(("exact",))
    assert first is not None
    whole = choices.problem.costs([0] * len(choices.problem.sizes))["seconds"]
    print(f"{network}: {1e3 * first.seconds:.2f} ms in float, {1e3 * whole:.2f} as sum of layers")
    ratios = []
    for speedup in _SPEEDUPS:
        choice = choices.problem.solve({"seconds": whole / speedup})
        if choice is None:
            continue
        plan = choices.plan(choice)
        point = builder.build(stages_of(plan, costs, "none"))
        if point is None:
            continue
        foretold = choices.problem.costs(choice)["seconds"]
        ratios.append(foretold / point.seconds)
        print(
            f"  {speedup:g}x: foretold {1e3 * foretold:.2f} ms, measured "
            f"{1e3 * point.seconds:.2f} ms, ratio {ratios[-1]:.3f}"
        )
    return ratios


if __name__ == "__main__":
    main()
