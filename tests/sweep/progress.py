"""How far a sweep is, in a file: one that was ended goes on where it stood."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

SECONDS = "seconds"


@dataclass
class SweepState:
    """The number of the next graph of each kind, and what was counted of those before.

    `path`: None keeps it in memory.
    """

    path: Path | None = None
    next: dict[str, int] = field(default_factory=dict)
    totals: dict[str, Counter[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path | None) -> SweepState:
        """Return the state in `path`, a new one where there is none."""
        if path is None or not path.exists():
            return cls(path)
        held = json.loads(path.read_text())
        return cls(path, held["next"], {k: Counter(v) for k, v in held["totals"].items()})

    def seconds(self, kind: str) -> float:
        """Return the CPU time that graphs of a kind have taken so far."""
        return self.totals.get(kind, Counter())[SECONDS]

    def add(self, kind: str, after: int, totals: Counter[str]) -> None:
        """Take in what was found of the graphs of a kind before number `after`, and write it."""
        self.next[kind] = after
        self.totals[kind] = self.totals.get(kind, Counter()) + totals
        if self.path is not None:
            beside = self.path.with_suffix(".part")
            beside.write_text(json.dumps({"next": self.next, "totals": self.totals}, indent=1))
            os.replace(beside, self.path)
