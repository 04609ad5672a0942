"""What a run tells: progress while it lasts, a record a pass, and the graphs that it dumps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_graphsurgeon as gs

from ....ir.files.save import save
from ...engine.contract import Pass
from ...engine.quality import MeasuredQuality
from ...engine.records import PassRecord, Progress
from .options import RunOptions


@dataclass(frozen=True)
class RecorderMark:
    """How many records there were, and how many of the passes had edited."""

    records: int
    edited: int


class Recorder:
    """Records of the run of `passes`, in order; a later round counts where it edited or failed.

    `edited`: the passes that edited, in order and each time anew, with the place of their record.
    """

    def __init__(self, passes: Sequence[Pass], options: RunOptions) -> None:
        self.passes = passes
        self.records: list[PassRecord] = []
        self.edited: list[tuple[Pass, int]] = []
        self.dumped: list[Path] = []
        self._options = options
        self._latest: dict[int, int] = {}  # the last record of each pass

    @property
    def edits(self) -> int:
        """Number of edits so far."""
        return sum(record.edits for record in self.records)

    def place(self, index: int) -> str:
        """Return the place of pass `index` in words."""
        return f"pass {index + 1} of {len(self.passes)}, '{self.passes[index].name}'"

    def tell(
        self, index: int, stage: str, fraction: float, note: str = "", of: str | None = None
    ) -> None:
        """Report progress, where somebody listens, with pass `index` or of what `of` names."""
        if self._options.progress is None:
            return
        name = of or (self.passes[index].name if self.passes else "")
        event = Progress(
            index=index,
            total=len(self.passes),
            name=name,
            stage=stage,
            fraction=fraction,
            note=note,
        )
        self._options.progress(event)

    def add(self, index: int, record: PassRecord) -> None:
        """Add the record of one run of pass `index`.

        What a pass declined before is what it declines now, or nothing where it edited again.
        """
        if index in self._latest:
            earlier = self.records[self._latest[index]]
            declined = () if record.edits else record.declined
            if declined != earlier.declined:
                self.records[self._latest[index]] = replace(earlier, declined=declined)
        if record.edits or record.round == 1 or record.failures:
            self._latest[index] = len(self.records)
            self.records.append(record)
        if record.edits:
            self.edited.append((self.passes[index], self._latest[index]))

    def mark(self) -> RecorderMark:
        """Return how far the records go."""
        return RecorderMark(len(self.records), len(self.edited))

    def undo(self, mark: RecorderMark, nodes: int, reason: str) -> None:
        """Write that what passes have done since `mark` was undone; the graph has `nodes` again.

        The last of them asked for it, and its record tells which.
        """
        *before, last = range(mark.records, len(self.records))
        names = dict.fromkeys(self.records[at].name for at in before if self.records[at].edits)
        for at in before:
            self.records[at] = replace(
                self.records[at],
                edits=0,
                nodes_before=nodes,
                nodes_after=nodes,
                error=None,
                undone=reason if self.records[at].edits else "",
                quality=MeasuredQuality(),
                touched=(),
            )
        told = (f"undone with it: {', '.join(names)}",) if names else ()
        own = self.records[last]
        self.records[last] = replace(
            own,
            edits=0,
            nodes_before=nodes,
            nodes_after=nodes,
            error=None,
            undone=reason if own.edits else "",
            quality=MeasuredQuality(),
            touched=(),
            remarks=own.remarks + told,
        )
        del self.edited[mark.edited :]

    def set_error(self, place: int, error: float) -> None:
        """Write what was measured into the record at `place`."""
        self.records[place] = replace(self.records[place], error=error)

    def discard_dumps(self) -> None:
        """Delete the graphs that were dumped."""
        for path in self.dumped:
            path.unlink(missing_ok=True)
        self.dumped.clear()

    def dump(self, index: int, graph: gs.Graph) -> None:
        """Save `graph`, as pass `index` has left it, where dumps were asked for."""
        folder = self._options.dump
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{len(self.records) + 1:02d}-{self.passes[index].name}.onnx"
        save(graph, path)
        self.dumped.append(path)
