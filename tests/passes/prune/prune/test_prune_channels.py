"""prune{granularity=channel}: whole groups, the cost that is left, what stays."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.ir.core.variables import dense_values, node_key
from planish.ir.ops.masks import read_masked
from planish.passes.analysis.cost import cost
from planish.passes.prune.prune.channel_units import unit_of

from tests.helpers import graph_of, model_using, reasons, relative_error, run_ort, run_pass
from tests.passes.prune.prune.noise import units_of, with_garbage

RNG = np.random.default_rng(0)


def normal(*shape):
    return (RNG.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32)


def residual():
    """Return a stem, a residual block with a depthwise layer, and a head behind a Flatten."""
    weights = {
        "s": normal(16, 3, 3, 3), "sb": normal(16), "e": normal(32, 16, 1, 1), "eb": normal(32),
        "d": normal(32, 1, 3, 3), "p": normal(16, 32, 1, 1), "u": normal(5, 16 * 9),
        "g": normal(32), "h": normal(32), "m": normal(32),
        "v": RNG.uniform(0.5, 2, 32).astype(np.float32),
    }  # fmt: skip
    return model_using(
        weights,
        """a = Conv <kernel_shape=[3,3], pads=[1,1,1,1]> (x, s, sb) r = Relu(a)
        b = Conv <kernel_shape=[1,1]> (r, e, eb) n = BatchNormalization(b, g, h, m, v) q = Relu(n)
        c = Conv <kernel_shape=[3,3], pads=[1,1,1,1], group=32> (q, d)
        k = Conv <kernel_shape=[1,1]> (c, p) t = Add(k, r)
        z = MaxPool <kernel_shape=[2,2], strides=[2,2]> (t) f = Flatten(z)
        y = Gemm <transB=1> (f, u)""",
        "float[N, 3, 6, 6] x",
    )


def macs(stem, inner):
    """Return the multiply-accumulates of the residual network with so many channels."""
    return 36 * (27 * stem + 2 * stem * inner + 9 * inner) + 45 * stem


def prune(model, options, **kwargs):
    kwargs.setdefault("verify", "off")
    graph = model if not hasattr(model, "graph") else planish.load(model)
    return run_pass(graph, f"prune{{granularity=channel,{options}}}", **kwargs)


def left(graph):
    """Return how many channels are left of each group, by the name of what makes it."""
    return {name: int((~row.gone).sum()) for name, row in units_of(graph).items()}


def test_a_channel_is_out_wherever_it_stands():
    model = residual()
    result = prune(model, "amount=0.25,multiple=4,scope=layer")
    rows = units_of(result.graph)
    assert [int(row.gone.sum()) for row in rows.values()] == [4, 8]
    shapes = {}
    for node in result.graph.nodes:
        masked = read_masked(node)
        if masked is not None:
            shapes[masked.weight.name] = masked.mask.values.shape
    assert shapes == {
        "s": (16, 1, 1, 1), "sb": (16,), "e": (32, 16, 1, 1), "eb": (32,), "d": (32, 1, 1, 1),
        "p": (16, 32, 1, 1), "u": (1, 144),
    }  # fmt: skip


def test_what_makes_a_masked_channel_does_not_matter():
    graph = prune(residual(), "amount=0.5,multiple=1").graph
    x = {"x": normal(2, 3, 6, 6)}
    expected = run_ort(planish.to_model(graph), x)["y"]
    noisy = with_garbage(graph)
    assert relative_error(expected, run_ort(planish.to_model(noisy), x)["y"]) <= 1e-6


def test_the_channels_with_the_lowest_scores_go():
    weights = {"w": normal(8, 2, 1, 1), "v": normal(3, 8, 1, 1)}
    model = model_using(weights, "a = Conv(x, w) y = Conv(a, v)", "float[1, 2, 3, 3] x")
    result = prune(model, "amount=0.5,multiple=1,criterion=l1")
    (row,) = units_of(result.graph).values()
    order = np.argsort(np.abs(weights["w"]).reshape(8, -1).sum(axis=1))
    assert set(np.flatnonzero(row.gone)) == set(order[:4])


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("amount", [0.1, 0.3, 0.5])
def test_macs_fall_by_what_is_asked_for_and_are_counted_exactly(scope, amount):
    model = residual()
    before = cost(planish.load(model), {"N": 1}).macs
    result = prune(model, f"amount={amount},of=macs,multiple=1,least=0,scope={scope}")
    shrunk = {n: int((~r.gone).sum()) for n, r in units_of(result.graph).items()}
    stem, inner = shrunk.values()
    after = macs(stem, inner)
    assert (
        f"{after / 1e6:.4g} of {before / 1e6:.4g} million MACs are left"
        in (result.records[0].remarks[0])
    )
    assert after <= before * (1 - amount)
    # One channel of whichever layer more is less than this.
    assert after > before * (1 - amount) - 36 * (27 + 2 * 32 + 9) - 45


def test_an_amount_of_weights_is_one_of_weights():
    model = residual()
    result = prune(model, "amount=0.4,of=weights,multiple=1,least=0")
    stem, inner = left(result.graph).values()

    def weights(stem, inner):
        return 27 * stem + 2 * stem * inner + 9 * inner + 45 * stem

    assert weights(stem, inner) <= 0.6 * weights(16, 32)


def test_numbers_of_channels_are_multiples():
    model = residual()
    assert all(n % 4 == 0 for n in left(prune(model, "amount=0.6,multiple=4").graph).values())
    # By default the largest of 16, 8, 4, 2 that is at most a quarter of the width.
    found = left(prune(model, "amount=0.6").graph)
    assert [n % m for n, m in zip(found.values(), (4, 8), strict=True)] == [0, 0]


@pytest.mark.parametrize(
    ("channels", "cells", "multiple", "unit"),
    [
        (64, 1, None, 16), (63, 1, None, 8), (32, 1, None, 8), (16, 1, None, 4), (8, 1, None, 2),
        (7, 1, None, 1), (64, 4, None, 16), (48, 3, None, 12), (12, 3, None, 3),
        (64, 1, 1, 1), (64, 3, 8, 24),
    ],
)  # fmt: skip
def test_the_multiple_follows_the_width(channels, cells, multiple, unit):
    assert unit_of(channels, cells, multiple) == unit


def test_a_layer_keeps_its_least():
    model = residual()
    kept = left(prune(model, "amount=0.99,multiple=1").graph)
    assert list(kept.values()) == [2, 4]  # a tenth, rounded up
    kept = left(prune(model, "amount=0.99,multiple=1,least=0").graph)
    assert all(n >= 1 for n in kept.values())
    kept = left(prune(model, "amount=0.9,multiple=1,least=0.5").graph)
    assert list(kept.values()) == [8, 16]


def test_what_cannot_be_reached_is_said():
    result = prune(residual(), "amount=0.95,of=macs,least=0.5")
    assert result.records[0].remarks[-1].startswith("only ")
    assert "of the macs could go, not 95.0%" in result.records[0].remarks[-1]


def test_channels_of_excluded_layers_stay():
    model = residual()
    graph = planish.load(model)
    stem = node_key(graph.nodes[0])
    found = left(prune(model, f"amount=0.5,multiple=1,exclude={stem}").graph)
    assert list(found.values()) == [16, 16]


def test_what_is_shown_or_fed_cannot_shrink():
    weights = {"w": normal(8, 3, 1, 1), "v": normal(6, 8, 1, 1)}
    model = model_using(weights, "a = Conv(x, w) y = Conv(a, v)", "float[1, 3, 3, 3] x")
    result = prune(model, "amount=0.5")
    assert "its output is a graph output" in reasons(result)
    assert list(left(result.graph).values()) == [4]
    shown = model_using(
        weights, "a = Conv(x, w) y = Conv(a, v)", "float[1, 3, 3, 3] x", outputs="float[] a, "
    )
    result = prune(shown, "amount=0.5")
    assert result.edits == 0
    assert reasons(result) == {"its output is a graph output"}
    assert result.records[0].remarks == (
        "there is nothing to prune: no layer has channels that can go (of 2 sites, at 2 its output "
        "is a graph output)",
    )


def test_an_option_that_lets_channels_go_is_named():
    """The reasons of attention beside it are more, and no option changes them."""
    scale = np.ones(6, np.float32)
    weights = {"s": scale, "t": scale, "u": np.eye(6, dtype=np.float32)}
    body = """n = LayerNormalization(x, s, t)
        q = MatMul(n, n2)
        k = MatMul(q, n2)
        m = MatMul(k, n2)
        h = MatMul(m, u)
        z = LayerNormalization(h, s, t)
        y = MatMul(z, u)"""
    model = model_using(weights, body, "float[2, 6] x, float[6, 6] n2")
    (remark, *_) = prune(model, "amount=0.5").records[0].remarks
    assert "its weight is not stored as a constant" in remark
    assert remark.endswith("; across-layernorm=true lets those of 2 sites go")


def test_groups_of_a_convolution_keep_as_many_each():
    weights = {"w": normal(12, 3, 1, 1), "k": normal(12, 4, 3, 3), "v": normal(2, 12, 1, 1)}
    model = model_using(
        weights,
        """a = Conv(x, w) b = Conv <kernel_shape=[3,3], pads=[1,1,1,1], group=3> (a, k)
        y = Conv(b, v)""",
        "float[1, 3, 5, 5] x",
    )
    graph = prune(model, "amount=0.5,multiple=1").graph
    for row in units_of(graph).values():
        assert row.gone.sum() == 6
        assert row.gone.reshape(3, 4).sum(axis=1).tolist() == [2, 2, 2]
    x = {"x": normal(1, 3, 5, 5)}
    expected = run_ort(planish.to_model(graph), x)["y"]
    found = run_ort(planish.to_model(with_garbage(graph)), x)["y"]
    assert relative_error(expected, found) <= 1e-6


@pytest.mark.parametrize("schedule", ["cubic", "linear"])
def test_steps_add_up(schedule):
    model = residual()
    text = "prune{{granularity=channel,amount=0.6,multiple=1,steps=3,step={},schedule={}}}"
    graph = planish.load(model)
    counts = [48]
    for step in (1, 2, 3):
        run = planish.Pipeline.parse(text.format(step, schedule)).run(graph, verify="off")
        gone = units_of(graph), units_of(run.graph)
        assert all((gone[1][n].gone >= row.gone).all() for n, row in gone[0].items())
        graph = run.graph
        counts.append(sum(left(graph).values()))
    share = [1 - (1 - s / 3) ** 3 if schedule == "cubic" else s / 3 for s in (1, 2, 3)]
    assert np.abs(np.array(counts[1:]) - 48 * (1 - 0.6 * np.array(share))).max() <= 0.5
    at_once = prune(model, f"amount=0.6,multiple=1,steps=3,schedule={schedule}").graph
    assert sum(left(at_once).values()) == counts[-1]


@pytest.mark.parametrize("criterion", ["taylor", "gradient", "activation", "apoz", "l2", "random"])
@pytest.mark.parametrize("of", ["channels", "macs"])
def test_every_criterion_prunes_what_was_asked_for(criterion, of):
    model = residual()
    feeds = [{"x": normal(4, 3, 6, 6)} for _ in range(2)]
    options = f"amount=0.4,of={of},multiple=1,least=0,criterion={criterion},steps=2"
    result = prune(model, options, feeds=feeds)
    if of == "channels":
        assert sum(left(result.graph).values()) == round(0.6 * 48)
    else:
        stem, inner = left(result.graph).values()
        assert macs(stem, inner) <= 0.6 * macs(16, 32) < macs(stem + 1, inner + 1)


@pytest.mark.parametrize("kind", ["channel,multiple=1,least=0", "weight", "kernel"])
@pytest.mark.parametrize("criterion", ["taylor", "l2"])
def test_steps_in_one_call_are_those_of_calls_in_a_row(criterion, kind):
    """Scores of later steps see the masks of those before, wherever these come from."""
    feeds = [{"x": normal(4, 3, 6, 6)} for _ in range(3)]
    text = f"prune{{granularity={kind},criterion={criterion},amount=0.7,steps=3"
    at_once = text + "}"
    in_a_row = ",".join(f"{text},step={step}}}" for step in (1, 2, 3))
    found = []
    model = residual()
    for pipeline in (at_once, in_a_row, text.replace("steps=3", "steps=1") + "}"):
        graph = planish.Pipeline.parse(pipeline).run(planish.load(model), feeds, verify="off").graph
        masked = [each for each in map(read_masked, graph.nodes) if each is not None]
        found.append({each.weight.name: dense_values(each.mask).tolist() for each in masked})
    assert found[0] == found[1]
    if criterion == "taylor" and kind != "kernel":  # of few kernels the same may go
        assert found[0] != found[2]


def test_weights_pruned_before_are_kept_pruned():
    sparse = run_pass(planish.load(residual()), "prune{amount=0.5}", verify="off").graph
    both = prune(sparse, "amount=0.25,multiple=4,scope=layer").graph
    before = {m.weight.name: m.mask.values for m in map(read_masked, sparse.nodes) if m}
    after = {m.weight.name: m.mask.values for m in map(read_masked, both.nodes) if m}
    assert set(before) <= set(after)
    for name, mask in before.items():
        assert (np.broadcast_to(after[name], mask.shape) <= mask).all()
    assert [int(r.gone.sum()) for r in units_of(both).values()] == [4, 8]


def test_a_masked_graph_saved_and_loaded_has_the_same_channels(tmp_path):
    graph = prune(residual(), "amount=0.5").graph
    planish.save(graph, tmp_path / "masked.onnx")
    again = planish.load(tmp_path / "masked.onnx")
    assert left(again) == left(graph)
    assert prune(again, "amount=0.5").edits == 0


def test_a_bias_in_a_constant_node_is_masked_too():
    text = """g (float[1, 2, 3, 3] x) => (float[1, 1, 3, 3] y) {
        b = Constant <value = float[4] {1.0, 2.0, 3.0, 4.0}> ()
        a = Conv(x, w, b) y = Conv(a, v)
    }"""
    graph = graph_of(text, {"w": normal(4, 2, 1, 1), "v": normal(1, 4, 1, 1)})
    result = prune(graph, "amount=0.5,multiple=1")
    found = {m.weight.name: m for m in map(read_masked, result.graph.nodes) if m}
    assert set(found) == {"w", "b", "v"}
    np.testing.assert_array_equal(
        dense_values(found["b"].mask), dense_values(found["w"].mask).reshape(-1)
    )


def test_shrunk_it_is_the_masked_graph():
    graph = prune(residual(), "amount=0.5,of=macs").graph
    shrunk = planish.Pipeline.parse("shrink-channels").run(graph, verify="each").graph
    x = {"x": normal(2, 3, 6, 6)}
    expected = run_ort(planish.to_model(graph), x)["y"]
    assert relative_error(expected, run_ort(planish.to_model(shrunk), x)["y"]) <= 1e-5
    assert cost(shrunk, {"N": 1}).macs <= 0.5 * cost(graph, {"N": 1}).macs
