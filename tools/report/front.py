"""The Pareto front of a search, from the document that `planish search` writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .document import FrontEntry, FrontPoint

SEARCHED = "planish-search-1"


def front_entry(found: Mapping[str, Any]) -> FrontEntry:
    """Return the front of a search: time of a run, what the metric loses, and the file's size."""
    points = found["points"]
    return FrontEntry(
        axes=(("one run", "s", "low"), ("lost", "share", "low"), ("file", "B", "low")),
        points=tuple(
            FrontPoint(
                label=f"{number}: {float(points[at]['speedup']):.2f} times as fast",
                values={
                    "one run": float(points[at]["seconds"]),
                    "lost": float(points[at]["drop"]),
                    "file": float(points[at]["bytes"]),
                },
                pipeline=points[at]["pipeline"],
                chosen=at == found["best"],
            )
            for number, at in enumerate(found["front"], 1)
        ),
    )
