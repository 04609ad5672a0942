"""The criterion `reconstruction`: what readers of a channel lose, against least squares by hand."""

import numpy as np
import pytest

import planish
from planish.ir.core.errors import FeedError
from planish.passes.analysis.channels.find_groups import channel_groups
from planish.passes.engine.context import Context
from planish.passes.prune.prune.criteria import elimination
from planish.passes.prune.prune.criteria.reconstruction import reconstruction_scores

from tests.helpers import graph_of, reasons

GENERATOR = np.random.default_rng(7)


def normal(*shape):
    return GENERATOR.standard_normal(shape).astype(np.float32)


def feeds(*shape, count=60):
    return [{"x": normal(*shape)} for _ in range(count)]


W, U, V = normal(6, 3, 1, 1), normal(4, 6, 1, 1), normal(6, 6, 3, 3)
CHAIN = """g (float[N, 3, 6, 6] x) => (float[N, 4, 6, 6] y) {
    a = Conv(x, w) b = Relu(a) y = Conv(b, u) }"""


def scores_of(graph, data, seed=0):
    groups = [g for g in channel_groups(graph) if g.reason is None]
    return reconstruction_scores(groups, graph, data, Context(graph, data, seed=seed)), groups


def test_the_first_score_is_the_error_of_least_squares(monkeypatch):
    monkeypatch.setattr(elimination, "shrinkage", lambda moment, samples: 0.0)
    monkeypatch.setattr(elimination, "_RIDGE", 1e-9)
    graph = graph_of(CHAIN, {"w": W, "u": U})
    data = feeds(2, 3, 6, 6, count=40)
    (scores,), _ = scores_of(graph, data)
    x = np.concatenate([feed["x"] for feed in data])
    b = np.maximum(np.einsum("oi,nihw->onhw", W[:, :, 0, 0], x), 0).reshape(6, -1)
    y = U[:, :, 0, 0] @ b
    errors = []
    for channel in range(6):
        rest = np.delete(b, channel, axis=0)
        design = np.vstack([rest, np.ones(rest.shape[1])])
        best = np.linalg.lstsq(design.T, y.T, rcond=None)[0]
        left = ((y - best.T @ design) ** 2).mean(axis=1)
        errors.append(float((left / (y.var(axis=1) + 0.01 * y.var(axis=1).mean())).mean()))
    first = int(np.argmin(scores))
    assert first == int(np.argmin(errors))
    assert scores[first] == pytest.approx(errors[first], rel=1e-3)
    assert np.isinf(scores).sum() == 1  # the last to go


def test_a_channel_that_another_stands_in_for_goes_first():
    weight = W.copy()
    weight[4] = 0.5 * weight[2]
    graph = graph_of(CHAIN, {"w": weight, "u": U})
    (scores,), _ = scores_of(graph, feeds(2, 3, 6, 6))
    order = np.argsort(scores)
    assert order[0] in (2, 4)
    assert scores[order[0]] < 0.1 * scores[order[1]]


def test_errors_in_a_small_branch_count_less():
    text = """g (float[N, 3, 6, 6] x) => (float[N, 6, 6, 6] y) {
        s = Conv(x, w) b = Relu(s) t = Conv(b, p) r = Relu(t) c = Conv <pads = [1, 1, 1, 1]> (r, v)
        z = Add(s, c) y = Conv(z, q) }"""
    weights = {"w": W, "p": normal(6, 6, 1, 1), "q": normal(6, 6, 1, 1)}
    data = feeds(2, 3, 6, 6)
    found = {}
    for size in (0.001, 1.0):
        graph = graph_of(text, weights | {"v": (size * V).astype(np.float32)})
        scores, groups = scores_of(graph, data)
        inner = next(i for i, g in enumerate(groups) if g.readers[0].node.outputs[0].name == "c")
        found[size] = scores[inner][np.isfinite(scores[inner])].sum()
    assert found[0.001] < 1e-3 * found[1.0]


def test_masked_channels_cost_nothing_and_stay_first():
    graph = graph_of(CHAIN, {"w": W, "u": U})
    data = feeds(2, 3, 6, 6)
    text = "prune{criterion=reconstruction,granularity=channel,amount=0.34,multiple=1,of=channels}"
    masked = planish.Pipeline.parse(text).run(graph, data, verify="off").graph
    (scores,), _ = scores_of(masked, data)
    assert (scores < 1e-9).sum() == 2


def test_prune_takes_what_hurts_least_and_is_the_same_twice():
    graph = graph_of(CHAIN, {"w": W, "u": U})
    data = feeds(2, 3, 6, 6)
    text = "prune{criterion=reconstruction,granularity=channel,amount=0.5,multiple=1,of=channels}"
    results = [planish.Pipeline.parse(text).run(graph, data, verify="off", seed=3) for _ in "ab"]
    first, second = (planish.to_model(r.graph).SerializeToString() for r in results)
    assert first == second
    (scores,), _ = scores_of(graph, data, seed=3)
    mask = next(t.values for n in results[0].graph.nodes for t in n.inputs if t.name == "u_mask")
    gone = np.flatnonzero(~mask.any(axis=(0, 2, 3)))
    assert len(gone) == 3
    assert set(gone) == set(np.argsort(scores)[:3])
    again = planish.Pipeline.parse(text).run(results[0].graph, data, verify="off", seed=3)
    assert again.edits == 0


def test_it_is_refused_without_feeds_and_declines_what_no_layer_reads():
    text = "prune{criterion=reconstruction,granularity=channel,amount=0.5}"
    graph = graph_of(CHAIN, {"w": W, "u": U})
    with pytest.raises(FeedError, match="criterion reconstruction"):
        planish.Pipeline.parse(text).run(graph)
    unread = graph_of(
        "g (float[N, 3, 6, 6] x) => (float[N, 1, 1, 1] y) { a = Conv(x, w) b = GlobalMaxPool(a)"
        " c = ReduceMax <axes = [1]> (b) y = Relu(c) }",
        {"w": W},
    )
    result = planish.Pipeline.parse(text).run(unread, feeds(2, 3, 6, 6), verify="off")
    assert result.edits == 0
    assert reasons(result)
