"""prune and apply-masks over random networks."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import planish
from planish.ir.ops.masks import read_masked
from planish.passes.analysis.channels.find_groups import channel_groups
from planish.passes.engine.context import Context
from planish.passes.engine.node_names import NodeSelection
from planish.passes.prune.prune.channel_units import channel_units
from planish.passes.prune.prune.choose_channels import ChannelLimits, next_count
from planish.passes.prune.prune.units import read_weights
from planish.passes.trust.rounding import measure_rounding

from tests.effort import examples
from tests.helpers import relative_error, run_ort
from tests.passes.prune.prune.noise import with_garbage
from tests.strategies import networks
from tests.strategies.masks import STEPS as MASKS
from tests.strategies.pruning import STEPS as GROUPS

_SETTINGS = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
_AMOUNTS = st.sampled_from((0.0, 0.2, 0.5, 0.77, 0.9))


def finite(case):
    return {name: np.nan_to_num(x, posinf=9.0, neginf=-9.0) for name, x in case.feeds.items()}


def error_of(before, after, graph, feeds):
    """Return the largest error of any output, in units of what rounding may do."""
    expected = run_ort(planish.to_model(before), feeds)
    found = run_ort(planish.to_model(after), feeds)
    assert list(found) == list(expected)
    error = max((relative_error(expected[n], found[n]) for n in expected), default=0.0)
    if error > 1e-5:
        error /= max(10 * measure_rounding(graph, [feeds], [expected], seed=0) / 1e-5, 1.0)
    return error


def layers_of(graph):
    context = Context(graph)
    view = context.view()
    return [prunable[0] for prunable in read_weights(graph, view, context, NodeSelection())]


@given(
    case=networks(patterns=(*MASKS, *GROUPS), most_steps=8),
    amount=_AMOUNTS,
    scope=st.sampled_from(("global", "layer")),
    criterion=st.sampled_from(("l1", "l2", "random")),
    steps=st.sampled_from((1, 3)),
)
@settings(_SETTINGS, max_examples=examples(60))
def test_the_amount_is_exact_and_masks_bake_exactly(case, amount, scope, criterion, steps):
    graph = planish.load(case.model)
    text = f"prune{{amount={amount},scope={scope},criterion={criterion},steps={steps}}}"
    pipeline = planish.Pipeline.parse(text)
    before = layers_of(graph)
    whole = sum(prunable.values.size for prunable in before)
    if amount and before and round(amount * whole) >= whole:
        return  # refused: of so few weights that leaves none
    after = pipeline.run(graph, verify="off").graph
    found = {prunable.name: prunable for prunable in layers_of(after)}
    assert set(found) == {prunable.name for prunable in before}
    gone = {n: int((~prunable.stays()).sum()) for n, prunable in found.items()}
    was = {prunable.name: int((~prunable.stays()).sum()) for prunable in before}
    free = {n: prunable.values.size - 1 for n, prunable in found.items()}  # one of each stays
    if scope == "layer":
        for name, prunable in found.items():
            wanted = min(round(amount * prunable.values.size), free[name])
            assert gone[name] == max(wanted, was[name])
    elif before:
        wanted = min(round(amount * whole), sum(max(free[n], was[n]) for n in free))
        assert sum(gone.values()) == max(wanted, sum(was.values()))
    assert pipeline.run(after, verify="off").edits == 0
    baked = planish.Pipeline.parse("apply-masks").run(after, verify="off").graph
    assert not any(
        read_masked(node) and node.outputs[0] not in baked.outputs for node in baked.nodes
    )
    assert error_of(after, baked, after, finite(case)) <= 1e-5


@given(case=networks(patterns=(*MASKS, *GROUPS), most_steps=8), of=st.sampled_from((2, 4)))
@settings(_SETTINGS, max_examples=examples(30))
def test_at_most_n_of_m_stay(case, of):
    graph = planish.load(case.model)
    pipeline = planish.Pipeline.parse(f"prune{{granularity=1:{of}}}")
    result = pipeline.run(graph, verify="off")
    for prunable in layers_of(result.graph):
        stays = prunable.stays()
        match prunable.node.op:
            case "Conv":
                inputs_last = np.moveaxis(stays, 1, -1)
            case "ConvTranspose":
                group = prunable.node.attrs.get("group", 1)
                split = stays.reshape(group, -1, *stays.shape[1:])
                inputs_last = np.moveaxis(split, 1, -1)
            case _:
                inputs_last = stays if prunable.node.attrs.get("transB", 0) else stays.T
        if inputs_last.shape[-1] % of == 0:
            assert inputs_last.reshape(-1, of).sum(axis=1).max() <= 1
    assert pipeline.run(result.graph, verify="off").edits == 0
    run_ort(planish.to_model(result.graph), finite(case))


@given(
    case=networks(patterns=(*GROUPS, *MASKS), most_steps=8),
    amount=_AMOUNTS,
    scope=st.sampled_from(("global", "layer")),
    of=st.sampled_from(("channels", "macs", "weights")),
    multiple=st.sampled_from((1, 2, 4)),
    criterion=st.sampled_from(("l2", "random", "activation")),
)
@settings(_SETTINGS, max_examples=examples(100))
def test_nothing_depends_on_channels_that_are_out(case, amount, scope, of, multiple, criterion):
    graph = planish.load(case.model)
    feeds = finite(case)
    text = (
        f"prune{{granularity=channel,amount={amount},scope={scope},of={of},multiple={multiple},"
        f"criterion={criterion},least=0}}"
    )
    pipeline = planish.Pipeline.parse(text)
    result = pipeline.run(graph, [feeds], verify="off")
    assert pipeline.run(result.graph, [feeds], verify="off").edits == 0
    assert error_of(result.graph, with_garbage(result.graph), result.graph, feeds) <= 1e-5
    context = Context(result.graph)
    view = context.view(result.graph)
    rows = [channel_units(g, view) for g in channel_groups(result.graph) if not g.reason]
    # Masks that were there before may lie as they like; such groups are left alone.
    were_uneven = any("unevenly" in decline.reason for decline in result.records[0].declined)
    for row in rows:
        for balance in row.group.balance:
            counts = np.bincount(balance[row.gone], minlength=int(balance.max()) + 1)
            if result.edits and not were_uneven:
                assert (counts == counts[0]).all()
    if of == "channels" and scope == "global" and not result.records[0].declined and rows:
        rules = ChannelLimits(multiple, 0)
        whole = sum(row.group.channels for row in rows)
        gone = sum(int(row.gone.sum()) for row in rows)
        left = [int((~row.gone).sum()) for row in rows]
        steps = [n - next_count(row, n, rules) for row, n in zip(rows, left, strict=True)]
        more = min((step for step in steps if step), default=None)
        if more is not None:  # one more step would be farther from what was asked for
            assert amount * whole - gone < more / 2 + 1e-6
