"""What a pass is given beside the graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.variables import label
from ...ir.graph.edit import Edit
from ...ir.graph.types import Types, infer_types
from ...ir.graph.uses import Uses

Feeds = Iterable[Mapping[str, np.ndarray[Any, Any]]]


class Report(Protocol):
    """Takes the fraction of a pass that is done, and a word on how it goes."""

    def __call__(self, fraction: float, note: str = "") -> None:
        """Report progress."""


@dataclass(frozen=True)
class Decline:
    """One site a pass looked at and left alone: the node and the reason."""

    node: str
    reason: str


@dataclass
class Context:
    """Feeds, target, seed and progress of one pass over one graph, and the count of its edits.

    `limit` is the number of edits the pass may still make (None: any number). `original` is the
    graph that the pipeline was given, as it was: the teacher of what compression has changed.
    `labelled` are the feeds with the entries that a pass asked for by `Pass.extra_feeds`.
    """

    graph: gs.Graph
    feeds: Feeds | None = None
    target: str = "cpu"
    seed: int = 0
    limit: int | None = None
    progress: Report = lambda fraction, note="": None
    types: Types | None = None
    uses: Uses | None = None
    original: gs.Graph | None = None
    labelled: Feeds | None = None
    _edits: list[Edit] = field(default_factory=list)
    _declined: dict[int, Decline] = field(default_factory=dict)
    _seen: list[gs.Node] = field(default_factory=list)
    _remarks: list[str] = field(default_factory=list)

    def edit(self) -> Edit:
        """Open a batch of changes to the graph; every change a pass makes goes through one."""
        left = None if self.limit is None else self.limit - self.edits
        opened = Edit(self.graph, left, self.uses)
        self.uses = opened.uses
        self._edits.append(opened)
        return opened

    def infer(self) -> Types:
        """Return the inferred types of the graph as it was before this pass's own edits."""
        if self.types is None:
            self.types = infer_types(self.graph)
        return self.types

    def decline(self, node: gs.Node, reason: str) -> None:
        """Record why `node` was left alone; the last reason a node was given counts."""
        self._declined[id(node)] = Decline(label(node), reason)
        self._seen.append(node)

    def on(self, graph: gs.Graph) -> Context:
        """Return a context over another graph, whose edits do not count; it reports to this one."""
        return replace(self, graph=graph, limit=None, types=None, uses=None, _edits=[])

    def quietly(self) -> Context:
        """Return a context for a step of this pass: edits count here, declines are not shown."""
        return replace(self, _declined={}, _seen=[])

    def accept(self, node: gs.Node) -> None:
        """Forget an earlier reason to decline: `node` was rewritten after all."""
        self._declined.pop(id(node), None)

    def remark(self, text: str) -> None:
        """Tell the user what the pass found or decided that its edits do not show."""
        self._remarks.append(text)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the pass told, in order."""
        return tuple(self._remarks)

    @property
    def edits(self) -> int:
        """Number of edits made so far."""
        return sum(edit.count for edit in self._edits)

    @property
    def declined(self) -> tuple[Decline, ...]:
        """The sites left alone, in the order in which they were looked at."""
        return tuple(self._declined.values())
