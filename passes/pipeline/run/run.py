"""One run of a pipeline over a graph: passes in order, groups to their fixed point, checks."""

from __future__ import annotations

import time
from collections.abc import Sequence

import onnx_graphsurgeon as gs

from ....ir.core.errors import FeedError, PassError, PlanishError, VerificationError
from ....ir.graph.clone import clone
from ....ir.graph.types import Types
from ....ir.graph.wellformed import check
from ....ir.run.extra_feeds import FeedsWithout
from ...engine.context import Context, Feeds
from ...engine.contract import Pass
from ...engine.records import PassRecord, Result
from ..repeat import Repeat
from .apply import Applied, apply_pass
from .interface import check_interface, read_interface
from .options import RunOptions
from .recorder import Recorder
from .reproducers import Reproducers
from .state import GraphState
from .verification import Verification

# Passes that undo one another would never end; two or three rounds is what networks take.
_MOST_ROUNDS = 20


class Run:
    """One run over a copy of `original`, which is left untouched."""

    def __init__(
        self,
        items: Sequence[Pass | Repeat],
        original: gs.Graph,
        feeds: Feeds | None,
        options: RunOptions,
    ) -> None:
        self._items = items
        self._options = options
        self._passes = [each for item in items for each in _members(item)]
        extra = sorted({name for item in self._passes for name in item.extra_feeds()})
        self._labelled = feeds
        self._feeds = FeedsWithout(feeds, extra) if extra and feeds is not None else feeds
        self._state = GraphState(original)
        check(self._state.graph, sort=True)
        self._interface = read_interface(self._state.graph)
        self._recorder = Recorder(self._passes, options)
        self._verification = Verification(original, self._feeds, options, self._recorder)
        self._reproducers = Reproducers(options.reproducer, self._verification.feeds)
        self._item_of = [at for at, item in enumerate(items) for _ in _members(item)]
        self._since = 0  # the first item that ran on the graph which outputs are held to

    def result(self) -> Result:
        """Run all passes, verify, and return the graph with what is known of it."""
        first = 0
        for item in self._items:
            self._settle(first, item)
            first += len(_members(item))
        self._verify_end()
        verified, tolerance = self._verification.outcome()
        return Result(
            graph=self._state.graph,
            records=tuple(self._recorder.records),
            verified=verified,
            note=self._verification.note,
            tolerance=tolerance,
            dumped=tuple(self._recorder.dumped),
        )

    def _settle(self, first: int, item: Pass | Repeat) -> None:
        """Run a pass, or the passes of a group until each has seen the edits of the others."""
        stale = [True] * len(_members(item))
        for round_ in range(1, _MOST_ROUNDS + 1 if isinstance(item, Repeat) else 2):
            for place in range(len(stale)):
                if not stale[place]:
                    continue
                record = self._step(first + place, round_)
                self._recorder.add(first + place, record)
                stale[place] = False
                if record.edits:
                    stale = [other != place for other in range(len(stale))]
            if not any(stale):
                break

    def _step(self, index: int, round_: int) -> PassRecord:
        """Run one pass and check what it left."""
        item = self._passes[index]
        if not item.keeps_outputs:
            self._verify_end()
        if self._options.verify == "each":
            self._reproducers.keep(self._state.graph)
        context, nodes = self._context(index), self._state.nodes
        self._recorder.tell(index, "run", 0.0)
        started = time.perf_counter()
        edits = self._apply(index, context)
        seconds = time.perf_counter() - started
        error = self._after_edits(index) if edits else None
        self._recorder.tell(index, "done", 1.0)
        return PassRecord(
            name=item.name,
            text=str(item),
            edits=edits,
            seconds=seconds,
            nodes_before=nodes,
            nodes_after=self._state.nodes,
            error=error,
            declined=context.declined,
            round=round_,
            remarks=context.remarks,
        )

    def _context(self, index: int) -> Context:
        limit = self._options.limit
        return Context(
            self._state.graph,
            self._feeds,
            target=self._options.target,
            seed=self._options.seed,
            limit=None if limit is None else max(limit - self._recorder.edits, 0),
            progress=lambda fraction, note="": self._recorder.tell(index, "run", fraction, note),
            original=self._verification.original,
            labelled=self._labelled,
            known=self._state.analyses,
        )

    def _apply(self, index: int, context: Context) -> int:
        """Run pass `index`, check the graph that it leaves, and return the number of edits."""
        try:
            # Inferred before the pass, since it may change the graph before it asks.
            types = self._state.analyses.types
            applied = apply_pass(self._passes[index], self._state, context)
            self._check(applied, types)
        except FeedError as error:  # the data is to blame, not the pass
            raise FeedError(f"{self._recorder.place(index)}: {error}") from error
        except PlanishError as error:
            raise self._failed(PassError, index, str(error)) from error
        except Exception as error:  # a pass is anybody's code
            raise self._failed(PassError, index, f"{type(error).__name__}: {error}") from error
        return applied.edits

    def _check(self, applied: Applied, before: Types) -> None:
        """Raise PassError where the graph is not well-formed, or not what it must stay."""
        if applied.edits or applied.by_hand:
            check(self._state.graph, sort=applied.by_hand)
            check_interface(self._interface, self._state.graph)
        if applied.edits and before.problem is None:
            problem = self._state.analyses.types.problem
            if problem is not None:
                raise PassError(f"types and shapes do not infer any more: {problem}")

    def _after_edits(self, index: int) -> float | None:
        """Verify what pass `index` has left, and dump it; return the error that was measured."""
        error = None
        try:
            if self._passes[index].keeps_outputs:
                error = self._verification.check_each(index, self._state.graph)
            else:
                self._since = self._item_after(index)
                self._verification.start_over(index, clone(self._state.graph))
        except VerificationError as failure:
            raise self._failed(VerificationError, index, str(failure)) from failure
        self._reproducers.forget()
        self._recorder.dump(index, self._state.graph)
        return error

    def _item_after(self, index: int) -> int:
        """Return the first item that runs after pass `index`: a group may run it again."""
        at = self._item_of[index]
        return at if isinstance(self._items[at], Repeat) else at + 1

    def _verify_end(self) -> None:
        try:
            self._verification.check_end(self._state.graph)
        except VerificationError as error:
            raise self._reproducers.of_pipeline(
                self._verification.original, self._items[self._since :], str(error)
            ) from error

    def _failed(self, kind: type[PassError], index: int, message: str) -> PassError:
        place = self._recorder.place(index)
        return self._reproducers.of_pass(kind, self._passes[index], place, message)


def _members(item: Pass | Repeat) -> tuple[Pass, ...]:
    return item.passes if isinstance(item, Repeat) else (item,)
