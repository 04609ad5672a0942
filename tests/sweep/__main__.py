"""Run `exact` on many random graphs: `python -m tests.sweep --count 5000 --seed 0 --out faults`.

Every graph has a seed of its own, a kind and a number, that draws it again: `--kind plain --seed 17
--count 1`. A graph with a fault is made smaller and written to `--out`: NAME.onnx, NAME.npz with
the feed, NAME.txt with the fault and the model in text.
"""

from __future__ import annotations

import argparse
import collections
import multiprocessing
import sys
import time
from pathlib import Path
from random import Random

import numpy as np
import onnx

from .check import Fault, check, saved
from .minimize import minimized, verdict
from tests.strategies.random_graphs import KINDS, Drawn, graph

# One in so many graphs is optimized twice, and one is verified as a person's run is.
_TWICE, _VERIFIED = 10, 20


def fault_of(kind: str, number: int) -> tuple[Drawn | None, Fault | None, int, int]:
    """Return the graph, its fault, the edits and the outputs left undecided."""
    drawn = graph(kind, Random(f"{kind} {number}"))
    if drawn is None:
        return None, None, 0, 0
    found = check(drawn, verify="off" if number % _VERIFIED else "end")
    fault = found.fault
    if fault is None and number % _TWICE == 0 and saved(drawn.model) != saved(drawn.model):
        fault = Fault("bytes", "saved bytes differ between two runs")
    return drawn, fault, found.edits, found.undecided


def write(folder: Path, name: str, drawn: Drawn, fault: Fault) -> None:
    """Write a model, its feed and what is wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(drawn.model, folder / f"{name}.onnx")
    np.savez(folder / f"{name}.npz", **drawn.feeds[0])
    text = onnx.printer.to_text(drawn.model)
    (folder / f"{name}.txt").write_text(f"{fault.kind}: {fault.text}\n\n{text}\n")


def _numbers(kind: str, first: int, count: int, folder: Path, shared: dict) -> None:
    totals = collections.Counter(shared["totals"])
    for number in range(first, first + count):
        shared["now"] = number
        drawn, fault, edits, undecided = fault_of(kind, number)
        totals["drawn"] += 1
        totals["dropped"] += drawn is None
        totals["edited"] += edits > 0
        totals["undecided"] += undecided > 0
        if drawn is not None and fault is not None:
            totals[f"fault: {fault.kind}"] += 1
            print(f"{kind} {number}: {fault.kind}: {fault.text}", flush=True)
            write(folder, f"{fault.kind}_{kind}_{number}", minimized(drawn, fault, verdict), fault)
        shared["totals"] = dict(totals)


def sweep(kind: str, first: int, count: int, folder: Path) -> collections.Counter:
    """Check graphs in a process of its own, which a crash of the runtime ends alone."""
    with multiprocessing.Manager() as manager:
        shared = manager.dict(now=first, totals={})
        start, last = first, first + count
        while start < last:
            child = multiprocessing.Process(
                target=_numbers, args=(kind, start, last - start, folder, shared)
            )
            child.start()
            child.join()
            if child.exitcode == 0:
                break
            print(f"{kind} {shared['now']}: the process ended with {child.exitcode}", flush=True)
            start = shared["now"] + 1
        return collections.Counter(shared["totals"])


def main() -> int:
    """Read the options, sweep and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=[*KINDS], action="append")
    parser.add_argument("--count", type=int, default=5000, help="graphs of each kind")
    parser.add_argument("--seed", type=int, default=0, help="number of the first graph")
    parser.add_argument("--out", type=Path, default=Path("sweep-faults"))
    given = parser.parse_args()
    wrong = 0
    for kind in given.kind or KINDS:
        start = time.perf_counter()
        totals = sweep(kind, given.seed, given.count, given.out)
        seconds = (time.perf_counter() - start) / max(totals["drawn"], 1)
        print(f"{kind}: {dict(totals)}, {seconds:.3f} s a graph", flush=True)
        wrong += sum(n for name, n in totals.items() if name.startswith("fault"))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
