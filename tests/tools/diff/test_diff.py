"""Two models, matched by what they compute, and what is told of where they differ."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planish

from tests.effort import examples
from tests.helpers import model_of
from tests.strategies import networks

RNG = np.random.default_rng(3)
CHAIN = "g (float[1, 4, 6, 6] x) => (float[1, 4, 6, 6] y) {{ {body} }}"


def _weights(*names, shape=(4, 4, 3, 3)):
    return {name: RNG.standard_normal(shape).astype(np.float32) for name in names}


def _convolutions(*weights, after=""):
    """Return a chain of Conv and Relu with the weights of these names, then `after` from z to y."""
    steps, x = [], "x"
    for place, name in enumerate(weights):
        steps.append(f"c{place} = Conv <pads = [1, 1, 1, 1]> ({x}, {name})")
        steps.append(f"r{place} = Relu(c{place})")
        x = f"r{place}"
    return CHAIN.format(body=" ".join(steps) + f" {after or 'y = Identity(z)'}".replace("z", x))


def _called_otherwise(model):
    """Return the model with other names of nodes and inner tensors, and nodes in another order."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    graph = model.graph
    kept = {"", *(v.name for v in (*graph.input, *graph.output))}
    names: dict[str, str] = {}

    def name(old):
        return old if old in kept else names.setdefault(old, f"other-{len(names)}")

    for node in graph.node:
        node.name = f"n{len(names)}"
        node.output[:] = map(name, node.output)
        node.input[:] = map(name, node.input)
        _rename_captured(node, names)
    for tensor in graph.initializer:
        tensor.name = name(tensor.name)
    del graph.value_info[:]
    return model


def _rename_captured(node, names):
    for attribute in node.attribute:
        for inner in attribute.g.node:
            inner.input[:] = [names.get(each, each) for each in inner.input]
            _rename_captured(inner, names)
        for value in attribute.g.output:
            value.name = names.get(value.name, value.name)


def _kinds(found):
    return [
        (c.kind, [n.op for n in c.before], [n.op for n in c.after], len(c.weights))
        for c in found.changes
    ]


def test_names_are_no_difference():
    model = model_of(_convolutions("a", "b", "c"), _weights("a", "b", "c"))
    found = planish.diff(model, _called_otherwise(model))
    assert found.is_empty
    assert (found.same, found.renamed) == (7, 7)
    assert found.pairs == tuple((place, place) for place in range(7))


@settings(max_examples=examples(50))
@given(networks())
def test_any_network_is_itself_under_other_names(case):
    found = planish.diff(case.model, _called_otherwise(case.model))
    assert found.is_empty, found.changes
    assert found.same == found.nodes_before == found.nodes_after


def test_a_spelled_default_and_the_order_of_a_sum_are_no_difference():
    a = CHAIN.format(body="s = Sigmoid(x) t = Softmax(x) y = Add(s, t)")
    b = CHAIN.format(body="t = Softmax <axis = -1> (x) s = Sigmoid(x) y = Add(t, s)")
    assert planish.diff(model_of(a), model_of(b)).is_empty
    c = CHAIN.format(body="t = Softmax <axis = 1> (x) s = Sigmoid(x) y = Sub(t, s)")
    found = planish.diff(model_of(b), model_of(c))
    (softmax, rest) = found.changes
    assert [(a.name, a.before, a.after) for a in softmax.attributes] == [("axis", -1, 1)]
    assert _kinds(found)[1][:3] == ("replaced", ["Add"], ["Sub"])
    assert rest.attributes == ()


def test_a_window_is_what_it_is_however_it_is_spelled():
    body = CHAIN.format(body="c = Conv WINDOW(x, w) y = MaxPool <kernel_shape = [1, 1]> (c)")
    weights = _weights("w", shape=(4, 4, 1, 1))
    short, long = (
        model_of(body.replace("WINDOW", given), weights)
        for given in ("", "<kernel_shape = [1, 1], pads = [0, 0, 0, 0], dilations = [1, 1]> ")
    )
    assert planish.diff(short, long).is_empty


def test_a_layer_that_came_between_others_of_its_kind_after_all_have_learned():
    """Neither names nor weights tell: what stands in front and behind does."""
    before = model_of(_convolutions("a", "b", "c", "d"), _weights("a", "b", "c", "d"))
    weights = _weights("a", "b", "c", "d") | _weights("e", shape=(4, 4, 1, 1))
    after = model_of(
        _convolutions("a", "b", "c", "d")
        .replace("r1 = Relu(c1)", "r1 = Relu(q)")
        .replace("c1 = Conv", "q = Neg(c1) c1 = Conv"),
        weights,
    )
    found = planish.diff(before, _called_otherwise(after))
    assert [kind[:3] for kind in _kinds(found)] == [
        ("changed", ["Conv"], ["Conv"]),
        ("changed", ["Conv"], ["Conv"]),
        ("added", [], ["Neg"]),
        ("changed", ["Conv"], ["Conv"]),
        ("changed", ["Conv"], ["Conv"]),
    ]


