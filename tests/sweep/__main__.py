"""Check many random graphs: `python -m tests.sweep --count 5000 --seed 0 --out faults`.

Of `exact`, on graphs of each kind, or with `--kind int8` and `--kind tvm` of what these make.
With `--seconds` it goes on for so long, and each kind has as much of the time; with `--state FILE`
from where it stood. Every graph has a seed of its own, a kind and a number, that draws it again:
`--kind plain --seed 17 --count 1`. A
graph with a fault is made smaller and written to `--out`: NAME.onnx, NAME.npz with the feed,
NAME.txt with the fault and the model in text.
"""

from __future__ import annotations

import argparse
import collections
import functools
import gc
import multiprocessing
import sys
import time
from multiprocessing import connection
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from .check import Fault, Report
from .coverage import FIRED, count_rewrites, rewrites_of
from .foreign import IS_THERE
from .progress import SECONDS, SweepState
from .smaller import smaller
from .subjects import SUBJECTS, fault_of
from tests.strategies.random_graphs import KINDS, Drawn

FIRES, LIKE = "fired: ", "like: "
# Of faults that read alike, so many are made smaller.
_REDUCED = 2
# Graphs that one process looks at, and the bytes of address space that it may have.
_BATCH = 200
# After so many the garbage of all is looked for at once: every run of a pipeline would, for a tenth
# of the time.
_COLLECTED = 20
_MOST_MEMORY = 16 << 30


def write(folder: Path, name: str, drawn: Drawn, fault: Fault) -> None:
    """Write a model, its feed and what is wrong."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(drawn.model, folder / f"{name}.onnx")
    np.savez(folder / f"{name}.npz", **drawn.feeds[0])
    text = onnx.printer.to_text(drawn.model)
    (folder / f"{name}.txt").write_text(f"{fault.kind}: {fault.text}\n\n{text}\n")


def _numbers(kind: str, first: int, count: int, folder: Path, shared: dict) -> None:
    limit_memory()
    count_rewrites()
    gc.collect()
    gc.freeze()
    gc.disable()
    totals = collections.Counter(shared["totals"])
    for number in range(first, first + count):
        shared.update(now=number, draws=True)
        start = time.process_time()
        drawn, found = fault_of(kind, number, lambda: shared.update(draws=False))
        _count(totals, drawn, found)
        shared["totals"] = dict(totals)  # making it smaller may end the process
        if found.refused:
            print(f"{kind} {number}: refused: {found.refused}", flush=True)
        if drawn is not None and found.fault is not None:
            alike = shared["alike"].get(found.fault.signature, 0)
            alike += totals[LIKE + found.fault.signature]
            _report(kind, number, drawn, found.fault, folder, reduces=alike <= _REDUCED)
        totals.update({f"{FIRES}{name}": times for name, times in FIRED.items()})
        FIRED.clear()
        if number % _COLLECTED == 0:
            gc.collect()
        totals[SECONDS] += time.process_time() - start
        shared["totals"] = dict(totals)


def limit_memory() -> None:
    """Have what is drawn and asks for too much fail, instead of the machine."""
    if sys.platform == "linux":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))


def _count(totals: collections.Counter, drawn: Drawn | None, found: Report) -> None:
    totals["drawn"] += 1
    totals["dropped"] += drawn is None
    totals["edited"] += found.edits > 0
    totals["undecided"] += found.undecided > 0
    totals["refused"] += bool(found.refused)
    totals.update(f"settled: {who}" for who in set(found.settled))
    totals.update({f"edits: {claim}": count for claim, count in found.claims.items()})
    if found.fault is not None:
        totals[f"fault: {found.fault.kind}"] += 1
        totals[LIKE + found.fault.signature] += 1


def _report(
    kind: str, number: int, drawn: Drawn, fault: Fault, folder: Path, *, reduces: bool
) -> None:
    print(f"{kind} {number}: {fault.kind}: {fault.text}", flush=True)
    if not reduces:
        return
    subject = SUBJECTS[kind]

    def verdict(found: Drawn) -> Fault | None:
        return subject.check(found, number).fault

    small = smaller(drawn, fault, verdict, subject.tries)
    write(folder, f"{fault.kind}_{kind}_{number}", small, fault)


class Batch:
    """Graphs of a kind, looked at in a process of its own, which a crash of the runtime ends alone.

    A graph that ends it as it was drawn says nothing, and is dropped.
    """

    def __init__(
        self,
        kind: str,
        first: int,
        count: int,
        folder: Path,
        manager: Any,
        alike: dict[str, int] | None = None,
    ) -> None:
        self.kind, self.after = kind, first + count
        self._folder, self._ended = folder, collections.Counter()
        self._shared = manager.dict(now=first, draws=True, totals={}, alike=alike or {})
        self._start(first)

    def _start(self, first: int) -> None:
        arguments = (self.kind, first, self.after - first, self._folder, self._shared)
        self._child = multiprocessing.Process(target=_numbers, args=arguments)
        self._child.start()

    @property
    def sentinel(self) -> int:
        """What is ready when the process has ended."""
        return self._child.sentinel

    def done(self) -> collections.Counter | None:
        """Return what was counted, or None where there are graphs left, which go on."""
        self._child.join()
        if self._child.exitcode:
            now = self._shared["now"]
            draws = self._shared["draws"]
            when = ", as it was drawn" if draws else ""
            code = self._child.exitcode
            print(f"{self.kind} {now}: the process ended with {code}{when}", flush=True)
            self._ended.update(["drawn", "dropped"] if draws else ["drawn", "fault: ended"])
            if now + 1 < self.after:
                self._start(now + 1)
                return None
        return collections.Counter(self._shared["totals"]) + self._ended


def main() -> int:
    """Read the options, sweep and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=[*SUBJECTS], action="append", help="all of exact's")
    parser.add_argument("--count", type=int, default=5000, help="graphs of each kind")
    parser.add_argument("--seed", type=int, default=0, help="number of the first graph")
    parser.add_argument("--seconds", type=float, help="go on for so long, instead of a count")
    parser.add_argument("--jobs", type=int, default=1, help="processes at a time")
    parser.add_argument("--state", type=Path, help="a file to go on from, and to write")
    parser.add_argument("--out", type=Path, default=Path("sweep-faults"))
    given = parser.parse_args()
    count_rewrites()  # what it imports, each process has then
    state = SweepState.read(given.state)
    kinds = given.kind or [*KINDS, "grammar"]
    if "nnsmith" in kinds and not IS_THERE:
        print("nnsmith is not installed: its graphs are left out")
        kinds.remove("nnsmith")
    start = time.perf_counter()
    _all(kinds, given, state)
    seconds = time.perf_counter() - start
    wrong = 0
    for kind in kinds:
        totals = state.totals.get(kind, collections.Counter())
        told = {name: round(n) for name, n in totals.items() if not name.startswith((FIRES, LIKE))}
        print(f"{kind}: {told}", flush=True)
        wrong += sum(n for name, n in totals.items() if name.startswith("fault"))
    print(f"{seconds:.0f} s")
    _print_alike(kinds, state)
    _print_coverage(kinds, state)
    return 1 if wrong else 0


