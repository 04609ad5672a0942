"""The page of races between runtimes: what `benchmarks.race --json` wrote, a file a release."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pages import Page, table

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
_INTRO = """# Runtimes side by side

planish makes the files (`exact`, then `convert-precision{to=bfloat16}` or `quantize` with no layer
left in float), and each runtime runs the same ones in a process of its own, bursts in turn, a
batch of one (`python -m benchmarks.race`). Milliseconds are medians; behind them stands the median
over the turns of the runtime's time by TVM's in the same turn: above 1, TVM is faster. Read
ratios: another machine has other milliseconds.

"""


def page() -> Page:
    """Return the page: a section a release, newest first, with a table a precision."""
    files = sorted(FOLDER.glob("race-*.json"), reverse=True)
    return Page("race.md", "", _INTRO + "\n\n".join(_section(path) for path in files) + "\n")


def _section(path: Path) -> str:
    race = json.loads(path.read_text("utf-8"))
    versions = ", ".join(f"{name} {version}" for name, version in race["versions"].items())
    parts = [
        f"## {path.stem.removeprefix('race-')}",
        f"{race['cpu']}; {race['threads']} threads; {versions}.",
    ]
    for precision in dict.fromkeys(row["precision"] for row in race["rows"]):
        rows = [row for row in race["rows"] if row["precision"] == precision]
        parts += [f"### {precision}", _table(rows)]
    return "\n\n".join(parts)


def _table(rows: list[dict[str, Any]]) -> str:
    runtimes = list(dict.fromkeys(row["runtime"] for row in rows))
    known = {(row["network"], row["runtime"]): row for row in rows}
    networks = list(dict.fromkeys(row["network"] for row in rows))
    lines = [[name, *(_cell(known.get((name, each))) for each in runtimes)] for name in networks]
    return table(["", *runtimes], [*lines, ["geometric mean", *_means(rows, runtimes)]])


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    if row["milliseconds"] is None:
        return "refused"
    ratio = row["ratio"]
    return f"{row['milliseconds']:.2f} ms" + (f" ({ratio['middle']:.2f})" if ratio else "")


def _means(rows: list[dict[str, Any]], runtimes: list[str]) -> Iterator[str]:
    for runtime in runtimes:
        logs = [
            math.log(r["ratio"]["middle"]) for r in rows if r["runtime"] == runtime and r["ratio"]
        ]
        yield f"{math.exp(sum(logs) / len(logs)):.2f}" if logs else ""
