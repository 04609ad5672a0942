"""One run of a pipeline over a graph: each pass, what is checked behind it, and what is undone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import onnx_graphsurgeon as gs

from ....ir.core.errors import PassError, VerificationError
from ....ir.graph.clone import clone
from ....ir.graph.wellformed import check
from ....ir.run.comparison import Comparison
from ....ir.run.contradiction import Contradiction
from ....ir.run.feeds import random_feeds
from ...engine.context import Context, Feeds, GoBack
from ...engine.contract import Pass
from ...engine.float_layers import FloatLayers
from ...engine.records import PassRecord, Result
from ..attempt import Item, members
from .apply import Applied, apply_pass
from .asked_metric import asked_metric, judged_as_asked
from .checkpoint import Checkpoints
from .checks import check_left
from .declared import correct_outputs
from .failures import EndFailed, PassFailed, failed
from .fitting_feeds import FittingFeeds
from .idle import computed_operands, idle_remarks
from .options import RunOptions
from .recorder import Recorder
from .reproducers import Reproducers
from .rollback import Rollback
from .schedule import Schedule, WentBack
from .state import GraphState
from .unprepared import unprepared_remarks
from .verification import Verification

if TYPE_CHECKING:
    from .proving import Proving


def _proving(original: gs.Graph, graph: gs.Graph, options: RunOptions) -> Proving | None:
    """Return what keeps the edits of `graph` for a certificate, where one is asked for."""
    if options.verify != "prove":
        return None
    from .proving import Proving  # a prover that most runs do not need

    return Proving(original, graph, options.seed)


class Run:
    """One run over a copy of `original`, which is left untouched."""

    def __init__(
        self,
        items: Sequence[Item],
        original: gs.Graph,
        feeds: Feeds | None,
        options: RunOptions,
    ) -> None:
        self._items = items
        self._options = options
        self._passes = [each for item in items for each in members(item)]
        self._rounds = [0] * len(self._passes)
        self._contradiction = Contradiction(original)
        self._state = GraphState(original)
        self._proving = _proving(original, self._state.graph, options)
        check(self._state.graph, sort=True)
        self._recorder = Recorder(self._passes, options)
        self._feeds = FittingFeeds(feeds, self._passes)
        self._feeds.take(self._state.graph)
        # What the first pass changes the inputs of is verified from there on.
        starts = not self._passes or self._passes[0].keeps_interface
        self._verification = Verification(
            original,
            self._compared_on(options),
            options,
            self._recorder,
            self._state.analyses,
            starts=starts,
        )
        self._reproducers = Reproducers(options.reproducer, self._verification.feeds)
        self._checkpoints = Checkpoints(
            self._passes, self._state, self._recorder, self._verification
        )
        self._item_of = [at for at, item in enumerate(items) for _ in members(item)]
        self._float_layers = FloatLayers()
        self._since = 0  # the first item that ran on the graph which outputs are held to
        self._schedule = Schedule(
            items,
            self._run_once,
            lambda last: self._checkpoints.start_attempt(self._since, last),
            self._checkpoints.settle,
        )
        self._rollback = Rollback(
            self._passes, options, self._state, self._recorder, self._reproducers
        )

    def _compared_on(self, options: RunOptions) -> Feeds | None:
        """Return what verification is given: with an input that refutes an earlier run."""
        fitting, refuting = self._feeds.fitting, options.refuting
        if refuting is None:
            return fitting
        usual = random_feeds(self._state.graph, seed=options.seed) if fitting is None else fitting
        return [refuting, *usual]

    def result(self) -> Result:
        """Run all passes, verify, and return the graph with what is known of it."""
        self._schedule.run()
        self._verify_end()
        self._feeds.require_fitted(self._state.graph)
        verified, tolerance = self._verification.outcome()
        self._finish()
        remarks, proving = correct_outputs(self._state.analyses), self._proving
        if proving is not None:
            self._recorder.tell(len(self._passes) - 1, "prove", 0.0, of="the certificate")
        return Result(
            graph=self._state.graph,
            records=tuple(self._recorder.records),
            verified=verified,
            note=self._verification.note,
            tolerance=tolerance,
            dumped=tuple(self._recorder.dumped),
            remarks=remarks,
            comparison=self._comparison(),
            certificate=None
            if proving is None
            else proving.certificate(self._state.graph, self._feeds.fitting),
        )

    def _comparison(self) -> Comparison | None:
        """Return how far outputs are from the untouched graph's, judged as it was asked for."""
        compared = self._verification.comparison()
        asked = asked_metric([item for item, _ in self._recorder.edited])
        judged = any(record.quality.metrics for record in self._recorder.records)
        if compared is None or asked is None or judged:
            return compared
        feeds = self._verification.feeds if self._feeds.labelled is None else self._feeds.labelled
        return judged_as_asked(
            compared, self._verification.original, self._state.graph, feeds, asked
        )

    def _finish(self) -> None:
        """Let passes change the types of inputs and outputs."""
        for index, item in enumerate(self._passes):
            if type(item).finish is Pass.finish or index in self._rollback.left_out:
                continue
            item.finish(self._state.graph, self._context(index))
            self._state.take(self._state.graph)
            check(self._state.graph)

    def discard_dumps(self) -> None:
        """Delete the graphs that were dumped: the passes run once more."""
        self._recorder.discard_dumps()

    def _run_once(self, index: int) -> bool:
        return index not in self._rollback.left_out and self._run_pass(index) > 0

    def _run_pass(self, index: int) -> int:
        """Run a pass and record it; return its edits. Raises WentBack within an attempt."""
        item = self._passes[index]
        if item.prepares or item.settles:
            self._checkpoints.start_preparing(self._since)
        self._rounds[index] += 1
        record, back = self._step(index, self._rounds[index])
        self._recorder.add(index, record)
        if record.edits:
            self._checkpoints.ran(index)
        if item.settles and back is not None and self._checkpoints.is_last(index):
            return self._go_back(index, back)
        if item.settles and record.edits:
            self._checkpoints.settle()
        return record.edits

    def _go_back(self, index: int, back: GoBack) -> int:
        """Undo what prepared the graph for pass `index`, and run again what else ran since.

        Raises WentBack where the attempt that it stands in is undone.
        """
        kept = self._checkpoints.restore_attempt(back.reason) if back.whole else None
        whole = kept is not None
        kept = kept or self._checkpoints.restore_unprepared(back.reason)
        assert kept is not None, "kept before the pass"
        self._since = kept.since
        self._feeds.take(self._state.graph)
        self._reproducers.forget()
        if whole:
            raise WentBack
        again = [i for i in kept.ran if i != index and not self._passes[i].prepares]
        self._rollback.left_out |= {i for i in kept.ran if self._passes[i].prepares}
        self._rounds = [0 if i in again else round_ for i, round_ in enumerate(self._rounds)]
        return sum([self._run_pass(each) for each in again])

    def _step(self, index: int, round_: int) -> tuple[PassRecord, GoBack | None]:
        """Run one pass and check what it left; roll back what failed, unless strict.

        Returns with its record why the run is to go back to the graph before what prepared for it,
        or None.
        """
        item = self._passes[index]
        if not (item.keeps_outputs and item.keeps_interface):
            self._verify_end()
        if self._options.verify == "each" or self._options.copies:
            self._reproducers.keep(self._state.graph)
        nodes = self._state.nodes
        record = partial(
            PassRecord, name=item.name, text=str(item), nodes_before=nodes, round=round_
        )
        self._recorder.tell(index, "run", 0.0)
        context = self._context(index)
        started = time.perf_counter()
        try:
            made = self._try(index, record, context)
            back = context.gone_back
        except PassFailed as failure:
            if not item.keeps_interface:  # without it, all that follows is for other inputs
                text = f"{self._recorder.place(index)}: {failure.error}"
                raise failure.error.with_message(text, pass_name=item.name) from failure
            seconds = time.perf_counter() - started
            failures = self._rollback.give_up(index, failure)
            told = () if failure.contradiction is None else (failure.contradiction,)
            made = record(
                edits=0, seconds=seconds, nodes_after=nodes, failures=failures, remarks=told
            )
            back = GoBack(f"{item.name} failed")
        if self._proving is not None and made.edits:
            self._proving.ran(item.name, context, made.edits)
        self._recorder.tell(index, "done", 1.0)
        return made, back

    def _try(self, index: int, record: Callable[..., PassRecord], context: Context) -> PassRecord:
        """Run pass `index` and make its record, begun as `record`; raises PassFailed."""
        watched = not self._passes[index].is_exact and context.limit != 0
        computed = computed_operands(context) if watched else set()
        started = time.perf_counter()
        applied = self._apply(index, context)
        edits = applied.edits
        seconds = time.perf_counter() - started
        failures = self._rollback.sites(index, context)
        if context.changed and not edits:  # what counts as no edit, such as a function put back
            self._reproducers.forget()
        told = idle_remarks(context, edits, computed) if watched else ()
        if edits and context.gone_back is None:
            told += unprepared_remarks(self._passes, index)
        if not self._passes[index].keeps_interface:
            self._start_anew(index)
        undone = context.gone_back is not None and self._checkpoints.is_last(index)
        error = self._after_edits(index) if edits and not undone else None
        return record(
            edits=edits,
            seconds=seconds,
            nodes_after=self._state.nodes,
            error=error,
            declined=context.declined,
            remarks=context.remarks + told,
            failures=failures,
            quality=context.quality,
            touched=applied.touched,
        )

    def _context(self, index: int) -> Context:
        limit = self._options.limit
        return Context(
            self._state.graph,
            self._feeds.fitting,
            target=self._options.target,
            seed=self._options.seed,
            limit=None if limit is None else max(limit - self._recorder.edits, 0),
            progress=lambda fraction, note="": self._recorder.tell(index, "run", fraction, note),
            original=self._verification.original,
            before_integers=self._checkpoints.before_integers,
            labelled=self._feeds.labelled,
            known=self._state.analyses,
            float_layers=self._float_layers,
            signed_zeros=self._options.signed_zeros,
            strict=self._options.strict,
            trail=None if self._proving is None else self._proving.trail(),
            contradiction=self._contradiction,
        )

    def _apply(self, index: int, context: Context) -> Applied:
        """Run pass `index`, check the graph that it leaves, and return what it did."""
        try:
            # Inferred before the pass, since it may change the graph before it asks.
            types = self._state.analyses.types
            applied = apply_pass(self._passes[index], self._state, context)
            kept = self._feeds.interface if self._passes[index].keeps_interface else None
            check_left(self._state, kept, applied, types, bool(context.failed))
        except Exception as error:  # a pass is anybody's code
            of_pass = failed(error, self._recorder.place(index))
            of_pass.contradiction = self._contradiction()
            of_pass.error = of_pass.error.with_message(str(of_pass.error), node=context.blamed)
            raise of_pass from error
        return applied

    def _after_edits(self, index: int) -> float | None:
        """Verify what pass `index` has left, and dump it; return the error that was measured."""
        error = None
        try:
            if not self._passes[index].keeps_interface:
                pass  # compared from here on
            elif self._passes[index].keeps_outputs:
                error = self._verification.check_each(index, self._state.graph)
            else:
                self._verification.start_over(index, clone(self._state.graph))
                self._since = self._item_after(index)
        except VerificationError as error:
            raise failed(error, self._recorder.place(index)) from error
        self._reproducers.forget()
        self._recorder.dump(index, self._state.graph)
        return error

    def _start_anew(self, index: int) -> None:
        """Go on with the inputs that pass `index` has left, and compare with that graph."""
        self._feeds.take(self._state.graph)
        self._since = self._item_after(index)
        known = self._state.analyses
        self._verification.start_anew(clone(self._state.graph), self._feeds.fitting, known, index)
        self._reproducers.use(self._verification.feeds)

    def _item_after(self, index: int) -> int:
        """Return the first item that runs after pass `index`: a group may run it again."""
        at = self._item_of[index]
        return at + 1 if isinstance(self._items[at], Pass) else at

    def _verify_end(self) -> None:
        try:
            self._verification.check_end(self._state.graph)
        except VerificationError as error:
            raise EndFailed(self._end_error(error)) from error

    def _end_error(self, error: VerificationError) -> PassError:
        if not (self._options.strict or self._options.hunt or self._options.limit is not None):
            return error  # the passes run once more
        items = [*self._items[self._since :], *self._schedule.closing]
        passes = [each for item in items for each in members(item)]
        text = ",".join(map(str, items))
        return self._reproducers.of_pipeline(self._verification.original, passes, text, error)