def _all(kinds: list[str], given: argparse.Namespace, state: SweepState) -> None:
    """Sweep the kinds in batches: next is the kind that has had the least of the time."""
    deadline = None if given.seconds is None else time.monotonic() + given.seconds
    waiting, running = [*kinds], []
    with multiprocessing.Manager() as manager:
        while waiting or running:
            while waiting and len(running) < given.jobs:
                kind = min(waiting, key=state.seconds)
                waiting.remove(kind)
                first = state.next.get(kind, given.seed)
                left = _BATCH if deadline else min(_BATCH, given.seed + given.count - first)
                if left > 0:
                    running.append(Batch(kind, first, left, given.out, manager, _alike(state)))
            if running:  # of nothing it would wait for ever
                connection.wait([batch.sentinel for batch in running])
            for batch in list(running):
                if connection.wait([batch.sentinel], 0):
                    totals = batch.done()
                    if totals is None:
                        continue
                    running.remove(batch)
                    state.add(batch.kind, batch.after, totals)
                    if deadline is None or time.monotonic() < deadline:
                        waiting.append(batch.kind)


def _alike(state: SweepState) -> dict[str, int]:
    """Return how many faults of all kinds of graphs have read alike so far."""
    found = collections.Counter()
    for totals in state.totals.values():
        found.update({n.removeprefix(LIKE): c for n, c in totals.items() if n.startswith(LIKE)})
    return dict(found)


def _print_alike(kinds: list[str], state: SweepState) -> None:
    for kind in kinds:
        for name, times in state.totals.get(kind, {}).items():
            if name.startswith(LIKE):
                print(f"{times:8} {kind}: {name.removeprefix(LIKE)}")


def _print_coverage(kinds: list[str], state: SweepState) -> None:
    fired = collections.Counter()
    for kind in kinds:
        for name, times in state.totals.get(kind, {}).items():
            if name.startswith(FIRES):
                fired[name.removeprefix(FIRES)] += times
    for name, times in sorted(fired.items(), key=lambda pair: pair[1]):
        print(f"{times:8} {name}")
    asked = set().union(*({"int8": _NAMES["int8"]}.get(k, _NAMES["exact"])() for k in kinds))
    never = sorted(asked - set(fired))
    print(f"{len(fired)} rewrites fired; never: {', '.join(never) or 'none'}")


_NAMES = {name: functools.partial(rewrites_of, name) for name in ("exact", "int8")}


if __name__ == "__main__":
    sys.exit(main())
