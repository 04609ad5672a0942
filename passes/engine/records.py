"""What a pipeline run reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from ...ir.core.counted import counted
from ...ir.core.shown import Shown, Summary, shortened
from ...ir.run.comparison import Comparison
from .context import Decline
from .quality import MeasuredQuality

if TYPE_CHECKING:  # a prover that most runs do not need
    from ...ir.proof.certificate import Certificate

_ISSUES = "https://github.com/planish/planish/issues"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What went wrong in a pass, and was rolled back.

    - `pass_name`, `place`: the pass, and where it stood in the run, in words.
    - `node`: the site that was left as it was; None where the whole pass was rolled back.
    - `error`: what was raised, or what verification found.
    - `reproducer`, `command`: the folder with what is needed to see it again, and the command
      that shows it.
    """

    pass_name: str
    place: str
    node: str | None
    error: str
    reproducer: Path | None = None
    command: str = ""

    def __str__(self) -> str:
        """Say in one line what was rolled back, and why."""
        if self.node is None:
            return f"{self.place}, was rolled back: {self.error}"
        return f"{self.place}, left {self.node} as it was: {self.error}"

    @property
    def report(self) -> str:
        """The line to report it with."""
        at = "" if self.node is None else f" at {self.node}"
        where = "" if self.reproducer is None else f", with the folder {self.reproducer}"
        return (
            f"report at {_ISSUES}{where}: pass '{self.pass_name}'{at}: "
            f"{self.error.splitlines()[0] if self.error else ''}"
        )


@dataclass(frozen=True, kw_only=True, repr=False)
class PassRecord(Shown):
    """One pass of one run; in later rounds of a `repeat` group, only where it edited or failed.

    - `name`, `text`: the pass, and how a pipeline writes it with its options.
    - `edits`: how many changes it made.
    - `seconds`: time in the pass, without verification.
    - `nodes_before`, `nodes_after`: of the graph and its subgraphs.
    - `error`: largest difference of any output from before the pass (`verify="each"`) or, on the
      last pass that edited, from the untouched graph (`verify="end"`), relative to the output's
      range; None where nothing was measured.
    - `declined`: the sites that it looked at and left alone, each with the reason.
    - `round`: how often the pass has run, this time among them.
    - `remarks`: what the pass found or decided that its edits do not show.
    - `failures`: sites that were rolled back, or the pass as a whole, which then has no edits.
    - `undone`: why the run went back to the graph before the pass, which then has no edits; empty
      where it did not.
    - `quality`: what the pass measured of the graph that it leaves.
    - `touched`: the names of nodes that it removed, added or changed; a nameless one has that of
      its first output.
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
    failures: tuple[Failure, ...] = ()
    undone: str = ""
    quality: MeasuredQuality = field(default_factory=MeasuredQuality)
    touched: tuple[str, ...] = ()

    def _summary(self) -> Summary:
        parts = [counted(self.edits, "edit"), f"{self.nodes_before} -> {self.nodes_after} nodes"]
        if self.error is not None:
            parts.append(f"largest error {self.error:.1e}")
        if self.declined:
            parts.append(f"{counted(len(self.declined), 'site')} left alone")
        if self.failures:
            parts.append(counted(len(self.failures), "failure"))
        rows = [(decline.node, decline.reason) for decline in self.declined]
        line = f"{shortened(self.text)}: {', '.join(filter(None, [*parts, self.undone]))}"
        return Summary(line, rows, ("left alone", "because"))


@dataclass(frozen=True, kw_only=True)
class Progress:
    """One step of a run, for progress bars: pass `index` of `total` is at `fraction` of `stage`.

    `name` is the pass, or which graph is verified. `note` is a word of the pass about how it goes,
    such as a loss; empty where it has none.
    """

    index: int
    total: int
    name: str
    stage: str
    fraction: float
    note: str = ""


@dataclass(frozen=True, kw_only=True, repr=False)
class Result(Shown):
    """The graph a pipeline made, a record a pass, and how far the numbers were checked.

    `verified` is True where verification ran and held. Where it was asked for and could not run
    (no kernel in the reference runtime, inputs that cannot be drawn), it is False and `note` says
    why; where it is True, a `note` says that the inputs told little. `tolerance` is what exact
    passes were held to, None where a pass that edited is approximate: its error is measured alone,
    and `comparison` says how far each output is from the untouched graph's, on the inputs that
    verification used; None where all passes are exact, or one changed the outputs by intent.
    `certificate` says what is proved, edit by edit; None where nobody asked (`verify="prove"`).
    """

    graph: gs.Graph
    records: tuple[PassRecord, ...]
    verified: bool
    note: str = ""
    tolerance: float | None = None
    dumped: tuple[Path, ...] = field(default=())
    remarks: tuple[str, ...] = ()
    comparison: Comparison | None = None
    certificate: Certificate | None = None

    @property
    def edits(self) -> int:
        """Number of edits of all passes together."""
        return sum(record.edits for record in self.records)

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What went wrong in the passes and was rolled back, in order."""
        return tuple(failure for record in self.records for failure in record.failures)

    @property
    def quality(self) -> MeasuredQuality:
        """What the last pass that measured the graph it left found out."""
        told = (record.quality for record in reversed(self.records) if record.edits)
        return next(
            (quality for quality in told if quality != MeasuredQuality()), MeasuredQuality()
        )

    @property
    def error(self) -> float | None:
        """Largest error that verification measured, relative to the output's range."""
        measured = [record.error for record in self.records if record.error is not None]
        return max(measured) if measured else None

    def _summary(self) -> Summary:
        edited = [record for record in self.records if record.edits]
        parts = [f"{counted(self.edits, 'edit')} by {counted(len(edited), 'pass', 'passes')}"]
        if self.records:
            parts.append(f"{self.records[0].nodes_before} -> {self.records[-1].nodes_after} nodes")
        parts.append("verified" if self.verified else "not verified")
        if self.error is not None:
            parts.append(f"largest error {self.error:.1e}")
        if self.failures:
            parts.append(counted(len(self.failures), "failure"))
        rows = [(r.text, f"{r.nodes_before} -> {r.nodes_after}", str(r.edits)) for r in edited]
        line = "; ".join(filter(None, [", ".join(parts), self.note]))
        return Summary(line, rows, ("pass", "nodes", "edits"))
