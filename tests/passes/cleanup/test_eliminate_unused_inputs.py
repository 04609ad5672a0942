"""Optional inputs without effect and outputs that nothing reads are left out."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import assert_same_function, model_of, reasons, run_pass

PASS = "eliminate-unused-inputs"
X = np.random.default_rng(0).standard_normal((1, 2, 4, 4)).astype(np.float32)
X.flat[:3] = np.inf, -np.inf, -0.0
BIG = np.finfo(np.float32).max
VALUES = {
    "none": np.zeros(0, np.float32),
    "twice": np.array([1, 1, 2, 2], np.float32),
    "sizes": np.array([1, 2, 8, 8]),
    "low": -BIG,
    "high": BIG,
    "inf": np.float32(np.inf),
    "one": np.float32(1),
    "half": np.float32(0.5),
    "no": np.array(False),
    "zeros4": np.zeros(4, np.int64),
    "full": np.array([1, 2, 3, 3]),
    "axes": np.arange(4),
    "ones": np.ones(4, np.int64),
    "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    "zero": np.float32(0),
    "gain": np.array([1, 2, 3, 4], np.float32),
    "bias": np.zeros(4, np.float32),
}


def _check(body, names, opset=20, feeds=None, kind="float[1, 2, 4, 4]", out="float[A, B, C, D]"):
    """Check what the first node reads and gives afterwards: a name, or '' where it is absent."""
    import re

    words = set(re.findall(r"\w+", body))
    model = model_of(
        f'<ir_version: 8, opset_import: ["" : {opset}]>\ng ({kind} x) => ({out} y) {{ {body} }}',
        {k: v for k, v in VALUES.items() if k in words},
    )
    result = run_pass(planish.load(model), PASS)
    node = result.graph.nodes[0]
    assert [t.name for t in node.inputs] == names.split(",")
    assert_same_function(model, result.graph, feeds or {"x": X}, 0)
    return result


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("y = Resize <mode = \"nearest\"> (x, none, twice)", "x,,twice"),
        ("y = Resize <mode = \"nearest\"> (x, none, none, sizes)", "x,,,sizes"),
        ("y = Clip(x, low, high)", "x"),
        ("y = Clip(x, low, one)", "x,,one"),
        ("y = Clip(x, half, high)", "x,half"),
        ("y, m = Dropout(x, half, no)", "x"),
        ("y = Slice(x, zeros4, full, axes, ones)", "x,zeros4,full,axes"),
        ("y = Pad(x, pads, zero)", "x,pads"),
        ("y = Pad <mode = \"reflect\"> (x, pads, one)", "x,pads"),
        ("y = LayerNormalization(x, gain, bias)", "x,gain"),
        ("y, m, d = LayerNormalization(x, gain, bias)", "x,gain"),
    ],
)  # fmt: skip
def test_left_out(body, names):
    result = _check(body, names, feeds={"x": np.nan_to_num(X, posinf=2, neginf=3)})
    assert len(result.graph.nodes[0].outputs) == 1
    assert result.edits == 1


def test_trailing_empty_names():
    model = model_of(
        "g (float[2] x) => (float[2] y) { y = Clip(x, half) }", {"half": VALUES["half"]}
    )
    model.graph.node[0].input.append("")
    result = run_pass(planish.load(model), PASS)
    assert result.edits == 1
    assert list(planish.to_model(result.graph).graph.node[0].input) == ["x", "half"]


@pytest.mark.parametrize(
    ("body", "names", "why"),
    [
        ("y = Clip(x, half, one)", "x,half,one", set()),
        ("y = Clip(x, half, inf)", "x,half,inf",
         {"without its bound, infinity would become finite"}),
        ("y = Pad(x, pads, one)", "x,pads,one", set()),
        ("y = LayerNormalization(x, gain, gain)", "x,gain,gain", set()),
        ("y = Resize <mode = \"nearest\"> (x, , twice)", "x,,twice", set()),
    ],
)  # fmt: skip
def test_stays(body, names, why):
    result = _check(body, names, feeds={"x": np.nan_to_num(X, posinf=2, neginf=3)})
    assert result.edits == 0
    assert reasons(result) == why


def test_a_bound_at_infinity_makes_a_difference():
    for body in ("y = Clip(x, half, inf)", "y = Clip(x, half, high)", "y = Clip(x, half)"):
        _check(body, "x,half,inf" if "inf" in body else "x,half")


@pytest.mark.parametrize(("kind", "dtype"), [("int32", np.int32), ("float16", np.float16)])
def test_bounds_of_other_types(kind, dtype):
    info = np.iinfo(dtype) if dtype is np.int32 else np.finfo(dtype)
    model = model_of(
        f"""g ({kind}[4] x) => ({kind}[4] y, {kind}[4] z) {{
            y = Clip(x, low, high) z = Clip(x, one, most) }}""",
        {
            "low": dtype(info.min),
            "high": dtype(info.max),
            "one": dtype(1),
            "most": dtype(info.max - (1 if dtype is np.int32 else 32)),
        },
    )
    result = run_pass(planish.load(model), PASS)
    assert [len(n.inputs) for n in result.graph.nodes] == [1, 3]
    feeds = {"x": np.array([info.min, 0, 5, info.max], dtype)}
    assert_same_function(model, result.graph, feeds, 0)


def test_resize_before_it_was_optional():
    body = 'y = Resize <mode = "nearest"> (x, none, twice)'
    _check(body, "x,none,twice", opset=11)


def test_crop_needs_its_region():
    body = 'y = Resize <coordinate_transformation_mode = "tf_crop_and_resize"> (x, roi, twice)'
    roi = np.array([0, 0, 0.2, 0.2, 1, 1, 0.8, 0.8], np.float32)
    model = model_of(f"g (float[1,2,4,4] x) => (float[A,B,C,D] y) {{ {body} }}",
                     {"roi": roi, "twice": VALUES["twice"]})  # fmt: skip
    assert run_pass(planish.load(model), PASS).edits == 0


@pytest.mark.parametrize(("read", "outputs"), [("", ["y"]), ("z = Identity(i)", ["y", "i"])])
def test_indices_of_a_pool(read, outputs):
    extra = ", int64[A, B, C, D] z" if read else ""
    model = model_of(
        f"""g (float[1, 2, 4, 4] x) => (float[A, B, C, D] y{extra}) {{
            y, i = MaxPool <kernel_shape = [2, 2]> (x) {read} }}"""
    )
    result = run_pass(planish.load(model), PASS)
    assert [t.name for t in result.graph.nodes[0].outputs] == outputs
    assert_same_function(model, result.graph, {"x": X})


def test_indices_that_are_a_graph_output_stay():
    model = model_of(
        """g (float[1, 2, 4, 4] x) => (float[A, B, C, D] y, int64[A, B, C, D] i) {
            y, i = MaxPool <kernel_shape = [2, 2]> (x) }"""
    )
    result = run_pass(planish.load(model), PASS)
    assert result.edits == 0
    assert_same_function(model, result.graph, {"x": X})


RECURRENT = {"LSTM": 4, "GRU": 3, "RNN": 1}


@pytest.mark.parametrize("op", RECURRENT)
@pytest.mark.parametrize("zero", [True, False])
def test_recurrent(op, zero):
    """5 steps, batch 2, 3 features, 4 hidden; the last state alone is read."""
    g = np.random.default_rng(0)
    gates = RECURRENT[op]
    weights = {
        "w": g.standard_normal((1, 4 * gates, 3)),
        "r": g.standard_normal((1, 4 * gates, 4)),
        "b": np.zeros((1, 8 * gates)) if zero else g.standard_normal((1, 8 * gates)),
        "h": np.zeros((1, 2, 4)) if zero else g.standard_normal((1, 2, 4)),
    }
    weights = {k: v.astype(np.float32) for k, v in weights.items()}
    weights["l"] = np.array([5, 5] if zero else [5, 3], np.int32)
    cell = ", h" if op == "LSTM" else ""
    state = ", c" if op == "LSTM" else ""
    model = model_of(
        f"""g (float[5, 2, 3] x) => (float[A, B, C] y) {{
            s, t{state} = {op} <hidden_size = 4> (x, w, r, b, l, h{cell}) y = Neg(t) }}""",
        weights,
    )
    result = run_pass(planish.load(model), PASS)
    node = result.graph.nodes[0]
    kept = ["x", "w", "r"] if zero else ["x", "w", "r", "b", "l", "h", *(["h"] if cell else [])]
    assert [t.name for t in node.inputs] == kept
    assert [t.name for t in node.outputs] == ["", "t"]
    x = g.standard_normal((5, 2, 3)).astype(np.float32)
    assert_same_function(model, result.graph, {"x": x})


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_state_of_computed_size(value):
    """What exporters give an LSTM to begin with under a dynamic batch."""
    g = np.random.default_rng(0)
    weights = {
        "w": g.standard_normal((1, 16, 3)).astype(np.float32),
        "r": g.standard_normal((1, 16, 4)).astype(np.float32),
        "batch": np.array(1),
        "one": np.array([1]),
        "four": np.array([4]),
        "zero": np.array([0]),
    }
    model = model_of(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[T, N, 3] x) => (float[A, B, C, D] y) {{
            s = Shape(x) n = Gather(s, batch) m = Unsqueeze(n, zero)
            k = Concat <axis = 0> (one, m, four)
            h = ConstantOfShape <value = float[1] {{{value}}}> (k)
            y = LSTM <hidden_size = 4> (x, w, r, , , h, h) }}""",
        weights,
    )
    result = run_pass(planish.load(model), f"{PASS},eliminate-dead-code")
    assert len(result.graph.nodes) == (6 if value else 1)
    x = g.standard_normal((5, 2, 3)).astype(np.float32)
    assert_same_function(model, result.graph, {"x": x})


def test_batchnorm_in_training_keeps_its_outputs():
    """Before opset 14 the number of outputs said whether it trains."""
    names = "scale, b, mean, var"
    model = model_of(
        f"""<ir_version: 8, opset_import: ["" : 9]>
        g (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) {{
            y, m, v, sm, sv = BatchNormalization (x, {names}) }}""",
        {name: np.ones(2, np.float32) for name in names.split(", ")},
    )
    assert run_pass(planish.load(model), PASS, verify="off").edits == 0


def test_nodes_of_other_domains_keep_their_empty_inputs():
    model = model_of(
        """<ir_version: 10, opset_import: ["" : 20, "my.domain" : 1]>
        g (float[4] x) => (float[4] y) { y = my.domain.Clip(x, , ) }"""
    )
    assert run_pass(planish.load(model), PASS).edits == 0
