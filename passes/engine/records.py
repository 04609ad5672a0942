"""What a pipeline run reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import onnx_graphsurgeon as gs

from .context import Decline


@dataclass(frozen=True, kw_only=True)
class PassRecord:
    """One pass of one run; in later rounds of a `repeat` group, only where it edited.

    - `name`, `text`: the pass, and how a pipeline writes it with its options.
    - `edits`: how many changes it made.
    - `seconds`: time in the pass, without verification.
    - `nodes_before`, `nodes_after`: of the graph and its subgraphs.
    - `error`: largest difference of any output from before the pass (`verify="each"`) or, on the
      last pass that edited, from the untouched graph (`verify="end"`), relative to the output's
      range; None where nothing was measured.
    - `declined`: the sites that it looked at and left alone, each with the reason.
    - `round`: of a `repeat` group, counted from 1.
    - `remarks`: what the pass found or decided that its edits do not show.
    """

    name: str
    text: str
    edits: int
    seconds: float
    nodes_before: int
    nodes_after: int
    error: float | None = None
    declined: tuple[Decline, ...] = ()
    round: int = 1
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One step of a run, for progress bars: pass `index` of `total` is at `fraction` of `stage`.

    `note` is a word of the pass about how it goes, such as a loss; empty where it has none.
    """

    index: int
    total: int
    name: str
    stage: str
    fraction: float
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Result:
    """The graph a pipeline made, a record a pass, and how far the numbers were checked.

    `verified` is True where verification ran and held. Where it was asked for and could not run
    (no kernel in the reference runtime, inputs that cannot be drawn), it is False and `note` says
    why; where it is True, a `note` says that the inputs told little. `tolerance` is what exact
    passes were held to, None where a pass that edited is approximate: its error is measured alone.
    """

    graph: gs.Graph
    records: tuple[PassRecord, ...]
    verified: bool
    note: str = ""
    tolerance: float | None = None
    dumped: tuple[Path, ...] = field(default=())

    @property
    def edits(self) -> int:
        """Number of edits of all passes together."""
        return sum(record.edits for record in self.records)

    @property
    def error(self) -> float | None:
        """Largest error that verification measured, relative to the output's range."""
        measured = [record.error for record in self.records if record.error is not None]
        return max(measured) if measured else None
