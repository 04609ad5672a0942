"""What `planish search` shows: how far it is, the front, and what became of the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from ...ir.core.counted import counted
from ...ir.core.durations import duration, latency
from ...ir.core.scaled import scaled
from ...tools.search.front import Point, misses
from ...tools.search.request import Budget
from ...tools.search.search import Found
from ...tools.tasks.task import Outcome, Task


class SearchProgress:
    """Tells `update` of tasks as they start and end; `seconds`: how long the search may take.

    `spent`: how many of them are over.
    """

    def __init__(self, update: Callable[[float, str], None], seconds: float) -> None:
        self._update = update
        self._seconds = seconds
        self.spent = 0.0

    def __call__(self, task: Task, outcome: Outcome | None) -> None:
        """Take in that `task` starts, or ends with `outcome`."""
        if outcome is not None:
            self.spent += outcome.seconds
        left = max(0.0, self._seconds - self.spent)
        self._update(
            min(1.0, self.spent / max(self._seconds, 1.0)),
            f"{task.what}, at most {duration(round(left))} left",
        )


def front_table(found: Found) -> Table:
    """Return the points that no other beats, the most accurate first."""
    table = Table("", box=box.SIMPLE)
    for column in ("lost", "SQNR", "times as fast", "a run", "size"):
        table.add_column(column, justify="right")
    table.add_column("what was done")
    for number, point in enumerate(found.front, 1):
        table.add_row(
            f"{'*' if point is found.best else ''}{number}",
            f"{100 * point.drop:.2f} %",
            f"{point.accuracy['sqnr_db']:.1f} dB",
            f"{point.speedup:.2f}",
            latency(point.seconds),
            scaled(point.bytes, "B"),
            Text(_done(point)),
        )
    return table


def best_lines(found: Found, output: Path, front: Path) -> list[str]:
    """Return what is to be said of the point that was taken."""
    best = found.best
    judged = [result["shown"] for result in best.accuracy["metrics"]]
    lines = [
        f"{output}: {best.speedup:.2f} times as fast, {scaled(best.bytes, 'B')}, "
        f"{'; '.join(dict.fromkeys(judged))} on {best.accuracy['samples']} samples held back",
        f"its pipeline, to run with `planish optimize` and your samples: {best.pipeline}",
        f"all points: {front}; `planish search MODEL -o OUT --replay {front}` gives the same bytes",
    ]
    lines += [f"not built: {text}: {error}" for text, error in found.failed]
    if found.left_out:
        steps = counted(len(found.left_out), "step of the survey", "steps of the survey")
        lines.append(f"time was up before {steps}: {'; '.join(dict.fromkeys(found.left_out))}")
    if best.foretold:
        lines.insert(
            1, f"foretold {latency(best.foretold['seconds'])}, measured {latency(best.seconds)}"
        )
    return lines


def nearest_lines(found: Found, budget: Budget, output: Path) -> list[str]:
    """Return which bound is in the way, and the points that are nearest."""
    out_of = misses(found.best, budget)
    told = "; ".join(f"{name} ({text})" for name, text in out_of.items())
    lines = [
        f"no network within the budget was found: in the way is {told}. '{output}' is the nearest; "
        "give more --time, or another bound. What there is:"
    ]
    kept = [point for point in found.front if point.holds]
    if kept:
        fastest = min(kept, key=lambda point: point.seconds)
        lines.append(f"  within max-drop, {fastest.speedup:.2f} times as fast: {_figures(fastest)}")
    if budget.speedup is not None:
        fast = [point for point in found.front if point.speedup >= budget.speedup]
        if fast:
            least = min(fast, key=lambda point: point.drop)
            lines.append(f"  {least.speedup:.2f} times as fast: {_figures(least)}")
    if budget.size is not None:
        small = [point for point in found.front if point.bytes <= budget.size]
        if small:
            least = min(small, key=lambda point: point.drop)
            lines.append(f"  {scaled(least.bytes, 'B')}: {_figures(least)}")
    return lines


def _figures(point: Point) -> str:
    return f"{100 * point.drop:.2f} % lost, {latency(point.seconds)}, {scaled(point.bytes, 'B')}"


def _done(point: Point) -> str:
    plan = point.plan
    if plan is None:
        return point.pipeline
    counts = Counter(treatment.name for treatment in plan.treatments)
    whole = counted(len(plan.treatments), "layer")
    parts = [f"{count} of {whole} {name}" for name, count in counts.items() if name != "float"]
    amounts = Counter(amount for amount in plan.amounts if amount)
    parts += [
        f"{100 * amount:g} % of the channels of {counted(count, 'group')}"
        for amount, count in sorted(amounts.items())
    ]
    if point.recovery != "none":
        parts.append(f"recovered ({point.recovery})")
    return ", ".join(parts)
