"""How few nodes `planish reduce` leaves of faults in networks of ResNet-50's size, and how soon.

    python -m benchmarks.reduce [--seeds 5]

Faults of ten kinds; nodes are those of the whole and of what is left.
"""

from __future__ import annotations

import argparse
import os
import time

from planish.tools.reduce.case import Case
from planish.tools.reduce.reduce import reduce

from tests.tools.reduce.plants import plants
from tests.tools.reduce.resnet import resnet


def _cpu() -> float:
    """Return the seconds of CPU so far, those of children that have ended included."""
    return sum(os.times()[:4])


def main() -> None:
    """Print a line a fault."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds
    most, longest, most_cpu, total = 0, 0.0, 0.0, 0
    for seed in range(seeds):
        model = resnet(seed=seed)
        for plant in plants(seed):
            started, cpu = time.perf_counter(), _cpu()
            found = reduce(Case(model), plant.suspect, limits=plant.limits, seed=seed)
            seconds = time.perf_counter() - started
            size = len(found.case.model.SerializeToString())
            print(
                f"{seed} {plant.name:17} {found.was.nodes} -> {found.case.nodes} nodes, {size:7,} "
                f"bytes, {found.tries:4} tries, {seconds:5.1f} s, "
                f"{_cpu() - cpu:5.1f} s of CPU, "
                f"{'anonymous' if found.is_anonymous else f'kept {found.kept}'}",
                flush=True,
            )
            most, longest = max(most, found.case.nodes), max(longest, seconds)
            most_cpu, total = max(most_cpu, _cpu() - cpu), total + 1
    print(f"{total} faults: at most {most} nodes, {longest:.1f} s and {most_cpu:.1f} s of CPU")


if __name__ == "__main__":
    main()
