"""Pruning channels: group by group, as the dependency analysis found them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.counted import counted
from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from ....ir.ops.traits.groups import LAYER_NORMS, LAYERS
from ...analysis.channels.find_groups import channel_groups
from ...analysis.channels.group import ChannelGroup
from ...engine.context import Context
from .channel_units import ChannelUnits, cells_of_balance, channel_units, is_even, masks_of
from .choose_channels import ChannelLimits, choose_alike, choose_globally, counts_alike
from .cost_models import ChannelCount, CostModel, LayerCosts, costs_of
from .criteria.criterion import Array, Criterion, ScoringContext
from .masked_copy import masked_copy
from .masked_weights import write_masks
from .nothing_goes import least_amount, no_layer_can, nothing_goes
from .options import PruneOptions, amounts

_LEAST = 0.1


def prune_channels(
    graph: gs.Graph, context: Context, options: PruneOptions, criterion: Criterion
) -> None:
    """Mask channels of the groups of `graph`."""
    groups = channel_groups(graph, context, across_layernorm=options.across_layernorm)
    view = context.view()
    rows = _rows(groups, graph, view, context, options, criterion)
    if not rows:
        context.remark(no_layer_can("channels", context.declined), idle=True)
        return
    costs = {} if options.of in (None, "channels") else costs_of(graph, str(options.of), rows)
    job = _ChannelPruning(graph, view, context, options, criterion, rows, costs)
    gone = job.run()
    _tell(job, gone)
    _tell_renormalized(job, gone)
    with context.editing() as edit:
        write_masks(edit, masks_of(rows, gone, view))


def _rows(
    groups: Sequence[ChannelGroup],
    graph: gs.Graph,
    view: View,
    context: Context,
    options: PruneOptions,
    criterion: Criterion,
) -> list[ChannelUnits]:
    """Return the groups that can lose channels; the others are declined with the reason."""
    top = {id(node) for node in graph.nodes}
    rows = []
    for group in groups:
        made = group.of_role("makes", "carries")
        if not options.selects(*(slot.layer for slot in made)):
            continue
        reason = group.reason
        if reason is None and any(id(slot.node) not in top for slot in group.slots):
            reason = "a body of If, Loop or Scan makes or reads its channels"
        if reason is None and not is_even(cells_of_balance(group)):
            reason = "its channels are spread unevenly over the groups of convolutions"
        if reason is None:
            row = channel_units(group, view)
            reason = criterion.refusal(row, view)
            if reason is None and not _is_balanced(row):
                reason = "channels that are masked are spread unevenly over groups of convolutions"
            if reason is None:
                rows.append(row)
        if reason is not None:
            for slot in made:
                context.decline(slot.node, reason)
    _decline_computed(groups, graph, view, context)
    return rows


def _decline_computed(
    groups: Sequence[ChannelGroup], graph: gs.Graph, view: View, context: Context
) -> None:
    """Say of layers that no group knows, since no constant makes their channels, that it is so."""
    known = {id(slot.node) for group in groups for slot in group.slots}
    for node in graph.nodes:
        if node.op not in LAYERS or not is_standard(node) or id(node) in known:
            continue
        if not view.is_constant(node.inputs[1]):
            context.decline(node, "its weight is not stored as a constant")


def _is_balanced(row: ChannelUnits) -> bool:
    cells = cells_of_balance(row.group)
    counts = np.bincount(cells[row.gone], minlength=int(cells.max()) + 1)
    return bool((counts == counts[0]).all())


class _ChannelPruning:
    """One call of `prune`: what goes, step after step."""

    def __init__(
        self,
        graph: gs.Graph,
        view: View,
        context: Context,
        options: PruneOptions,
        criterion: Criterion,
        rows: Sequence[ChannelUnits],
        costs: dict[int, float],
    ) -> None:
        self.graph = graph
        self.view = view
        self.context = context
        self.options = options
        self.criterion = criterion
        self.rows = rows
        self.costs = costs
        least = _LEAST if options.least is None else options.least
        self.rules = ChannelLimits(options.multiple, least)

    def run(self) -> list[Array]:
        """Return which channels of each row are gone in the end."""
        gone = [row.gone for row in self.rows]
        for amount in amounts(self.options):
            if self.options.scope == "layer":
                gone = self._alike(amount, gone)
            else:
                gone = self._globally(amount, gone)
        return gone

    def goes(self, amount: float) -> bool:
        """Say whether `amount` takes channels that are not gone yet, whichever these are."""
        gone = [row.gone for row in self.rows]
        if self.options.scope == "layer":
            return self._counts_alike(amount, gone) is not None
        blank = self._choose(amount, gone, [np.zeros(len(out)) for out in gone], by_cost=False)
        return not _same(blank, gone)

    def spending(self, gone: Sequence[Array]) -> CostModel:
        """Return what channels cost when those `gone` are."""
        count = not self.costs
        found: CostModel = ChannelCount(self.rows) if count else LayerCosts(self.costs, self.rows)
        for number, out in enumerate(gone):
            found.take(number, int(out.sum()))
        return found

    def _scores(self, gone: Sequence[Array]) -> list[Array]:
        wanted = masks_of(self.rows, gone, self.view)
        copy = masked_copy(self.graph, wanted)
        state = ScoringContext(copy, self.context, self.options.loss, self.options.labels)
        return self.criterion.scores(self.rows, state)

    def _globally(self, amount: float, gone: list[Array]) -> list[Array]:
        blank = self._choose(amount, gone, [np.zeros(len(out)) for out in gone], by_cost=False)
        if _same(blank, gone):
            return gone  # as far as counts go, nothing is left to do: no scores are needed
        scores = self._scores(gone)
        if self.criterion.comparable:
            return self._choose(amount, gone, scores, by_cost=bool(self.costs))
        means = [_mean(s[~out]) for s, out in zip(scores, gone, strict=True)]
        scaled = [s / m for s, m in zip(scores, means, strict=True)]
        return self._choose(amount, gone, scaled, by_cost=False)

    def _choose(
        self, amount: float, gone: Sequence[Array], scores: Sequence[Array], *, by_cost: bool
    ) -> list[Array]:
        spending = self.spending(gone)
        now = [row.without(out) for row, out in zip(self.rows, gone, strict=True)]
        return choose_globally(
            now, scores, spending, spending.whole * (1 - amount), self.rules,
            nearest=not self.costs, by_cost=by_cost,
        )  # fmt: skip

    def _alike(self, amount: float, gone: list[Array]) -> list[Array]:
        counts = self._counts_alike(amount, gone)
        if counts is None:
            return gone
        now = [row.without(out) for row, out in zip(self.rows, gone, strict=True)]
        return choose_alike(now, self._scores(gone), counts)

    def _counts_alike(self, amount: float, gone: Sequence[Array]) -> list[int] | None:
        """Return how many channels are left of each row; None where no more are left now."""
        whole = self.spending([np.zeros(len(out), bool) for out in gone])
        counts = counts_alike(self.rows, whole if self.costs else None, amount, self.rules)
        left = [int((~out).sum()) for out in gone]
        enough = all(is_ <= wanted for is_, wanted in zip(left, counts, strict=True))
        return None if enough else counts


def _same(some: Sequence[Array], others: Sequence[Array]) -> bool:
    return all(bool((a == b).all()) for a, b in zip(some, others, strict=True))


def _mean(scores: Array) -> float:
    """Return the mean of the finite `scores`, or one where it is zero."""
    finite = scores[np.isfinite(scores)]
    return float(finite.mean() or 1.0) if len(finite) else 1.0


def _tell_renormalized(job: _ChannelPruning, gone: Sequence[Array]) -> None:
    """Remark on what is masked in the statistics of normalizations, where masks are no cut."""
    rows = zip(job.rows, gone, strict=True)
    masked = [row for row, out in rows if bool((out & ~row.gone).any())]
    norms = {
        id(slot.node) for row in masked for slot in row.group.slots if slot.node.op in LAYER_NORMS
    }
    if norms:
        count = counted(len(norms), "normalization takes", "normalizations take")
        job.context.remark(
            f"{count} statistics over masked channels, as zeros; "
            "shrink-channels{across-layernorm=true} takes them out, and recover comes behind it"
        )


def _why_nothing(job: _ChannelPruning, gone: Sequence[Array]) -> str:
    """Return why nothing goes that is not gone already."""
    amount, spending = amounts(job.options)[-1], job.spending(gone)
    least = least_amount(job.goes, amount)
    taken = spending.whole - spending.left()
    if any(bool(out.any()) for out in gone) and (
        least is not None or taken >= amount * spending.whole
    ):
        return "nothing more to prune: what was asked for is masked already"
    return nothing_goes(amount, spending.whole, str(job.options.of or "channels"), least)


def _tell(job: _ChannelPruning, gone: Sequence[Array]) -> None:
    """Remark on how many channels of each group are left, and what that leaves to compute."""
    changed = [
        f"{row.name} {int((~row.gone).sum())}->{int((~out).sum())}"
        for row, out in zip(job.rows, gone, strict=True)
        if bool((out != row.gone).any())
    ]
    if not changed:
        job.context.remark(_why_nothing(job, gone), idle=True)
        return
    channels = sum(len(out) for out in gone)
    out_of_use = sum(int(out.sum()) for out in gone)
    macs = LayerCosts(costs_of(job.graph, "macs", job.rows), job.rows)
    for number, out in enumerate(gone):
        macs.take(number, int(out.sum()))
    job.context.remark(
        f"{out_of_use} of {channels} channels are masked; without them "
        f"{macs.left() / 1e6:.4g} of {macs.whole / 1e6:.4g} million MACs are left "
        f"({1 - macs.left() / max(macs.whole, 1):.1%} fewer)"
    )
    job.context.remark("channels by layer: " + ", ".join(changed))
    spending = job.spending(gone)
    wanted = amounts(job.options)[-1]
    short = 1 - spending.left() / max(spending.whole, 1)
    if job.costs and short < wanted - 1e-6:
        job.context.remark(
            f"only {short:.1%} of the {job.options.of} could go, not {wanted:.1%}: every layer is "
            "at the least that multiple, least and exclude leave it"
        )
