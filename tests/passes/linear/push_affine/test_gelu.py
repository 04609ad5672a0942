"""Half of a Gelu goes into the layers behind it."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import model_of, ops, reasons, run_ort, run_pass
from tests.passes.linear.push_affine.common import (
    PASS,
    normal,
    weights,
)

SPLIT = f"{PASS}{{split-gelu=true}}"


GELUS = {
    "Gelu": (
        "a = Div(x, sqrt2) e = Erf(a) b = Add(e, one) p = Mul(x, b) z = Mul(p, half)",
        ["Div", "Erf", "Add", "Mul"],
    ),
    "GeluTanh": (
        "q = Mul(x, x) r = Mul(x, q) s0 = Mul(r, cubic) t0 = Add(x, s0) u = Mul(t0, k0) "
        "v = Tanh(u) b = Add(v, one) p = Mul(x, b) z = Mul(p, half)",
        ["Mul", "Mul", "Add", "Mul", "Tanh", "Add", "Mul"],
    ),
}


NUMBERS = {
    "sqrt2": np.sqrt(2), "one": 1, "half": 0.5, "cubic": 0.044715, "k0": np.sqrt(2 / np.pi),
}  # fmt: skip


BEHIND_GELU = {
    "Conv": ("y = Conv <pads = [1, 1, 1, 1]> (z, w, cb)", ["Conv"]),
    "ConvTranspose": ("y = ConvTranspose <strides = [2, 2]> (z, transposed)", ["ConvTranspose"]),
    "MatMul": (
        "c = Transpose <perm = [0, 2, 3, 1]> (z) d = MatMul(c, m) y = Add(d, mb)",
        ["Transpose", "MatMul", "Add"],
    ),
    "Gemm": ("f = Flatten(z) y = Gemm(f, flat, mb)", ["Flatten", "Gemm"]),
    "MaxPool": (
        "c = MaxPool <kernel_shape = [2, 2]> (z) y = Conv(c, w1)",
        ["MaxPool", "Conv"],
    ),
    "two": ("c = Conv(z, w1) d = Conv(z, w1, cb) y = Add(c, d)", ["Conv", "Conv", "Add"]),
}


def gelu_model(body, opset=17):
    values = {name: np.float32(value) for name, value in NUMBERS.items() if name in body}
    return model_of(
        f'<ir_version: 10, opset_import: ["" : {opset}]> '
        f"g (float[N, 6, 7, 5] x) => (float[] y) {{ {body} }}",
        {name: v for name, v in {**weights(), **values}.items() if name in body},
    )


@pytest.mark.parametrize(("behind", "expected"), BEHIND_GELU.values(), ids=BEHIND_GELU)
@pytest.mark.parametrize("name", GELUS)
def test_half_of_a_gelu_goes_into_the_layers_after_it(name, behind, expected):
    """A power of two: not a bit of the result changes."""
    model = gelu_model(f"{GELUS[name][0]} {behind}")
    whole = planish.Pipeline.parse(f"recognize-activations,{PASS}").run(planish.load(model))
    assert ops(whole.graph) == [name, *expected]
    split = run_pass(whole.graph, SPLIT)
    assert sorted(ops(split.graph)) == sorted([*GELUS[name][1], *expected])
    feed = {"x": normal(2, 6, 7, 5)}
    before, after = (
        run_ort(planish.to_model(each.graph, portable=True), feed)["y"] for each in (whole, split)
    )
    np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize(
    ("behind", "expected"),
    [
        ("y = Relu(z)", set()),
        ("c = Conv(z, w1) d = Relu(z) y = Concat <axis = 1> (c, d)",
         {"Relu reads it and cannot take it in"}),
    ],
)  # fmt: skip
def test_a_gelu_stays_whole_where_something_else_reads_it(behind, expected):
    model = gelu_model(f"{GELUS['Gelu'][0]} {behind}")
    whole = planish.Pipeline.parse("recognize-activations").run(planish.load(model)).graph
    result = run_pass(whole, SPLIT)
    assert result.edits == 0
    assert reasons(result) == expected


def test_the_gelu_of_the_standard_is_one_node_already():
    model = gelu_model("z = Gelu(x) y = Conv(z, w1)", 20)
    assert run_pass(planish.load(model), SPLIT).edits == 0


@pytest.mark.parametrize("text", ["exact{split-gelu=true}", f"simplify,{SPLIT},exact"])
def test_a_network_of_split_gelus_has_a_node_less_for_each(text):
    """What `exact` makes of it afterwards is no GELU again, and a second run edits nothing."""
    model = gelu_model(f"{GELUS['Gelu'][0]} c = Conv(z, w, cb) y = Relu(c)")
    whole, split = (
        planish.Pipeline.parse(p).run(planish.load(model), strict=True) for p in ("exact", text)
    )
    counts = [len(planish.to_model(r.graph, portable=True).graph.node) for r in (whole, split)]
    assert counts[1] == counts[0] - 1
    assert planish.Pipeline.parse(text).run(split.graph).edits == 0
