"""Products of integers whose grid is found at run time, written as operators between pairs."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.passes.engine.context import Context
from planish.passes.quantize.dequantize_nodes import restore_to_float
from planish.passes.quantize.qdq.match_float import FloatMatch
from planish.passes.quantize.qdq.raise_dynamic import raise_dynamic

from tests.helpers import model_of, ops, relative_error, run_ort

R = np.random.default_rng(1)
HELD = {
    "w": R.integers(0, 255, (9, 5)).astype(np.uint8),
    "z": np.uint8(120),
    "zs": R.integers(110, 130, 5).astype(np.uint8),
    "s": np.float32(0.03),
    "ss": R.uniform(0.01, 0.05, 5).astype(np.float32),
    "f": R.standard_normal((9, 5)).astype(np.float32),
    "k": R.integers(0, 255, (4, 3, 3, 3)).astype(np.uint8),
}
SECOND = "v, g, h = DynamicQuantizeLinear (f)"
ENDS = {
    "scales first": "m = Mul (a, {0}) y = Mul (c, m)",
    "one after the other": "m = Mul (c, a) y = Mul ({0}, m)",
}
X = "q, a, b = DynamicQuantizeLinear (x)"
CASES = {
    "matrix": ("MatMul", "2, 9", "p = MatMulInteger (q, w, b, z)", "s"),
    "without a zero point": ("MatMul", "2, 9", "p = MatMulInteger (q, w, b)", "s"),
    "a scale a column": ("MatMul", "2, 9", "p = MatMulInteger (q, w, b, z)", "ss"),
    "both quantized": (
        "MatMul",
        "2, 9",
        f"{SECOND} p = MatMulInteger (q, v, b, h)",
        "g",
    ),
    "convolution": (
        "Conv",
        "1, 3, 7, 8",
        "p = ConvInteger <pads = [1, 0, 0, 1], strides = [2, 1]> (q, k, b, z)",
        "s",
    ),
}


def _model(shape, body, end):
    text = f"""<ir_version: 8, opset_import: ["" : 17]> g (float[{shape}] x) => (float[] y) {{
        {X} {body} c = Cast <to = 1> (p) {end} }}"""
    used = {name: held for name, held in HELD.items() if any(
        f"{before}{name}{behind}" in text for before in "( " for behind in ",)")}  # fmt: skip
    return model_of(text, used)


def _feeds(shape):
    return {"x": R.standard_normal([int(n) for n in shape.split(",")]).astype(np.float32)}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", CASES)
def test_it_gives_the_same_numbers(name, end):
    op, shape, body, scale = CASES[name]
    model, feeds = _model(shape, body, ENDS[end].format(scale)), _feeds(shape)
    graph = planish.load(model)
    raised = raise_dynamic(graph, Context(graph))
    assert set(raised.values()) == {"y"}
    assert {"p", "c", "y"} <= set(raised)
    assert ops(graph).count(op) == 1
    assert not {"MatMulInteger", "ConvInteger", "Mul", "Cast"} & set(ops(graph))
    wanted, found = run_ort(model, feeds)["y"], run_ort(planish.to_model(graph), feeds)["y"]
    assert relative_error(wanted, found) < 1e-5
    assert np.unique(wanted).size > 3
    restore_to_float(graph, Context(graph), ["y"], FloatMatch())
    assert ops(graph) == [op]
    floats = run_ort(planish.to_model(graph), feeds)["y"]
    assert 1e-5 < relative_error(wanted, floats) < 0.1


@pytest.mark.parametrize(
    ("body", "end", "why"),
    [
        ("p = MatMulInteger (q, w, z, z)", "m = Mul (a, s) y = Mul (c, m)", "another zero point"),
        ("p = MatMulInteger (q, w, b, z)", "m = Mul (s, s) y = Mul (c, m)", "by both scales"),
        ("p = MatMulInteger (q, w, b, z)", "y = Mul (c, s)", "result is read|not multiplied"),
        ("p = MatMulInteger (q, w, b, zs)", "m = Mul (a, s) y = Mul (c, m)", "zero points"),
    ],
)
def test_another_form_is_left_alone(body, end, why):
    graph = planish.load(_model("2, 9", body, end))
    context = Context(graph)
    before = ops(graph)
    assert raise_dynamic(graph, context) == {}
    assert ops(graph) == before
    (declined,) = context.declined
    assert any(part in declined.reason for part in why.split("|"))
