"""Check many random graphs: `python -m tests.sweep --count 5000 --seed 0 --out faults`.

Of `exact`, on graphs of each kind, or with `--kind tvm` of what TVM compiles. Every graph has a
seed of its own, a kind and a number, that draws it again: `--kind plain --seed 17 --count 1`. A
graph with a fault is made smaller and written to `--out`: NAME.onnx, NAME.npz with the feed,
NAME.txt with the fault and the model in text.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import multiprocessing
import sys
import time
from pathlib import Path

import numpy as np
import onnx

import planish
from planish.tools.reduce.case import Case
from planish.tools.reduce.known import run_reference
from planish.tools.reduce.reduce import reduce

from .check import Fault, Report
from .subjects import SUBJECTS, fault_of
from tests.strategies.random_graphs import KINDS, Drawn


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
        shared.update(now=number, draws=True)
        drawn, found = fault_of(kind, number, lambda: shared.update(draws=False))
        _count(totals, drawn, found)
        if found.refused:
            print(f"{kind} {number}: refused: {found.refused}", flush=True)
        if drawn is not None and found.fault is not None:
            _report(kind, number, drawn, found.fault, folder)
        shared["totals"] = dict(totals)


def _count(totals: collections.Counter, drawn: Drawn | None, found: Report) -> None:
    totals["drawn"] += 1
    totals["dropped"] += drawn is None
    totals["edited"] += found.edits > 0
    totals["undecided"] += found.undecided > 0
    totals["refused"] += bool(found.refused)
    totals.update(f"settled: {who}" for who in set(found.settled))
    if found.fault is not None:
        totals[f"fault: {found.fault.kind}"] += 1


def _report(kind: str, number: int, drawn: Drawn, fault: Fault, folder: Path) -> None:
    print(f"{kind} {number}: {fault.kind}: {fault.text}", flush=True)
    subject = SUBJECTS[kind]

    def judge(case: Case) -> str:
        found = subject.check(_as_drawn(case), number).fault
        return "" if found is None else found.kind

    case = Case(drawn.model, drawn.feeds[fault.feed])
    with contextlib.suppress(planish.PlanishError):  # a fault that needs all of the feeds
        case = reduce(case, judge, limits=None, most_tries=subject.tries).case
    write(folder, f"{fault.kind}_{kind}_{number}", _as_drawn(case), fault)


def _as_drawn(case: Case) -> Drawn:
    return Drawn(model=case.model, feeds=[dict(case.feed)], outputs=[run_reference(case)])


def sweep(kind: str, first: int, count: int, folder: Path) -> collections.Counter:
    """Check graphs in a process of its own, which a crash of the runtime ends alone.

    A graph that ends it as it was drawn says nothing, and is dropped.
    """
    with multiprocessing.Manager() as manager:
        shared = manager.dict(now=first, draws=True, totals={})
        start, last = first, first + count
        ended = collections.Counter()
        while start < last:
            child = multiprocessing.Process(
                target=_numbers, args=(kind, start, last - start, folder, shared)
            )
            child.start()
            child.join()
            if child.exitcode == 0:
                break
            print(f"{kind} {shared['now']}: the process ended with {child.exitcode}", flush=True)
            ended.update(["drawn", "dropped"] if shared["draws"] else ["drawn", "fault: ended"])
            start = shared["now"] + 1
        return collections.Counter(shared["totals"]) + ended


def main() -> int:
    """Read the options, sweep and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=[*SUBJECTS], action="append", help="all of exact's")
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
