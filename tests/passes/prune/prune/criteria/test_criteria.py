"""Each criterion against the same thing worked out by hand, in numpy or with torch's autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

import planish
from planish.ir.core.errors import FeedError, PassError
from planish.passes.analysis.channels.find_groups import channel_groups
from planish.passes.engine.context import Context
from planish.passes.engine.node_names import NodeSelection
from planish.passes.prune.prune import Prune
from planish.passes.prune.prune.channel_units import channel_units
from planish.passes.prune.prune.criteria.criterion import ScoringContext
from planish.passes.prune.prune.criteria.table import CRITERIA
from planish.passes.prune.prune.units import read_weights, single_weights

from tests.helpers import graph_of, model_using, reasons, run_pass

RNG = np.random.default_rng(0)
CLASSES, SAMPLES = 4, 6


def normal(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def weights():
    return {
        "w": normal(6, 2, 3, 3), "b": normal(6), "g": normal(6), "h": normal(6), "m": normal(6),
        "s": RNG.uniform(0.5, 2, 6).astype(np.float32), "v": normal(8, 6, 1, 1),
        "u": normal(CLASSES, 8), "c": normal(CLASSES),
    }  # fmt: skip


@pytest.fixture(scope="module")
def model(weights):
    """Return Conv, BatchNormalization, Relu, Conv 1x1, Relu, pooling and Gemm to class scores."""
    return model_using(
        weights,
        """a = Conv <kernel_shape=[3,3]> (x, w, b)
        n = BatchNormalization <epsilon=0.01> (a, g, h, m, s) r = Relu(n)
        d = Conv <kernel_shape=[1,1]> (r, v) e = Relu(d) p = GlobalAveragePool(e) f = Flatten(p)
        y = Gemm <transB=1> (f, u, c)""",
        "float[N, 2, 6, 6] x",
    )


@pytest.fixture(scope="module")
def feeds():
    return [
        {"x": normal(SAMPLES, 2, 6, 6), "t": RNG.integers(0, CLASSES, SAMPLES)} for _ in range(3)
    ]


def network(weights, x, parameters):
    """Compute the model in torch, from tensors that gradients are wanted of."""
    p = parameters
    a = functional.conv2d(x, p["w"], p["b"])
    n = functional.batch_norm(
        a, torch.tensor(weights["m"]), torch.tensor(weights["s"]), p["g"], p["h"], eps=0.01
    )
    hidden = functional.conv2d(n.relu(), p["v"]).relu().mean((2, 3))
    return functional.linear(hidden, p["u"], p["c"])


def gradients(weights, feeds):
    """Return the gradients of the cross-entropy by hand, one dict a feed."""
    found = []
    for feed in feeds:
        p = {n: torch.tensor(weights[n], requires_grad=True) for n in "wbghvuc"}
        scores = network(weights, torch.from_numpy(feed["x"]), p)
        functional.cross_entropy(scores, torch.from_numpy(feed["t"])).backward()
        found.append({n: t.grad.numpy() for n, t in p.items()})
    return found


def bare(feeds):
    return [{"x": feed["x"]} for feed in feeds]


def state_of(graph, feeds, **kwargs):
    context = Context(graph, feeds=bare(feeds), labelled=feeds, original=graph)
    return ScoringContext(graph, context, **kwargs), context


def weight_scores(name, model, feeds, **kwargs):
    graph = planish.load(model)
    state, context = state_of(graph, feeds, **kwargs)
    view = context.view()
    rows = [single_weights(h) for h in read_weights(graph, view, context, NodeSelection())]
    scores = CRITERIA[name]().scores(rows, state)
    return {row.name: s for row, s in zip(rows, scores, strict=True)}


def channel_scores(name, model, feeds, **kwargs):
    """Return the scores of the channels that w and that v make."""
    graph = planish.load(model)
    state, context = state_of(graph, feeds, **kwargs)
    view = context.view()
    rows = [channel_units(g, view) for g in channel_groups(graph) if g.reason is None]
    scores = CRITERIA[name]().scores(rows, state)
    return {row.group.makers[0].constant.name: s for row, s in zip(rows, scores, strict=True)}


def test_l1_and_l2_of_channels_are_those_behind_the_normalization(model, weights, feeds):
    w = weights
    factor = np.abs(w["g"]) / np.sqrt(w["s"] + 0.01)
    rows = np.concatenate([w["w"].reshape(6, -1), w["b"][:, None]], axis=1) * factor[:, None]
    found = channel_scores("l1", model, feeds)
    np.testing.assert_allclose(found["w"], np.abs(rows).sum(axis=1), rtol=1e-5)
    np.testing.assert_allclose(found["v"], np.abs(w["v"]).reshape(8, -1).sum(axis=1), rtol=1e-5)
    found = channel_scores("l2", model, feeds)
    np.testing.assert_allclose(found["w"], np.sqrt((rows**2).sum(axis=1)), rtol=1e-5)


def test_a_folded_normalization_changes_no_magnitude(model, weights, feeds):
    folded = planish.Pipeline.parse("fold-batchnorm").run(planish.load(model), verify="off").graph
    before = channel_scores("l1", model, feeds)["w"]
    groups = channel_scores("l1", planish.to_model(folded), feeds)
    after = groups[next(name for name in groups if name != "v")]
    # The bias is another once the mean is in it; the weights are the same.
    w = weights
    factor = np.abs(w["g"]) / np.sqrt(w["s"] + 0.01)
    shift = (w["b"] - w["m"]) * w["g"] / np.sqrt(w["s"] + 0.01) + w["h"]
    np.testing.assert_allclose(
        before - np.abs(w["b"]) * factor, after - np.abs(shift), rtol=1e-4, atol=1e-5
    )


def test_gradient_is_the_mean_absolute_gradient(model, weights, feeds):
    each = gradients(weights, feeds)
    found = weight_scores("gradient", model, feeds, labels="t")
    for name in "wvu":
        expected = np.mean([np.abs(g[name]) for g in each], axis=0)
        np.testing.assert_allclose(found[name], expected.reshape(-1), rtol=1e-3, atol=1e-6)
    rows = channel_scores("gradient", model, feeds, labels="t")["w"]
    parts = [np.abs(g["w"]).reshape(6, -1).sum(axis=1) + np.abs(g["b"]) for g in each]
    np.testing.assert_allclose(rows, np.mean(parts, axis=0), rtol=1e-3, atol=1e-6)


def test_taylor_of_weights_is_weight_times_gradient(model, weights, feeds):
    each = gradients(weights, feeds)
    found = weight_scores("taylor", model, feeds, labels="t")
    for name in "wvu":
        expected = np.mean([np.abs(g[name] * weights[name]) for g in each], axis=0)
        np.testing.assert_allclose(found[name], expected.reshape(-1), rtol=1e-3, atol=1e-6)


def test_taylor_of_a_channel_is_taken_behind_its_normalization(model, weights, feeds):
    each = gradients(weights, feeds)
    found = channel_scores("taylor", model, feeds, labels="t")
    behind = [np.abs(weights["g"] * g["g"] + weights["h"] * g["h"]) for g in each]
    np.testing.assert_allclose(found["w"], np.mean(behind, axis=0), rtol=1e-3, atol=1e-6)
    rows = [np.abs((weights["v"] * g["v"]).reshape(8, -1).sum(axis=1)) for g in each]
    np.testing.assert_allclose(found["v"], np.mean(rows, axis=0), rtol=1e-3, atol=1e-6)


def test_taylor_predicts_what_scaling_a_channel_does(model, weights, feeds):
    """The sum is the derivative of the loss by a factor on the channel."""
    feed = feeds[0]
    found = channel_scores("taylor", model, [feed], labels="t")["w"]
    factor = torch.ones(6, requires_grad=True)
    p = {n: torch.tensor(weights[n]) for n in "wbghvuc"}
    p["g"], p["h"] = p["g"] * factor, p["h"] * factor
    scores = network(weights, torch.from_numpy(feed["x"]), p)
    functional.cross_entropy(scores, torch.from_numpy(feed["t"])).backward()
    np.testing.assert_allclose(found, factor.grad.abs().numpy(), rtol=1e-3, atol=1e-6)


def test_a_loss_from_python_is_taken(model, weights, feeds):
    def loss(outputs, feed):
        return (outputs["y"] * torch.from_numpy(feed["t"])[:, None]).sum()

    found = weight_scores("gradient", model, feeds, loss=loss, labels="t")["u"]
    expected = []
    for feed in feeds:
        p = {n: torch.tensor(weights[n], requires_grad=n == "u") for n in "wbghvuc"}
        scores = network(weights, torch.from_numpy(feed["x"]), p)
        (scores * torch.from_numpy(feed["t"])[:, None]).sum().backward()
        expected.append(p["u"].grad.abs().numpy())
    np.testing.assert_allclose(found, np.mean(expected, axis=0).reshape(-1), rtol=1e-3, atol=1e-5)


def test_without_labels_the_squared_gradients_approach_the_fisher_information(model, weights):
    """At the teacher itself scores are not zero: their squares are the Fisher information."""
    x = normal(1, 2, 6, 6)
    many = [{"x": x}] * 600
    graph = planish.load(model)
    state, context = state_of(graph, many)
    view = context.view()
    rows = [single_weights(h) for h in read_weights(graph, view, context, NodeSelection())]
    found = CRITERIA["gradient"]().scores(rows, state)[-1]
    # E |dL/dw| over classes drawn from the softmax, all classes gone through.
    expected = 0
    p = {n: torch.tensor(weights[n], requires_grad=n == "u") for n in "wbghvuc"}
    scores = network(weights, torch.from_numpy(x), p)
    chances = scores.detach().softmax(1)[0]
    for number, chance in enumerate(chances):
        p["u"].grad = None
        functional.cross_entropy(scores, torch.tensor([number])).backward(retain_graph=True)
        expected = expected + float(chance) * p["u"].grad.abs().numpy()
    assert expected.max() > 0
    assert np.abs(found - expected.reshape(-1)).max() <= 0.2 * expected.max()


def test_without_labels_outputs_that_are_no_classes_get_noisy_targets(feeds):
    model = model_using({"w": normal(3, 2, 1, 1)}, "y = Conv(x, w)", "float[N, 2, 6, 6] x")
    found = weight_scores("taylor", model, bare(feeds))["w"]
    assert (found > 0).all()
    again = weight_scores("taylor", model, bare(feeds))["w"]
    np.testing.assert_array_equal(found, again)


def test_a_softmax_at_the_end_is_no_second_softmax(weights, feeds):
    text = "d = MatMul(x, k) y = {}"
    held = {"k": normal(5, CLASSES)}
    data = [{"x": normal(SAMPLES, 5), "t": feed["t"]} for feed in feeds]
    scores = [
        weight_scores(
            "gradient", model_using(held, text.format(last), "float[N, 5] x"), data, labels="t"
        )["k"]
        for last in ("Identity(d)", "Softmax(d)")
    ]
    np.testing.assert_allclose(*scores, rtol=1e-4, atol=1e-6)


def activities(weights, feeds):
    """Return what the channels of w and v are behind their Relu, [channels, values]."""
    first, second = [], []
    for feed in feeds:
        x = torch.from_numpy(feed["x"])
        t = {n: torch.tensor(w) for n, w in weights.items()}
        a = functional.conv2d(x, t["w"], t["b"])
        a = functional.batch_norm(a, t["m"], t["s"], t["g"], t["h"], eps=0.01).relu()
        first.append(a.transpose(0, 1).reshape(6, -1).numpy())
        second.append(functional.conv2d(a, t["v"]).relu().transpose(0, 1).reshape(8, -1).numpy())
    return np.concatenate(first, axis=1), np.concatenate(second, axis=1)


def test_activity_is_measured_behind_the_activation_function(model, weights, feeds):
    first, second = activities(weights, feeds)
    found = channel_scores("activation", model, feeds)
    np.testing.assert_allclose(found["w"], first.mean(axis=1), rtol=1e-4)
    np.testing.assert_allclose(found["v"], second.mean(axis=1), rtol=1e-4)
    found = channel_scores("apoz", model, feeds)
    np.testing.assert_allclose(found["w"], (first != 0).mean(axis=1), atol=1e-3)
    np.testing.assert_allclose(found["v"], (second != 0).mean(axis=1), atol=1e-3)


def test_activity_of_a_residual_is_that_of_the_sum(feeds):
    weights = {"w": normal(2, 2, 1, 1), "k": normal(3, 2, 1, 1), "q": normal(2, 2, 1, 1)}
    model = model_using(
        weights,
        "s = Conv(x, q) a = Conv(s, w) b = Add(a, s) r = Relu(b) y = Conv(r, k)",
        "float[N, 2, 6, 6] x",
    )
    found = channel_scores("activation", model, bare(feeds))
    (scores,) = found.values()
    x = np.concatenate([feed["x"] for feed in feeds])

    def conv(x, w):
        return np.einsum("nchw,mc->nmhw", x, w[..., 0, 0])

    stem = conv(x, weights["q"])
    total = np.maximum(conv(stem, weights["w"]) + stem, 0)
    # The stem is read twice, so that it counts as it is; the other maker behind the sum.
    expected = (np.abs(stem).mean((0, 2, 3)) + total.mean((0, 2, 3))) / 2
    np.testing.assert_allclose(scores, expected, rtol=1e-4)


def test_bn_scale_is_that_of_the_normalization_behind(model, weights):
    result = run_pass(
        planish.load(model),
        "prune{criterion=bn-scale,granularity=channel,amount=0.5,multiple=1}",
        verify="off",
    )
    assert reasons(result) >= {"no BatchNormalization follows; prune before fold-batchnorm"}
    mask = next(t.values for n in result.graph.nodes for t in n.inputs if t.name == "w_mask")
    order = np.argsort(np.abs(weights["g"]))
    assert mask.shape == (6, 1, 1, 1)
    assert set(np.flatnonzero(mask.reshape(-1) == 0)) == set(order[:3])


def test_later_steps_see_the_masks_of_those_before(model, feeds):
    """Scores that look at data are taken anew: in two steps another set goes than at once."""

    def gone(options):
        result = planish.Pipeline.parse(f"prune{{criterion=taylor,amount=0.8,{options}labels=t}}")
        graph = result.run(planish.load(model), feeds, verify="off").graph
        return {
            t.name: np.broadcast_to(t.values, n.inputs[0].values.shape) == 0
            for n in graph.nodes for t in n.inputs if t.name.endswith("_mask")
        }  # fmt: skip

    once, twice = gone(""), gone("steps=4,")
    assert sum(m.sum() for m in once.values()) == sum(m.sum() for m in twice.values())
    assert any((once[n] != twice[n]).any() for n in once)


@pytest.mark.parametrize("criterion", ["gradient", "taylor", "activation", "apoz"])
def test_the_same_amount_again_looks_at_no_data(model, feeds, criterion):
    granularity = "weight" if criterion in ("gradient", "taylor") else "channel,multiple=1"
    text = f"prune{{criterion={criterion},granularity={granularity},amount=0.5}}"
    first = planish.Pipeline.parse(text).run(planish.load(model), bare(feeds), verify="off")
    assert first.edits > 0

    class Unread(list):
        def __iter__(self):
            raise AssertionError("the feeds were read")

    context = Context(first.graph, feeds=Unread())
    Prune(
        criterion=criterion,
        granularity=granularity.partition(",")[0],
        multiple=1 if granularity.startswith("channel") else None,
        amount=0.5,
    ).run(first.graph, context)
    assert context.edits == 0


def test_a_loss_from_python_is_handed_the_labels_in_a_pipeline(model, feeds):
    def loss(outputs, feed):
        return functional.cross_entropy(outputs["y"], torch.from_numpy(feed["t"]))

    def masks(**options):
        pipeline = planish.Pipeline((Prune(criterion="taylor", labels="t", **options),))
        graph = pipeline.run(planish.load(model), feeds, verify="off").graph
        return [t.values for n in graph.nodes for t in n.inputs if t.name.endswith("_mask")]

    for given, own in zip(masks(loss=loss), masks(), strict=True):
        np.testing.assert_array_equal(given, own)


def test_a_teacher_with_other_outputs_is_refused(model, feeds):
    graph = planish.load(model)
    other = model_using({}, "y = Identity(x)", "float[N, 2, 6, 6] x")
    context = Context(graph, feeds=bare(feeds), original=planish.load(other))
    with pytest.raises(PassError, match="output 'y' is not what the original graph gives"):
        Prune(criterion="taylor").run(graph, context)


def test_labels_that_do_not_fit_are_refused(model, feeds):
    def run(labels):
        data = [{"x": feed["x"], "t": labels} for feed in feeds]
        planish.Pipeline.parse("prune{criterion=taylor,labels=t}").run(
            planish.load(model), data, verify="off"
        )

    with pytest.raises(FeedError, match="entry 't' of the feeds is float64; labels are integers"):
        run(np.zeros(SAMPLES))
    with pytest.raises(FeedError, match="labels from 9 to 9; output 'y' has 4 classes"):
        run(np.full(SAMPLES, 9))
    with pytest.raises(PassError, match="no output has the scores of 2 samples"):
        run(np.zeros(2, np.int64))


def test_a_loss_of_no_weight_is_refused(model, feeds):
    with pytest.raises(PassError, match="the loss does not depend on any weight"):
        weight_scores("taylor", model, feeds, loss=lambda outputs, feed: torch.zeros(()))


def test_an_unused_layer_has_no_gradient(feeds):
    graph = graph_of(
        "g (float[N, 2] x) => (float[N, 2] y) { z = MatMul(x, v) y = MatMul(x, w) }",
        {"w": normal(2, 2), "v": normal(2, 2)},
    )
    data = [{"x": normal(3, 2), "t": np.array([0, 1, 1])}]
    state, context = state_of(graph, data, labels="t")
    view = context.view()
    rows = [single_weights(h) for h in read_weights(graph, view, context, NodeSelection())]
    found = CRITERIA["gradient"]().scores(rows, state)
    assert (found[0] == 0).all()
    assert (found[1] > 0).all()