def test_layers_that_changed_places_are_found_by_their_weights():
    weights = _weights("a", "b", "c")
    body = CHAIN.format(
        body="p = Conv <pads=[1,1,1,1]> (x, a) q = Tanh(p) r = Conv <pads=[1,1,1,1]> (q, b) "
        "y = Relu(r)"
    )
    swapped = body.replace("(x, a)", "(x, q_)").replace("(q, b)", "(q, a)").replace("q_", "b")
    found = planish.diff(model_of(body, weights), _called_otherwise(model_of(swapped, weights)))
    assert all(not change.weights for change in found.changes)
    assert (0, 2) in found.pairs
    assert (2, 0) in found.pairs


def test_a_batchnorm_in_a_convolution_is_fused_and_the_distance_is_that_of_numpy():
    scale = RNG.uniform(0.5, 2, 4).astype(np.float32)
    weights = _weights("w", "v") | {"s": scale}
    weights |= {n: RNG.standard_normal(4).astype(np.float32) for n in ("b", "m")}
    weights["var"] = np.full(4, 1 - 1e-5, np.float32)
    text = CHAIN.format(
        body="c = Conv <pads = [1,1,1,1]> (x, w) n = BatchNormalization(c, s, b, m, var) "
        "r = Relu(n) y = Conv <pads = [1,1,1,1]> (r, v)"
    )
    model = model_of(text, weights)
    folded = planish.Pipeline.parse("fold-batchnorm,eliminate-dead-code").run(model).graph
    found = planish.diff(model, _called_otherwise(planish.to_model(folded)))
    (change,) = found.changes
    assert _kinds(found) == [("fused", ["Conv", "BatchNormalization"], ["Conv"], 2)]
    kernel, bias = change.weights
    gap = weights["w"].astype(np.float64) * (scale.reshape(-1, 1, 1, 1) - 1.0)
    assert kernel.max_abs == pytest.approx(np.abs(gap).max(), rel=1e-5)
    relative = np.linalg.norm(gap) / np.linalg.norm(weights["w"].astype(np.float64))
    assert kernel.relative == pytest.approx(relative, rel=1e-5)
    assert (bias.before, bias.after, bias.max_abs) == (None, "float32[4]", None)


def test_own_fused_operators_hold_what_they_were_made_of():
    model = model_of(_convolutions("a", "b"), _weights("a", "b"))
    fused = planish.Pipeline.parse("exact").run(model).graph
    found = planish.diff(model, _called_otherwise(planish.to_model(fused)))
    assert planish.diff(fused, _called_otherwise(planish.to_model(fused))).is_empty
    assert [kind[:3] for kind in _kinds(found)] == [
        ("fused", ["Conv", "Relu"], ["ConvRelu"]),
        ("fused", ["Conv", "Relu", "Identity"], ["ConvRelu"]),
    ]


def test_integers_are_compared_as_what_they_stand_for():
    values = RNG.standard_normal((4, 4, 1, 1)).astype(np.float32)
    stored = np.round(values / 0.02).astype(np.int8)
    body = "y = Conv(x, w)"
    a = model_of(CHAIN.format(body=body), {"w": values})
    b = model_of(
        CHAIN.format(body=f"w = DequantizeLinear(q, s) {body}"),
        {"q": stored, "s": np.float32(0.02)},
    )
    found = planish.diff(a, b)
    assert _kinds(found) == [("replaced", ["Conv"], ["DequantizeLinear", "Conv"], 1)]
    (weight,) = found.changes[0].weights
    dequantized = (stored * np.float64(np.float32(0.02))).astype(np.float32)
    gap = np.abs(dequantized.astype(np.float64) - values)
    assert weight.max_abs == pytest.approx(gap.max(), rel=1e-6)
    assert weight.after == "float32[4, 4, 1, 1] dequantized"


def test_sizes_that_follow_are_counted_and_not_listed():
    body = "p = Relu(x) q = Sigmoid(p) y = Tanh(q)"
    a = f"g (float[1, 4] x) => (float[1, 4] y) {{ {body} }}"
    found = planish.diff(model_of(a), model_of(a.replace("1, 4", "2, 4")))
    assert not found.changes
    assert (found.same, found.following) == (0, 3)
    assert [(m.what, m.before, m.after) for m in found.model] == [
        ("input 0", "x float32[1, 4]", "x float32[2, 4]"),
        ("output 0", "y float32[1, 4]", "y float32[2, 4]"),
    ]


def test_opset_is_told():
    text = "g (float[2] x) => (float[2] y) { y = Relu(x) }"
    old = model_of(f'<ir_version: 8, opset_import: ["" : 17]>\n{text}')
    assert [m.what for m in planish.diff(old, model_of(text)).model] == ["opset"]


