"""Layers that stay float have the weights that they had before they were rounded, bit for bit."""

import itertools
import re

import numpy as np
import onnx_graphsurgeon as gs
import pytest

import planish
from planish.ir.run.reference import Reference
from planish.passes.engine.float_layers import FloatLayers, LayerWeights
from planish.passes.quantize.quantize.variants import QuantizedVariants

from tests.helpers import graph_of
from tests.passes.quantize.quantize.mixed_precision.test_bounds import (
    FEEDS,
    FRAGILE,
    floats_of,
    network,
    normal,
)


def run(graph, text, feeds=FEEDS):
    return planish.Pipeline.parse(text).run(graph, feeds, verify="off")


def weights_by_result(graph):
    """Return the float constants of linear operators, by what they make."""
    found = {}
    for node in graph.nodes:
        if node.op in ("Conv", "Gemm", "MatMul"):
            constants = [t.values for t in node.inputs[1:] if isinstance(t, gs.Constant)]
            if constants:
                found[node.outputs[0].name] = constants
    return found


def assert_same(kept, given):
    """A bias that rounding brought in is zeros; channels that integers ask for are too."""
    for result, constants in kept.items():
        for a, b in itertools.zip_longest(constants, given[result.removesuffix("_float")]):
            b = np.zeros_like(a) if b is None else b
            if a.shape != b.shape:
                assert not a[:, b.shape[1] :].any()
                a = a[:, : b.shape[1]]
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "before",
    [
        "round-adaptively",
        "round-adaptively,correct-bias",
        "correct-bias",
        "round-adaptively{bits=4}",
    ],
)
def test_excluded_layers_are_as_they_were(before):
    graph = network(outlier=2.0)
    out = "exclude=[conv_0,conv_3,last]"
    result = run(graph, f"{before},quantize{{measure=false,guard=off,{out}}}")
    assert floats_of(result.graph) == {"conv_0", "conv_3", "last"}
    assert_same(weights_by_result(result.graph), weights_by_result(graph))


def test_what_the_guard_leaves_float_is_as_it_was():
    graph = network()
    result = run(graph, "round-adaptively,quantize{measure=false}")
    assert FRAGILE in floats_of(result.graph)
    assert_same(weights_by_result(result.graph), weights_by_result(graph))


def test_layers_on_integers_are_rounded_as_without_the_others():
    graph = network(outlier=2.0)
    whole, mixed = (
        run(graph, f"round-adaptively,quantize{{measure=false,guard=off{more}}}").graph
        for more in ("", ",exclude=[conv_3]")
    )
    a, b = ({t.name: t.values for t in _constants(g) if "w2" in t.name} for g in (whole, mixed))
    assert a.keys() == b.keys()
    assert a
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


def test_a_layer_alone_is_that_of_the_choice_of_one(monkeypatch):
    """What is made of the floats, for the noise of one layer, computes as what all are made of."""
    compared = []
    usual = QuantizedVariants.build_alone

    def both(variants, node):
        found, wanted = usual(variants, node), variants.build((node,))
        assert any(n.op == "QuantizeLinear" for n in found.nodes)
        a, b = (Reference(graph)(FEEDS[0]) for graph in (found, wanted))
        compared.extend(np.array_equal(a[name], b[name]) for name in b)
        return found

    monkeypatch.setattr(QuantizedVariants, "build_alone", both)
    run(network(), "round-adaptively,quantize{measure=false}")
    assert len(compared) > 2
    assert all(compared)


@pytest.mark.parametrize(
    "tail",
    [
        "q = MatMul(f, v) y = Add(q, b)",
        "q = MatMul(f, v) y = Add(b, q)",
        "y = MatMul(f, v)",
        "y = Gemm<transB = 1>(f, u, b)",
        "y = Gemm(f, v)",
    ],
)
def test_every_spelling_of_a_layer(tail):
    weights = {"w": normal(8, 4, 3, 3) / 6, "v": normal(8, 10), "u": normal(10, 8), "b": normal(10)}
    body = "c = Conv<pads = [1, 1, 1, 1]>(x, w) r = Relu(c) p = GlobalAveragePool(r) f = Flatten(p)"
    used = {k: v for k, v in weights.items() if k in re.findall(r"\w+", body + tail)}
    graph = graph_of(f"g (float[N, 4, 9, 9] x) => (float[N, 10] y) {{ {body} {tail} }}", used)
    feeds = [{"x": normal(2, 4, 9, 9, seed=i)} for i in range(6)]
    text = "round-adaptively,quantize{measure=false,guard=off,operators=[Conv]}"
    made = run(graph, text, feeds).graph
    assert any(node.op == "QuantizeLinear" for node in made.nodes)
    found = [t.values for t in _constants(made)]
    (kept,) = (values for values in found if values.shape in ((8, 10), (10, 8)))
    np.testing.assert_array_equal(kept, used.get("v", used.get("u")))
    for bias in (v for v in found if v.size == 10 and v.dtype == np.float32):
        np.testing.assert_array_equal(bias.ravel(), used.get("b", np.zeros(10, np.float32)))


def _constants(graph):
    return [t for n in graph.nodes for t in n.inputs if isinstance(t, gs.Constant)]


def test_what_was_changed_since_stays_as_it_is():
    """A layer that another pass took further is not the one that was rounded."""
    a, b, c, d = (LayerWeights(normal(2, 3, seed=i), normal(2, seed=i)) for i in range(4))
    layers = FloatLayers()
    assert not layers
    layers.record("y", a, b)
    assert layers.before("y", b) == a
    assert layers.before("y", c) is None
    assert layers.before("z", b) is None
    layers.record("y", b, c)  # rounded once more
    assert layers.before("y", c) == a
    layers.record("y", d, a)  # after something else
    assert layers.before("y", a) == d
    assert layers.before("y", c) is None


def test_no_bias_is_one_of_zeros():
    weight = normal(2, 3)
    assert LayerWeights(weight, None) == LayerWeights(weight, np.zeros(2, np.float32))
    assert LayerWeights(weight, None) != LayerWeights(weight, np.ones(2, np.float32))
    assert LayerWeights(weight, normal(2)) != LayerWeights(weight, normal(2, seed=1))
    assert LayerWeights(weight, None) != LayerWeights(weight + 1, None)
