"""What a pass is given beside the graph."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.errors import PassError, in_words
from ...ir.core.variables import label, node_key
from ...ir.graph.edit import Edit
from ...ir.graph.trail import Trail
from ...ir.graph.types import TensorType, Types
from ...ir.graph.uses import Uses
from ...ir.graph.view import View
from ...ir.metrics.result import MetricResult
from .analyses import Analyses
from .float_layers import FloatLayers
from .quality import MeasuredQuality

Feeds = Iterable[Mapping[str, np.ndarray[Any, Any]]]


class Report(Protocol):
    """Takes the fraction of a pass that is done, and a word on how it goes."""

    def __call__(self, fraction: float, note: str = "") -> None:
        """Report progress."""


def report_nothing(fraction: float, note: str = "") -> None:
    """Report no progress."""


@dataclass(frozen=True)
class Decline:
    """One site a pass looked at and left alone: the node and the reason."""

    node: str
    reason: str


@dataclass(frozen=True)
class SiteFailure:
    """One site whose rewrite raised, and which was left as it was: the node, what, and where."""

    node: str
    error: str
    trace: str


@dataclass(frozen=True)
class GoBack:
    """What a pass asked the run for; see `Context.go_back`."""

    reason: str
    whole: bool = True


def unknown() -> None:
    """Return None: it was not found out."""


@dataclass
class Context:
    """What a pass is given beside the graph, and what it tells: edits, declines, remarks.

    - `graph`: the graph that the pass works on.
    - `feeds`: samples, a dict of arrays by input name for each batch; None where none were given.
    - `target`, `seed`: as `Pipeline.run` was given them.
    - `limit`: the number of edits the pass may still make; None for any number.
    - `progress`: takes the fraction that is done, from 0 to 1, and a word on how it goes.
    - `original`: the graph that the pipeline was given, as it was: the teacher of what compression
      has changed.
    - `before_integers`: the graph before the first pass that prepared it for integers or made some,
      where passes such as `prune` had changed it by then; None elsewhere.
    - `labelled`: the feeds with the entries that a pass asked for by `Pass.extra_feeds`.
    - `known`: what is known of the graph already.
    - `float_layers`: what layers were before a pass of this run rounded them for integers.
    - `signed_zeros`: whether 0.0 and -0.0 are to be told apart.
    - `strict`: whether an exception at one site ends the pass, instead of leaving that site alone.
    - `trail`: takes what each edit touched, where a certificate is wanted.
    - `contradiction`: why no runtime runs the graph that the pipeline was given, if so: then what
      raises at a site is not to blame.
    """

    graph: gs.Graph
    feeds: Feeds | None = None
    _: KW_ONLY
    target: str = "cpu"
    seed: int = 0
    limit: int | None = None
    progress: Report = report_nothing
    original: gs.Graph | None = None
    before_integers: gs.Graph | None = None
    labelled: Feeds | None = None
    known: Analyses | None = None  # those of `graph` by default
    float_layers: FloatLayers = field(default_factory=FloatLayers)
    signed_zeros: bool = False
    strict: bool = True
    trail: Trail | None = None
    contradiction: Callable[[], str | None] = unknown
    _edits: list[Edit] = field(default_factory=list)
    _open: list[Edit] = field(default_factory=list)
    _declined: dict[int, Decline] = field(default_factory=dict)
    _seen: list[gs.Node] = field(default_factory=list)
    _remarks: list[str] = field(default_factory=list)
    _told_idle: list[str] = field(default_factory=list)
    _failed: list[SiteFailure] = field(default_factory=list)
    _gone_back: list[GoBack] = field(default_factory=list)
    _blamed: list[str] = field(default_factory=list)
    _qualities: list[MeasuredQuality] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.known is None:
            self.known = Analyses(self.graph)

    @property
    def analyses(self) -> Analyses:
        """What is known of the graph as it is."""
        assert self.known is not None
        return self.known

    @contextmanager
    def editing(self) -> Iterator[Edit]:
        """Open a batch of changes to the graph; every change a pass makes goes through one.

            with context.editing() as edit:
                if edit.begin():
                    edit.remove(node)

        On leaving, the changes are written into the graph, and the types of what has changed are
        inferred anew when they are next asked for. An error passes through, and nothing more is
        written. Batches follow one another; PassError where one is open already.
        """
        if self._open:
            raise PassError("a batch of changes is open already; hand its `edit` on")
        left = None if self.limit is None else self.limit - self.edits
        known = self.analyses
        _ = known.types  # of the graph as it is, not of one that is half changed
        edit = Edit(self.graph, left, known.uses)
        edit.trail = self.trail
        self._edits.append(edit)
        self._open.append(edit)
        try:
            with edit:
                yield edit
        finally:
            self._open.pop()
        if edit.changed:
            known.follow(edit)

    def view(self, scope: gs.Graph | None = None) -> View:
        """Return the view of `scope`, the graph itself by default, that sees an open batch too."""
        seen = self.graph if scope is None else scope
        return View(seen, self.uses, self._type, signed_zeros=self.signed_zeros)

    def _type(self, tensor: gs.Tensor) -> TensorType | None:
        new = self._open[-1].type_of_new(tensor) if self._open else None
        return self.analyses.types.agreed(tensor) if new is None else new

    def type_of_new(self, tensor: gs.Tensor) -> TensorType | None:
        """Return the type given to a variable that the open batch created."""
        return self._open[-1].type_of_new(tensor) if self._open else None

    @property
    def uses(self) -> Uses:
        """The index of who makes and reads each tensor, an open batch included."""
        return self.analyses.uses

    def nodes_with(self, ops: Collection[str]) -> list[gs.Node]:
        """Return the nodes of `ops` in all scopes, in order, as the last batch left the graph."""
        return self.analyses.nodes_with(ops)

    def infer(self) -> Types:
        """Return the inferred types of the graph as it was when the last batch was written."""
        return self.analyses.types

    def decline(self, node: gs.Node, reason: str) -> None:
        """Record why `node` was left alone; the last reason a node was given counts."""
        self._declined[id(node)] = Decline(label(node), reason)
        self._seen.append(node)

    def on(self, graph: gs.Graph) -> Context:
        """Return a context over another graph, whose edits do not count; it reports to this one."""
        known = Analyses(graph)
        return replace(self, graph=graph, limit=None, known=known, trail=None, _edits=[], _open=[])

    def quietly(self) -> Context:
        """Return a context for a step of this pass: edits count here, declines are not shown."""
        return replace(self, _declined={}, _seen=[])

    def accept(self, node: gs.Node) -> None:
        """Forget an earlier reason to decline: `node` was rewritten after all."""
        self._declined.pop(id(node), None)

    def remark(self, text: str, *, idle: bool = False) -> None:
        """Tell the user what the pass found or decided that its edits do not show.

        `idle`: the text says why the pass does nothing; a run says it otherwise.
        """
        self._remarks.append(text)
        self._told_idle.extend([text] * idle)

    def tell_quality(
        self, *, metrics: tuple[MetricResult, ...] = (), speedup: float | None = None
    ) -> None:
        """Tell what was measured of the graph that the pass leaves; what is told last counts.

        `metrics`: how well outputs keep what they mean. `speedup`: how many times as fast as before
        it is on the target.
        """
        known = self.quality
        self._qualities.append(
            MeasuredQuality(metrics or known.metrics, known.speedup if speedup is None else speedup)
        )

    @property
    def quality(self) -> MeasuredQuality:
        """What the pass measured of the graph that it leaves."""
        return self._qualities[-1] if self._qualities else MeasuredQuality()

    def go_back(self, reason: str, *, whole: bool = True) -> None:
        """Have the run undo what was done for this pass, and tell `reason`.

        A pass that `settles` calls it where it declines as a whole, such as where a graph stays
        float, and returns. Its own edits are undone, and those of the passes before it that
        prepare the graph. Within `attempt(...)`, if `whole`, the run goes back to the graph before
        the group, and what stands in `otherwise(...)` runs. Where another pass that settles
        follows, the preparations are kept for that one.
        """
        self._gone_back.append(GoBack(reason, whole))
        self.remark(reason, idle=True)

    @property
    def gone_back(self) -> GoBack | None:
        """What the pass asked for by `go_back`, or None."""
        return self._gone_back[0] if self._gone_back else None

    def fail(self, node: gs.Node, error: Exception) -> None:
        """Record that a rewrite raised at `node`, which was left as it was."""
        trace = "".join(traceback.format_exception(error))
        self._failed.append(SiteFailure(label(node), in_words(error), trace))

    def blame(self, node: gs.Node) -> None:
        """Record that what the pass is about to raise is about `node`."""
        self._blamed.append(label(node))

    @property
    def blamed(self) -> str | None:
        """The node that what the pass has raised is about, where that is known."""
        return self._blamed[-1] if self._blamed else None

    @property
    def failed(self) -> tuple[SiteFailure, ...]:
        """The sites at which a rewrite raised, in order."""
        return tuple(self._failed)

    @property
    def told_idle(self) -> bool:
        """Whether a remark says why the pass does nothing."""
        return bool(self._told_idle)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the pass told, in order."""
        return tuple(self._remarks)

    @property
    def edits(self) -> int:
        """Number of edits made so far."""
        return sum(edit.count for edit in self._edits)

    @property
    def edited_names(self) -> frozenset[str]:
        """What the nodes are called that were added, or made to read other tensors."""
        return frozenset(node_key(node) for edit in self._edits for node in edit.edited.values())

    @property
    def exhausted(self) -> bool:
        """Whether the pass has made all the edits that it may."""
        return self.limit is not None and self.edits >= self.limit

    @property
    def changed(self) -> bool:
        """Whether anything was changed, counted as an edit or not."""
        return any(edit.changed for edit in self._edits)

    @property
    def declined(self) -> tuple[Decline, ...]:
        """The sites left alone, in the order in which they were looked at."""
        return tuple(self._declined.values())
