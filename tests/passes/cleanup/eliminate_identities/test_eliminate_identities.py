"""Operators that return their input are removed; everything that only looks like one stays."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import assert_same_function, graph_of, model_of, ops, reasons, run_pass

PASS = "eliminate-identities"
X = np.array([[-0.0, np.nan, -2.5, np.inf], [1, 2, -np.inf, 1e-42]], np.float32)
F = "float[2, 4]"


def _model(body, weights=None, kind=F, opset=20):
    return model_of(
        f'<ir_version: 10, opset_import: ["" : {opset}]>\n'
        f"g ({kind} x) => ({kind} y) {{ a = Abs(x) {body} y = Neg(b) }}",
        weights,
    )


I64 = {
    n: np.array(v, np.int64) for n, v in {"s": [2, 4], "z": [0], "four": [4], "one": [1]}.items()
}
WEIGHTS = {
    **I64,
    "ax": np.array([1], np.int64),
    "p0": np.zeros(4, np.int64),
    "f0": np.float32(0),
    "fneg0": np.float32(-0.0),
    "f1": np.ones((1, 4), np.float32),
    "f1x3": np.ones((1, 1, 1), np.float32),
    "f12": np.array([[1, 1, 1, 1.0000001]], np.float32),
    "no": np.bool_(False),
    "yes": np.bool_(True),
    "half": np.float32(0.5),
    "c": np.zeros(1, np.float32),
    "d": np.zeros(1, np.float64),
    "big": np.ones((3, 2, 4), np.float32),
    "zeros3": np.zeros((3, 2, 4), np.float32),
    "neg": np.array([-1], np.int64),
    "minus": np.array([1, 0, -1, 0], np.int64),
    "three": np.array([3], np.int64),
    "far": np.array([-5], np.int64),
    "two_four_t": np.array([4, 2], np.int64),
}


def _used(body, weights=WEIGHTS):
    import re

    words = set(re.findall(r"\w+", body))
    return {k: v for k, v in weights.items() if k in words}


FIRES = {
    "Identity": "b = Identity(a)",
    "Dropout": "b = Dropout(a)",
    "Dropout with ratio": "b = Dropout(a, half, no)",
    "Dropout with unread mask": "b, mask = Dropout(a, half, no)",
    "Cast": "b = Cast <to = 1> (a)",
    "CastLike": "b = CastLike(a, c)",
    "Transpose": "b = Transpose <perm = [0, 1]> (a)",
    "Reshape": "b = Reshape(a, s)",
    "Reshape by zero": "b = Reshape(a, z0)",
    "Flatten": "b = Flatten <axis = 1> (a)",
    "Flatten from the end": "b = Flatten <axis = -1> (a)",
    "Expand": "b = Expand(a, s)",
    "Slice": "b = Slice(a, z, four, ax, one)",
    "Slice without steps": "b = Slice(a, z, four, ax)",
    "Pad": "b = Pad(a, p0)",
    "Concat": "b = Concat <axis = 0> (a)",
    "Sum": "b = Sum(a)",
    "Max": "b = Max(a)",
    "Min": "b = Min(a)",
    "Mean": "b = Mean(a)",
    "x + 0": "b = Add(a, f0)",
    "0 + x": "b = Add(f0, a)",
    "x - 0": "b = Sub(a, f0)",
    "x * 1": "b = Mul(a, f1)",
    "1 * x": "b = Mul(f1, a)",
    "x / 1": "b = Div(a, f1)",
}


@pytest.mark.parametrize("body", FIRES.values(), ids=FIRES)
def test_fires(body):
    model = _model(body, _used(body, {**WEIGHTS, "z0": np.array([0, -1], np.int64)}))
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Abs", "Neg"]
    assert result.edits == 1
    assert_same_function(model, result.graph, {"x": X}, 0)


STAYS = {
    "0 - x": ("b = Sub(f0, a)", None),
    "1 / x": ("b = Div(f1, a)", None),
    "x + 1": ("b = Add(a, f1)", None),
    "x * 0": ("b = Mul(a, f0)", None),
    "almost one": ("b = Mul(a, f12)", None),
    "Cast to another type": ("h = Cast <to = 11> (a) b = Cast <to = 1> (h)", None),
    "CastLike to another type": ("h = CastLike(a, d) b = CastLike(h, c)", None),
    "Transpose": ("h = Transpose <perm = [1, 0]> (a) b = Transpose <perm = [1, 0]> (h)", None),
    "Transpose by default": ("h = Transpose(a) b = Transpose(h)", None),
    "Reshape": ("h = Reshape(a, two_four_t) b = Reshape(h, s)", None),
    "Flatten of axis 0": ("h = Flatten <axis = 0> (a) b = Reshape(h, s)", None),
    "reversed Slice": ("b = Slice(a, neg, far, ax, neg)", None),
    "shorter Slice": ("h = Slice(a, z, three, ax) t = Slice(a, three, four, ax) "
                      "b = Concat <axis = 1> (h, t)", None),
    "Pad and crop": ("b = Pad(a, minus)", None),
    "Clip without bounds makes infinity finite": ("b = Clip(a)", None),
    "Clip with a bound": ("b = Clip(a, half)", None),
    "Concat of two": ("h = Concat <axis = 1> (a, a) b = Slice(h, z, four, ax)", None),
    "Dropout in training": ("b = Dropout(a, f0, yes)", "it is in training mode"),
    "Dropout whose mask is read": (
        "h, m = Dropout(a, half) k = Cast <to = 1> (m) b = Add(h, k)", "its mask is read"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "reason"), STAYS.values(), ids=STAYS)
def test_leaves_alone(body, reason):
    model = _model(body, _used(body))
    graph = planish.load(model)
    result = run_pass(graph, PASS)
    assert ops(result.graph) == ops(graph)
    assert result.edits == 0
    assert reasons(result) == ({reason} if reason else set())


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("y = Add(x, zeros3)", "float[3, 2, 4]"),
        ("y = Mul(big, x)", "float[3, 2, 4]"),
        ("y = Mul(x, f1x3)", "float[1, 2, 4]"),
    ],
)
def test_broadcasting_that_changes_the_shape_stays(body, shape):
    model = model_of(f"g ({F} a) => ({shape} y) {{ x = Abs(a) {body} }}", _used(body))
    assert run_pass(planish.load(model), PASS).edits == 0


@pytest.mark.parametrize(
    ("kind", "body", "edits"),
    [
        ("float[N, 4]", "b = Mul(a, f1)", 1),  # [1, 4] keeps [N, 4]
        ("float[2, N]", "b = Mul(a, f1)", 0),  # N may be 1, and then [1, 4] widens it
        ("float[N, M]", "b = Add(a, f0)", 1),
        ("float[N, 4]", "b = Reshape(a, s)", 0),  # right for N = 2 alone
        ("float[N, 4]", "b = Slice(a, z, four, z)", 0),  # cuts the batch at four
        ("float[N, 4]", "b = Slice(a, z, four, ax)", 1),
        ("float[N, 4]", "b = Expand(a, s)", 0),
        ("float[N, 4]", "sh = Shape(a) b = Reshape(a, sh)", 1),
    ],
)
def test_dynamic_shapes(kind, body, edits):
    model = _model(body, _used(body), kind)
    result = run_pass(planish.load(model), PASS)
    assert result.edits == edits


@pytest.mark.parametrize("kind", ["int64", "int32", "uint8", "double", "float16"])
def test_integer_and_other_types(kind):
    dtype = np.dtype({"double": "float64"}.get(kind, kind))
    weights = {"zero": np.zeros(1, dtype), "one": np.ones(4, dtype)}
    model = model_of(
        f"""g ({kind}[2, 4] x) => ({kind}[2, 4] y) {{
            a = Add(x, zero) b = Mul(one, a) c = Sub(b, zero) d = Div(c, one) y = Add(d, d) }}""",
        weights,
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Add"]
    feeds = {"x": np.arange(8).reshape(2, 4).astype(dtype)}
    assert_same_function(model, result.graph, feeds, 0)


def test_the_sign_of_zero_survives_what_keeps_it():
    """Subtracting zero and multiplying by one keep -0; the bits of the outputs must agree."""
    model = model_of(
        f"g ({F} x) => ({F} y) {{ a = Neg(x) b = Sub(a, f0) c = Mul(b, f1) y = Reciprocal(c) }}",
        _used("f0 f1"),
    )
    result = run_pass(planish.load(model), PASS)
    assert result.edits == 2
    x = np.array([[0.0, -0.0, 1, -1]] * 2, np.float32)
    assert_same_function(model, result.graph, {"x": x}, 0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("y = Identity(x)", "it joins a graph input or constant to a graph output"),
        ("y = Identity(f1x4)", "it joins a graph input or constant to a graph output"),
    ],
)
def test_both_names_must_stay(text, reason):
    model = model_of(f"g ({F} x) => ({F} y) {{ {text} }}", {"f1x4": X})
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Identity"]
    assert reasons(result) == {reason}


def test_one_value_under_two_output_names():
    model = model_of(
        f"g ({F} x) => ({F} y, {F} z) {{ a = Abs(x) y = Identity(a) z = Identity(a) }}"
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Abs", "Identity"]
    assert reasons(result) == {"its input and its output are both graph outputs"}
    assert [t.name for t in result.graph.outputs] == ["y", "z"]
    assert_same_function(model, result.graph, {"x": X}, 0)


def test_output_moves_to_the_producer_and_its_other_readers_follow():
    model = model_of(f"g ({F} x) => ({F} y, {F} z) {{ a = Abs(x) y = Identity(a) z = Neg(a) }}")
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Abs", "Neg"]
    assert result.graph.nodes[1].inputs[0] is result.graph.outputs[0]
    assert_same_function(model, result.graph, {"x": X}, 0)


def test_overridable_constant_is_no_neutral_element():
    model = model_of(
        f"g ({F} x, float[1] w) => ({F} y) {{ a = Abs(x) b = Mul(a, w) y = Neg(b) }}",
        {"w": np.ones(1, np.float32)},
    )
    result = run_pass(planish.load(model), PASS)
    assert result.edits == 0
    feeds = {"x": X, "w": np.full(1, 3, np.float32)}
    assert_same_function(model, result.graph, feeds, 0)


def test_subgraphs():
    model = model_of(
        f"""g ({F} x, bool t) => ({F} y) {{
            a = Abs(x) i = Identity(a)
            y = If (t) <then_branch = p () => ({F} u) {{ v = Identity(i) u = Neg(v) }},
                        else_branch = q () => ({F} w) {{ w = Identity(i) }}> }}"""
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Abs", "If"]
    branches = result.graph.nodes[1].attrs
    assert ops(branches["then_branch"]) == ["Neg"]
    assert ops(branches["else_branch"]) == ["Identity"]  # a branch must produce its own output
    for t in (True, False):
        assert_same_function(model, result.graph, {"x": X, "t": np.array(t)}, 0)


@pytest.mark.parametrize("body", ["b = Clip(a)", "b = Clip(a, , )"])
def test_clip_of_integers_without_bounds(body):
    model = _model(body, kind="int32[2]")
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Abs", "Neg"]
    assert_same_function(model, result.graph, {"x": np.array([-3, 2**31 - 1], np.int32)}, 0)


def test_custom_domain_of_the_same_name_stays():
    graph = graph_of(
        """<ir_version: 10, opset_import: ["" : 20, "my.domain" : 1]>
        g (float[2] x) => (float[2] y) { a = my.domain.Identity(x) y = Neg(a) }"""
    )
    assert run_pass(graph, PASS).edits == 0


def test_empty_permutation_of_a_scalar():
    model = model_of("g (float x) => (float y) { a = Abs(x) b = Transpose(a) y = Neg(b) }")
    import onnx

    model.graph.node[1].attribute.append(
        onnx.helper.make_attribute("perm", [], attr_type=onnx.AttributeProto.INTS)
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Abs", "Neg"]


@pytest.mark.parametrize(
    ("opset", "body", "edits"),
    [
        (6, "b = Dropout <is_test = 1> (a)", 1),
        (6, "b = Dropout <is_test = 0> (a)", 0),
        (9, "b = Clip <min = 0.0> (a)", 0),
        (9, "b = Clip(a)", 0),
        (9, "b = Pad <pads = [0, 0, 0, 0]> (a)", 1),
        (9, "b = Pad <pads = [1, 0, -1, 0]> (a)", 0),
        (9, "b = Slice <axes = [1], starts = [0], ends = [4]> (a)", 1),
        (9, "b = Slice <axes = [1], starts = [0], ends = [3]> (a)", 0),
    ],
)
def test_old_opsets(opset, body, edits):
    text = (
        f'<ir_version: 8, opset_import: ["" : {opset}]>\ng (float[2, 4] x) => (float[2, M] y) {{ '
    )
    result = run_pass(graph_of(f"{text} a = Abs(x) {body} y = Neg(b) }}"), PASS)
    assert result.edits == edits
