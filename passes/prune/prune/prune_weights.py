"""Pruning single weights, N of M in a row, and kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.errors import RefusedError
from ....ir.graph.view import View
from ...analysis.cost import cost
from ...engine.context import Context
from .choose_weights import choose, lamp, n_of_m
from .criteria.criterion import Array, Criterion, ScoringContext
from .masked_copy import masked_copy
from .masked_weights import write_masks
from .nothing_goes import least_amount, no_layer_can, nothing_goes
from .options import PruneOptions, amounts, read_ratio
from .units import WeightUnits, kernels, read_weights, single_weights, to_blocks

_ALL_BUT_NONE = 0.999
_ONE_TAP = "its kernels are single weights; granularity=weight prunes those"


def prune_weights(
    graph: gs.Graph, context: Context, options: PruneOptions, criterion: Criterion
) -> None:
    """Mask weights of the layers of `graph`."""
    view = context.view()
    rows = _rows(graph, view, context, options)
    if not rows:
        context.remark(no_layer_can("weights", context.declined), idle=True)
        return
    before = [row.gone for row in rows]
    ratio = read_ratio(options.granularity)
    if ratio is not None:
        gone = _n_of_m(
            rows, criterion, ScoringContext(graph, context, options.loss, options.labels), *ratio
        )
    else:
        gone = _by_amount(graph, rows, context, options, criterion)
    _tell(graph, rows, before, gone, context, options)
    wanted = [
        (prunable, row.mask(out))
        for row, out in zip(rows, gone, strict=True)
        for prunable in row.uses
    ]
    with context.editing() as edit:
        write_masks(edit, wanted)


def _rows(
    graph: gs.Graph, view: View, context: Context, options: PruneOptions
) -> list[WeightUnits]:
    ratio = read_ratio(options.granularity)
    rows = []
    for prunable in read_weights(graph, view, context, options):
        if options.granularity == "kernel":
            row = kernels(prunable)
            if row is None:
                context.decline(prunable[0].node, _ONE_TAP)
                continue
            rows.append(row)
            continue
        if ratio is not None:
            inputs = to_blocks(prunable[0].node, prunable[0].values).shape[2]
            if inputs % ratio[1]:
                context.decline(
                    prunable[0].node, f"its {inputs} inputs are no multiple of {ratio[1]}"
                )
                continue
        rows.append(single_weights(prunable))
    return rows


def _n_of_m(
    rows: Sequence[WeightUnits], criterion: Criterion, state: ScoringContext, stay: int, of: int
) -> list[Array]:
    """Return what is gone, scored only where something has to go."""
    gone = [row.blocks(row.gone.reshape(row.uses[0].values.shape)) != 0 for row in rows]
    blank = [np.zeros(g.shape) for g in gone]
    full = [
        bool((n_of_m(zero, g, stay, of) == g).all()) for zero, g in zip(blank, gone, strict=True)
    ]
    if all(full):
        return [row.gone for row in rows]
    scores = criterion.scores(rows, state)
    found = []
    for row, score, out in zip(rows, scores, gone, strict=True):
        blocks = row.blocks(score.reshape(row.uses[0].values.shape))
        chosen = n_of_m(blocks, out, stay, of)
        found.append(~row.mask_of_blocks(~chosen).reshape(-1))
    return found


def _by_amount(
    graph: gs.Graph,
    rows: Sequence[WeightUnits],
    context: Context,
    options: PruneOptions,
    criterion: Criterion,
) -> list[Array]:
    gone = [row.gone for row in rows]
    sizes = [row.size for row in rows]
    totals = [len(row.gone) * row.size for row in rows]
    least = [_floor(row, options) for row in rows]
    parts = _parts(rows, options)
    for amount in amounts(options):
        whole = sum(totals)
        if amount > 0 and round(amount * whole) >= whole:
            raise RefusedError(
                f"amount is {amount}, which of {whole} weights leaves none; give less"
            )
        counts = [round(amount * sum(totals[n] for n in part)) for part in parts]
        masked = [sum(int(gone[n].sum()) * sizes[n] for n in part) for part in parts]
        if all(2 * (c - m) < min(sizes) for c, m in zip(counts, masked, strict=True)):
            continue  # what is asked for is gone already
        now = [row.without(out) for row, out in zip(rows, gone, strict=True)]
        wanted = [(prunable, row.mask(row.gone)) for row in now for prunable in row.uses]
        state = ScoringContext(masked_copy(graph, wanted), context, options.loss, options.labels)
        scores = criterion.scores(now, state)
        if not criterion.comparable and options.scope == "global":
            scores = [lamp(s, out) for s, out in zip(scores, gone, strict=True)]
        for part, count in zip(parts, counts, strict=True):
            found = choose(
                [scores[n] for n in part], [gone[n] for n in part], [sizes[n] for n in part],
                [least[n] for n in part], count,
            )  # fmt: skip
            for n, out in zip(part, found, strict=True):
                gone[n] = out
    return gone


def _why_nothing(rows: Sequence[WeightUnits], gone: Sequence[Array], options: PruneOptions) -> str:
    """Return why nothing goes that is not gone already."""
    if read_ratio(options.granularity) is not None or any(bool(out.any()) for out in gone):
        return "nothing more to prune: what was asked for is masked already"
    sizes = [row.size for row in rows]
    totals = [len(row.gone) * row.size for row in rows]
    parts = _parts(rows, options)
    blank = [np.zeros(len(row.gone)) for row in rows]

    def goes(amount: float) -> bool:
        return any(
            bool(np.any(found))
            for part in parts
            for found in choose(
                [blank[n] for n in part], [gone[n] for n in part], [sizes[n] for n in part],
                [_floor(rows[n], options) for n in part],
                round(min(amount, _ALL_BUT_NONE) * sum(totals[n] for n in part)),
            )
        )  # fmt: skip

    amount = amounts(options)[-1]
    return nothing_goes(amount, float(sum(totals)), "weights", least_amount(goes, amount))


def _parts(rows: Sequence[WeightUnits], options: PruneOptions) -> list[list[int]]:
    """Return which rows compete with one another."""
    places = range(len(rows))
    return [[n] for n in places] if options.scope == "layer" else [list(places)]


def _floor(row: WeightUnits, options: PruneOptions) -> int:
    """Return how many units of a row stay at least."""
    return max(1, math.ceil((options.least or 0) * len(row.gone)))


def _tell(
    graph: gs.Graph,
    rows: Sequence[WeightUnits],
    before: Sequence[Array],
    gone: Sequence[Array],
    context: Context,
    options: PruneOptions,
) -> None:
    """Remark on how many weights of each layer are gone, and what that leaves to multiply."""
    macs = {id(n): c.macs or 0 for n, c in zip(graph.nodes, cost(graph).nodes, strict=True)}
    lines, left, whole, weights, total = [], 0.0, sum(macs.values()), 0, 0
    for row, was, out in zip(rows, before, gone, strict=True):
        part = float(out.mean())
        own = sum(macs.get(id(prunable.node), 0) for prunable in row.uses)
        left -= own * part
        weights += int(out.sum()) * row.size
        total += len(out) * row.size
        if bool((out != was).any()):
            lines.append(f"{row.name} {part:.0%}")
    if not lines:
        context.remark(_why_nothing(rows, gone, options), idle=True)
        return
    left += whole
    context.remark(
        f"{weights} of {total} weights are masked ({weights / total:.1%}); "
        f"{left / 1e6:.3g} of {whole / 1e6:.3g} million MACs meet weights that are not"
    )
    context.remark("masked by layer: " + ", ".join(lines))