def test_bodies_are_compared():
    text = """g (bool c, float[2] x) => (float[2] y) {{
        y = If (c) <
            then_branch = t () => (float[2] p) {{ p = Relu(x) }},
            else_branch = e () => (float[2] p) {{ u = Neg(x) p = {op}(u) }}
        > }}"""
    a, b = model_of(text.format(op="Sigmoid")), model_of(text.format(op="Tanh"))
    assert planish.diff(a, _called_otherwise(a)).is_empty
    (change,) = planish.diff(a, b).changes
    assert (change.kind, change.before[0].scope) == ("replaced", ("y",))


def test_weights_of_other_sizes_and_of_infinity():
    text = "g (float[2] x) => (float[] y) { y = Mul(x, w) }"
    a = model_of(text, {"w": np.array([1, np.inf], np.float32)})
    b = model_of(text, {"w": np.array([2, np.inf], np.float32)})
    (change,) = planish.diff(a, b).changes
    assert change.weights[0].max_abs == 1
    c = model_of(text, {"w": np.ones((3, 2), np.float32)})
    (change,) = planish.diff(a, c).changes
    assert (change.weights[0].max_abs, change.weights[0].after) == (None, "float32[3, 2]")


@settings(max_examples=examples(50))
@given(networks(), st.randoms(use_true_random=False))
def test_a_node_that_came_is_all_that_is_told(case, rng):
    """A Neg in front of one reader is added to any network, whatever it is called."""
    model = _called_otherwise(case.model)
    places = [i for i, n in enumerate(model.graph.node) if n.input and n.op_type != "Neg"]
    fed = {v.name for v in model.graph.initializer}
    places = [i for i in places if model.graph.node[i].input[0] not in fed | {""}]
    if not places:
        return
    place = rng.choice(places)
    reader = model.graph.node[place]
    model.graph.node.insert(place, onnx.helper.make_node("Neg", [reader.input[0]], ["neg-of-it"]))
    model.graph.node[place + 1].input[0] = "neg-of-it"
    found = planish.diff(case.model, model)
    assert [n.op for c in found.changes for n in c.after if not c.before] == ["Neg"]
    others = [c for c in found.changes if c.before]
    assert [c for c in others if c.attributes or c.weights or c.inputs or not c.types] == []


def test_values_that_are_no_numbers_are_counted_and_the_others_compared():
    text = "g (float[4] x) => (float[4] y) { y = Mul(x, w) }"
    values = np.array([3, 4, np.nan, np.inf], np.float32)
    a = model_of(text, {"w": values})
    assert planish.diff(a, _called_otherwise(a)).is_empty
    b = model_of(text, {"w": np.array([np.nan, 5, np.nan, -np.inf], np.float32)})
    (weight,) = planish.diff(a, b).changes[0].weights
    assert (weight.max_abs, weight.relative, weight.not_finite) == (1, 1 / 5, 2)
    assert weight.distance.startswith("2 values are infinite or NaN")


def test_totals_add_up_in_nodes():
    model = model_of(_convolutions("a", "b"), _weights("a", "b"))
    shape = "float[1, 4, 8, 8]"
    nothing = model_of(f"g ({shape} x) => ({shape} y) {{ y = Identity(x) }}")
    for other in (planish.Pipeline.parse("exact").run(model).graph, nothing):
        found = planish.diff(model, other)
        told = [re.match(r"(\d+) (\w+)(?: (?:into|by) (\d+))?$", t) for t in found.tallies]
        sides = [
            (int(t[1]) * (t[2] != "added"), int(t[3] or t[1]) * (t[2] != "removed")) for t in told
        ]
        assert found.same + sum(before for before, _ in sides) == found.nodes_before
        assert found.same + sum(after for _, after in sides) == found.nodes_after


@pytest.mark.parametrize("width", [4, 8])
def test_a_layer_of_other_weights_is_no_fusion(width):
    shape = "float[1, 4, 8, 8] x) => (float[1, C, 8, 8] y)"
    one = f"g ({shape} {{ c = Conv<pads=[1,1,1,1]>(x, w) y = Relu(c) }}"
    other = RNG.standard_normal((width, 4, 3, 3)).astype(np.float32)
    two = model_of(f"g ({shape} {{ y = Conv<pads=[1,1,1,1]>(x, w) }}", {"w": other})
    found = planish.diff(model_of(one, _weights("w")), _called_otherwise(two))
    assert [kind[:3] for kind in _kinds(found)] == [("replaced", ["Conv", "Relu"], ["Conv"])]


def test_a_fused_operator_that_is_written_out_is_one_change():
    body = "c = Conv<pads=[1,1,1,1]>(x, a) r = Relu(c) d = Conv<pads=[1,1,1,1]>(r, b) y = Relu(d)"
    model = model_of(CHAIN.format(body=body), _weights("a", "b"))
    fused = planish.Pipeline.parse("exact").run(model).graph
    found = planish.diff(fused, _called_otherwise(model))
    one = ("replaced", ["ConvRelu"], ["Conv", "Relu"])
    assert [kind[:3] for kind in _kinds(found)] == [one, one]
