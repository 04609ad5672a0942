"""What a transfer of weights took over, and what it left: a table, and its summary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ....ir.core.shown import Shown, Summary

Status = Literal["taken", "sliced", "left", "unused"]
_EXAMPLES = 4
_MOST_LINES = 6


@dataclass(frozen=True, kw_only=True)
class TransferRow:
    """One weight: of the target, or of the source where nothing took it (`unused`).

    `size`: its shape in words. `source`: the name of the weight it was taken from. `note`: the
    reason why it was left, or what was done to it on the way.
    """

    name: str
    status: Status
    size: str
    values: int
    source: str = ""
    note: str = ""


@dataclass(frozen=True, repr=False)
class TransferReport(Shown):
    """What became of every weight of the target, and which of the source nobody took."""

    rows: tuple[TransferRow, ...]

    def of(self, status: Status) -> tuple[TransferRow, ...]:
        """Return the rows of one kind."""
        return tuple(row for row in self.rows if row.status == status)

    @property
    def summary(self) -> str:
        """Say in one line how many weights were taken, sliced, left and not used."""
        taken, sliced, left = self.of("taken"), self.of("sliced"), self.of("left")
        total = sum(row.values for row in (*taken, *sliced, *left))
        share = sum(row.values for row in (*taken, *sliced)) / max(total, 1)
        parts = [
            f"{len(taken)} of {len(taken) + len(sliced) + len(left)} weights taken",
            f"{len(sliced)} sliced" if sliced else "",
            f"{len(left)} left" if left else "",
            f"{len(self.of('unused'))} of the source not used" if self.of("unused") else "",
        ]
        return f"{', '.join(filter(None, parts))} ({share:.1%} of the values)"

    def remarks(self) -> list[str]:
        """Return the summary, and a line for each thing that did not go through as it is."""
        found = [self.summary]
        sliced = [f"{row.name} [{row.note}]" for row in self.of("sliced")]
        if sliced:
            found.append(f"sliced: {_listed(sliced)}")
        found += _grouped("left", self.of("left")) + _grouped("unused", self.of("unused"))
        renamed = [f"{r.name} from {r.source}" for r in self.of("taken") if r.source != r.name]
        if renamed:
            found.append(f"taken from another name: {_listed(renamed)}")
        return found + _grouped("taken", [row for row in self.of("taken") if row.note])

    def _summary(self) -> Summary:
        rows = [(row.status, row.name, row.size, _origin(row)) for row in self.rows]
        return Summary(self.summary, rows, ("weight", "name", "size", "from"))

    def __str__(self) -> str:
        """Return the whole table, a weight a line, below the summary."""
        cells = [(row.status, row.name, row.size, _origin(row)) for row in self.rows]
        widths = [max((len(cell[i]) for cell in cells), default=0) for i in range(3)]
        lines = ["  ".join((*map(str.ljust, cell[:3], widths), cell[3])).rstrip() for cell in cells]
        return "\n".join([self.summary, *lines])


def _origin(row: TransferRow) -> str:
    source = f"from {row.source}" if row.source and row.source != row.name else ""
    return ", ".join(filter(None, (source, row.note)))


def _grouped(word: str, rows: Sequence[TransferRow]) -> list[str]:
    """Return a line for each note, with the weights that have it."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(row.note, []).append(f"{row.name} [{row.size}]")
    lines = [
        f"{word}: {_listed(names)}{f' ({note})' if note else ''}" for note, names in groups.items()
    ]
    more = len(lines) - _MOST_LINES
    return lines[:_MOST_LINES] + ([f"{word}: others, for {more} more reasons"] if more > 0 else [])


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = len(names) - _EXAMPLES
    return ", ".join(names[:_EXAMPLES]) + (f" and {more} more" if more > 0 else "")
