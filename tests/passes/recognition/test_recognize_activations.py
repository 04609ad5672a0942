"""Activations from the spellings of PyTorch, TensorFlow, Keras and Paddle, and their near-misses."""

# ruff: noqa: E501 - one spelling a line

from __future__ import annotations

import re

import ml_dtypes
import numpy as np
import onnx.reference
import onnxruntime as ort
import pytest
from hypothesis import given, settings

import planish

from tests.effort import examples
from tests.helpers import assert_same_function, model_of, ops, reasons, run_ort, run_pass
from tests.passes.test_properties import _SETTINGS, _check
from tests.strategies import networks
from tests.strategies.recognition import ACTIVATIONS

PASS = "recognize-activations"
X = (np.random.default_rng(0).standard_normal((2, 3, 50)) * 4).astype(np.float32)
F = "float[N, 3, 50]"
NUMBERS = {
    "zero": 0, "half": 0.5, "one": 1, "two": 2, "three": 3, "six": 6, "minus": -1, "fifth": 0.2,
    "sixth": 1 / 6, "typed_sixth": 0.166667, "rough_sixth": 0.1667, "sqrt2": np.sqrt(2),
    "rsqrt2": np.sqrt(0.5), "rough_sqrt2": 1.414, "cubic": 0.044715, "wrong_cubic": 0.045,
    "k": np.sqrt(2 / np.pi), "beta": 1.702, "twenty": 20, "five": 5, "tenth": 0.1,
    "almost_one": 0.999, "ten": 10, "infinite": np.inf,
}  # fmt: skip


def model(body, kind=F, opset=17, dtype=np.float32, **more):
    words = set(re.findall(r"\w+", body))
    weights = {k: np.array(v, dtype) for k, v in NUMBERS.items() if k in words} | more
    ir = 8 if opset < 20 else 10
    return model_of(
        f'<ir_version: {ir}, opset_import: ["" : {opset}]>\n'
        f"g ({kind} x) => ({kind} y) {{ {body} }}",
        weights,
    )


FIRES = {
    # PyTorch's modules and functions, by both exporters
    "torch gelu": ("Gelu", "a = Div(x, sqrt2) b = Erf(a) d = Add(b, one) p = Mul(x, d) y = Mul(p, half)"),
    "dynamo gelu": ("Gelu", "a = Div(x, sqrt2) b = Erf(a) d = Add(b, one) p = Mul(half, d) y = Mul(x, p)"),
    "half first": ("Gelu", "h = Mul(x, half) a = Mul(rsqrt2, x) b = Erf(a) d = Add(one, b) y = Mul(d, h)"),
    "half by division": ("Gelu", "h = Div(x, two) a = Mul(rsqrt2, x) b = Erf(a) d = Add(one, b) y = Mul(d, h)"),
    "gelu, distributed": ("Gelu", "a = Mul(x, rsqrt2) b = Erf(a) c = Mul(b, half) d = Add(c, half) y = Mul(x, d)"),
    "torch gelu tanh": ("GeluTanh", "q = Mul(x, x) r = Mul(x, q) s = Mul(cubic, r) t = Add(x, s) u = Mul(k, t) "
                        "v = Tanh(u) w = Add(one, v) p = Mul(x, w) y = Mul(half, p)"),
    "tf2onnx gelu tanh": ("GeluTanh", "r = Pow(x, three) s = Mul(r, cubic) t = Add(s, x) u = Mul(t, k) "
                          "v = Tanh(u) w = Add(v, one) p = Mul(w, half) y = Mul(x, p)"),
    "gelu tanh, factored": ("GeluTanh", "q = Pow(x, two) r = Mul(q, cubic) s = Add(r, one) t = Mul(s, x) "
                            "u = Mul(t, k) v = Tanh(u) w = Add(v, one) h = Mul(x, half) y = Mul(h, w)"),
    "silu": ("Silu", "s = Sigmoid(x) y = Mul(x, s)"),
    "silu by division": ("Silu", "n = Neg(x) e = Exp(n) d = Add(one, e) y = Div(x, d)"),
    "silu by a factor": ("Silu", "n = Mul(x, minus) e = Exp(n) d = Add(e, one) y = Div(x, d)"),
    "silu with beta one": ("Silu", "z = Mul(x, one) s = Sigmoid(z) y = Mul(s, x)"),
    "silu by a reciprocal": ("Silu", "n = Neg(x) e = Exp(n) d = Add(e, one) s = Reciprocal(d) y = Mul(x, s)"),
    "mish": ("Mish", "s = Softplus(x) t = Tanh(s) y = Mul(x, t)"),
    "mish by hand": ("Mish", "e = Exp(x) a = Add(one, e) s = Log(a) t = Tanh(s) y = Mul(t, x)"),
    "dynamo mish": ("Mish", "p = Softplus(x) g = Greater(x, twenty) s = Where(g, x, p) t = Tanh(s) y = Mul(x, t)"),
    "relu6(x+3)*x/6": ("HardSwish", "a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, six)"),
    "x*(relu6(x+3)/6)": ("HardSwish", "a = Add(three, x) c = Clip(a, zero, six) m = Div(c, six) y = Mul(m, x)"),
    "x/6*relu6(x+3)": ("HardSwish", "m = Div(x, six) a = Add(x, three) c = Clip(a, zero, six) y = Mul(c, m)"),
    "Paddle, typed sixth": ("HardSwish", "a = Add(x, three) c = Clip(a, zero, six) m = Mul(c, typed_sixth) y = Mul(x, m)"),
    "Keras, Relu and Min": ("HardSwish", "a = Add(x, three) r = Relu(a) c = Min(r, six) m = Mul(x, c) y = Mul(m, sixth)"),
    "Max and Min": ("HardSwish", "a = Add(x, three) r = Max(zero, a) c = Min(six, r) m = Mul(x, c) y = Mul(sixth, m)"),
    "clip to one": ("HardSwish", "a = Mul(x, sixth) b = Add(a, half) c = Clip(b, zero, one) y = Mul(x, c)"),
    "HardSigmoid": ("HardSwish", "c = HardSigmoid <alpha = 0.16666667, beta = 0.5> (x) y = Mul(c, x)"),
    # of one variable
    "clip(x+3)/6": ("HardSigmoid", "a = Add(x, three) c = Clip(a, zero, six) y = Div(c, six)"),
    "clip(x/5+1/2)": ("HardSigmoid", "a = Mul(x, fifth) b = Add(a, half) y = Clip(b, zero, one)"),
    "clip(1/2-x/5)": ("HardSigmoid", "a = Mul(x, fifth) b = Sub(half, a) y = Clip(b, zero, one)"),
    "1/(1+exp(-x))": ("Sigmoid", "n = Neg(x) e = Exp(n) a = Add(one, e) y = Div(one, a)"),
    "reciprocal": ("Sigmoid", "n = Neg(x) e = Exp(n) a = Add(e, one) y = Reciprocal(a)"),
    "softsign": ("Softsign", "b = Abs(x) a = Add(b, one) y = Div(x, a)"),
    "dynamo softplus": ("Softplus", "s = Softplus(x) g = Greater(x, twenty) y = Where(g, x, s)"),
    "max(x, x/5)": ("LeakyRelu", "a = Mul(fifth, x) y = Max(x, a)"),
    "max(x/5, x)": ("LeakyRelu", "a = Div(x, five) y = Max(a, x)"),
    "relu(x)-relu(-x)/5": ("LeakyRelu", "r = Relu(x) n = Neg(x) q = Relu(n) m = Mul(q, fifth) y = Sub(r, m)"),
    "relu(x)+min(x,0)/5": ("LeakyRelu", "r = Relu(x) q = Min(x, zero) m = Mul(q, fifth) y = Add(m, r)"),
    "Keras PRelu": ("PRelu", "r = Relu(x) n = Neg(x) q = Relu(n) m = Mul(slope, q) y = Add(r, m)"),
    # clamps
    "max(x, 0)": ("Relu", "y = Max(x, zero)"),
    "max(0, x)": ("Relu", "y = Max(zero, x)"),
    "clip to infinity": ("Relu", "r = Relu(x) y = Clip(r, zero, infinite)"),
    "min(max)": ("Clip", "a = Max(x, minus) y = Min(a, two)"),
    "max(min)": ("Clip", "a = Min(two, x) y = Max(minus, a)"),
    "Keras relu6": ("Clip", "a = Relu(x) y = Min(a, six)"),
    "clip of clip": ("Clip", "a = Clip(x, minus, six) y = Clip(a, zero, two)"),
    "clips apart": ("Clip", "a = Clip(x, zero, one) y = Clip(a, two, six)"),
    "relu of clip": ("Clip", "a = Clip(x, minus, six) y = Relu(a)"),
    "clip of relu": ("Clip", "a = Relu(x) y = Clip(a, , six)"),
    "relu of relu": ("Relu", "a = Relu(x) y = Relu(a)"),
    "max of max": ("Max", "a = Max(x, minus) y = Max(a, one)"),
}  # fmt: skip
SLOPE = {"slope": -np.array([0.1, 0.5, 2], np.float32).reshape(3, 1)}


@pytest.mark.parametrize("kind", [F, "float[2, 3, 50]"], ids=["dynamic", "static"])
@pytest.mark.parametrize(("op", "body"), FIRES.values(), ids=FIRES)
def test_fires(op, body, kind):
    given_model = model(body, kind, **(SLOPE if "slope" in body else {}))
    result = run_pass(planish.load(given_model), PASS)
    assert ops(result.graph) == [op]
    tolerance = 3e-6 if "typed" in body else 1e-6
    assert_same_function(given_model, result.graph, {"x": X}, tolerance)


@pytest.mark.parametrize(("op", "body"), FIRES.values(), ids=FIRES)
def test_agrees_where_floats_are_not_numbers(op, body):
    given_model = model(body, **(SLOPE if "slope" in body else {}))
    result = run_pass(planish.load(given_model), PASS)
    odd = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-40, -100, 100, 88, -88, 0], np.float32)
    x = np.broadcast_to(odd.repeat(5), (1, 3, 50)).copy()
    found = run_ort(planish.to_model(result.graph, portable=True), {"x": x})["y"]
    expected = run_ort(given_model, {"x": x})["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("opset", [18, 20, 22])
@pytest.mark.parametrize(
    ("name", "attrs"),
    [("half first", {"approximate": "none"}), ("torch gelu tanh", {"approximate": "tanh"})],
)
def test_gelu_is_an_operator_of_the_standard_from_opset_20_on(name, attrs, opset):
    given_model = model(FIRES[name][1], opset=opset)
    result = run_pass(planish.load(given_model), PASS)
    (node,) = result.graph.nodes
    standard = opset >= 20
    assert (node.domain == "planish") != standard
    assert node.op == ("Gelu" if standard else FIRES[name][0])
    assert node.attrs == (attrs if standard else {})
    assert_same_function(given_model, result.graph, {"x": X}, 1e-6)


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 14, 17, 22])
@pytest.mark.parametrize("op", ["HardSwish", "Silu", "HardSigmoid", "Clip"])
def test_opsets(op, opset):
    clip = "Clip <min = 0.0, max = 6.0> (a)" if opset < 11 else "Clip(a, zero, six)"
    body = {
        "HardSwish": f"a = Add(x, three) c = {clip} m = Mul(x, c) y = Div(m, six)",
        "HardSigmoid": f"a = Add(x, three) c = {clip} y = Div(c, six)",
        "Silu": "s = Sigmoid(x) y = Mul(x, s)",
        "Clip": f"a = Relu(x) y = {clip}",
    }[op]
    given_model = model(body, opset=opset)
    result = run_pass(planish.load(given_model), PASS)
    (node,) = result.graph.nodes
    assert node.op == op
    assert (node.domain == "planish") == (op == "Silu" or (op == "HardSwish" and opset < 14))
    assert_same_function(given_model, result.graph, {"x": X}, 1e-6)


def test_the_slope_and_shift_of_a_hard_sigmoid_are_those_of_the_file():
    result = run_pass(planish.load(model(FIRES["clip(1/2-x/5)"][1])), PASS)
    (node,) = result.graph.nodes
    assert node.attrs == pytest.approx({"alpha": -0.2, "beta": 0.5})


STAYS = {
    "the greater one of one": ("a = Mul(x, x) y = Max(a, a)", set()),
    "swish with another beta": ("a = Mul(x, beta) s = Sigmoid(a) y = Mul(x, s)", set()),
    "rough sixth": ("a = Add(x, three) c = Clip(a, zero, six) m = Mul(x, c) y = Mul(m, rough_sixth)", set()),
    "rough root": ("a = Div(x, rough_sqrt2) b = Erf(a) d = Add(b, one) p = Mul(x, d) y = Mul(p, half)", set()),
    "no half": ("a = Div(x, sqrt2) b = Erf(a) d = Add(b, one) y = Mul(x, d)", set()),
    "minus erf": ("a = Div(x, sqrt2) b = Erf(a) d = Sub(one, b) p = Mul(x, d) y = Mul(p, half)", set()),
    "another gate": ("z = Abs(x) s = Sigmoid(z) y = Mul(x, s)", set()),
    "wrong cubic": ("r = Pow(x, three) s = Mul(r, wrong_cubic) t = Add(s, x) u = Mul(t, k) "
                    "v = Tanh(u) w = Add(v, one) p = Mul(w, half) y = Mul(x, p)", set()),
    "shifted by two": ("a = Add(x, two) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, six)", set()),
    "not up to one": ("a = Add(x, three) c = Clip(a, zero, five) y = Div(c, six)", set()),
    "from above zero": ("a = Add(x, three) c = Clip(a, one, six) y = Div(c, six)", set()),
    "almost one": ("n = Neg(x) e = Exp(n) a = Add(almost_one, e) y = Reciprocal(a)", set()),
    "exp(x)": ("e = Exp(x) a = Add(one, e) y = Reciprocal(a)", set()),
    "log(1 + exp(x)) overflows": ("e = Exp(x) a = Add(one, e) y = Log(a)", set()),
    "clip without an upper bound makes infinity finite": ("y = Clip(x, zero)", set()),
    "slope above one": ("a = Mul(x, two) y = Max(x, a)", set()),
    "softplus, early": ("s = Softplus(x) g = Greater(x, five) y = Where(g, x, s)",
                        {"below 15 Softplus is not its input yet"}),
    "the gate is read twice": ("s = Sigmoid(x) m = Mul(x, s) y = Add(m, s)",
                               {"the result of Sigmoid inside it is read elsewhere too"}),
    "the clip is read twice": ("a = Add(x, three) c = Clip(a, zero, six) d = Div(c, six) y = Add(d, c)",
                               {"the result of Clip inside it is read elsewhere too"}),
    "the first clip is read twice": ("a = Clip(x, minus, six) b = Clip(a, zero, two) y = Add(a, b)",
                                     {"the result of Clip inside it is read elsewhere too"}),
    "bounds crossed": ("a = Clip(x, six, two) y = Clip(a, zero, five)", set()),
}  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), STAYS.values(), ids=STAYS)
def test_leaves_alone(body, expected):
    graph = planish.load(model(body))
    result = run_pass(graph, PASS)
    assert result.edits == 0
    assert ops(result.graph) == ops(graph)
    assert reasons(result) == expected


def test_a_bound_of_minus_zero_stays():
    """A quotient by it is -inf, and by what Relu gives inf."""
    graph = planish.load(model("m = Max(x, low) y = Div(one, m)", low=np.float32(-0.0)))
    result = run_pass(graph, PASS)
    assert result.edits == 0
    assert reasons(result) == {"its bound is -0.0, and Relu gives 0.0"}


SIGMOIDS = {
    "Sigmoid": "n = Neg(x) e = Exp(n) a = Add(e, one) s = Reciprocal(a)",
    "Silu": "n = Neg(x) e = Exp(n) a = Add(e, one) s = Div(x, a)",
}
# With the operator that tells small values from 0, or none.
BEHIND = {
    "y = Log(s)": "Log",
    "y = Reciprocal(s)": "Reciprocal",
    "y = Sqrt(s)": "Sqrt",
    "y = Div(six, s)": "Div",
    "y = Pow(s, half)": "Pow",
    "y = Pow(s, x)": "Pow",
    "m = Mul(s, ten) b = Add(tiny, m) t = Transpose(b) y = Log(t)": "Log",
    "m = ReduceSum(s, axes) y = Div(s, m)": "Div",
    "c = Clip(s, tiny) y = Log(c)": "Log",
    "c = Min(six, s) y = Log(c)": "Log",
    "u = Exp(s) t = Tanh(u) m = Mul(t, s) y = Log(m)": "Log",
    "u = Exp(s) t = Tanh(u) m = Mul(t, s) b = Add(m, one) y = Log(b)": "",
    "m = MatMul(s, square) y = Log(m)": "Log",
    "m = Mul(s, large) y = Softmax(m)": "Mul",
    "y = LpNormalization(s)": "LpNormalization",
    "y = LayerNormalization(s, scale)": "LayerNormalization",
    "c = Cast <to = 9> (s) d = Cast <to = 1> (c) y = Mul(d, x)": "Cast",
    "y, i = TopK(s, few)": "TopK",
    "i = ArgMax(s) f = Cast <to = 1> (i) y = Add(f, x)": "ArgMax",
    "m = MatMul(s, square) b = Add(m, one) y = Log(b)": "",
    "y = Mul(s, s)": "",
    "y = Pow(s, two)": "",
    "y = Div(s, six)": "",
    "b = Add(s, one) y = Log(b)": "",
    "y = Softmax(s)": "",
}


BESIDE = {
    "tiny": np.float32(1e-12),
    "large": np.float32(1e9),
    "axes": np.array([-1]),
    "few": np.array([2]),
    "square": np.ones((50, 50), np.float32),
    "scale": np.ones(50, np.float32),
}


@pytest.mark.parametrize(("behind", "teller"), BEHIND.items(), ids=BEHIND)
@pytest.mark.parametrize("op", SIGMOIDS)
def test_small_values_of_a_sigmoid_that_count_stay(op, behind, teller):
    """Where the formula gives 1e-13, the kernel gives 0: log(0) is no -30."""
    body = f"{SIGMOIDS[op]} {behind}"
    more = {name: values for name, values in BESIDE.items() if name in behind}
    given_model = model(body, F if "Transpose" not in behind else "float[3, 3, 50]", **more)
    result = run_pass(planish.load(given_model), PASS)
    assert (op in ops(result.graph)) is not bool(teller)
    told = f"{teller} tells small values from 0, and ONNX Runtime's Sigmoid gives 0 for them"
    assert reasons(result) == ({told} if teller else set())


@pytest.mark.parametrize("op", SIGMOIDS)
def test_a_sigmoid_of_float64_keeps_its_digits(op):
    body = SIGMOIDS[op].replace(" s = ", " y = ")
    given_model = model(body, "double[N]", dtype=np.float64)
    x = np.array([-700.0, -69.0, -40.0, 0.0, 3.0])
    graph = planish.load(given_model)
    result = planish.Pipeline.parse("exact").run(graph, [{"x": x}], "each", strict=True)
    assert result.verified
    found = run_ort(planish.to_model(result.graph), {"x": x})["y"]
    np.testing.assert_allclose(found, run_ort(given_model, {"x": x})["y"], rtol=1e-14)
    assert found[1] != 0


def test_a_value_inside_that_is_an_output_stays():
    given_model = model_of(
        f"g ({F} x) => ({F} y, {F} s) {{ s = Sigmoid(x) y = Mul(x, s) }}",
    )
    result = run_pass(planish.load(given_model), PASS)
    assert ops(result.graph) == ["Sigmoid", "Mul"]
    assert reasons(result) == {"the result of Sigmoid inside it is read elsewhere too"}


def test_a_constant_that_widens_the_result_is_no_scalar():
    given_model = model_of(
        "g (float[3] x) => (float[1, 3] y) { y = Max(x, wide) }",
        {"wide": np.zeros((1, 1), np.float32)},
    )
    assert run_pass(planish.load(given_model), PASS).edits == 0


def test_scalars_of_more_dimensions():
    given_model = model(
        "a = Add(x, wide) c = Clip(a, zero, six) m = Mul(x, c) y = Div(m, six)",
        wide=np.full((1, 1, 1), 3, np.float32),
    )
    result = run_pass(planish.load(given_model), PASS)
    assert ops(result.graph) == ["HardSwish"]
    assert_same_function(given_model, result.graph, {"x": X}, 1e-6)


def test_a_constant_that_a_caller_may_override_stays():
    given_model = model_of(
        f"g ({F} x, float w) => ({F} y) {{ y = Max(x, w) }}", {"w": np.float32(0)}
    )
    result = run_pass(planish.load(given_model), PASS)
    assert result.edits == 0
    feeds = {"x": X, "w": np.array(1, np.float32)}
    assert_same_function(given_model, result.graph, feeds, 0)


@pytest.mark.parametrize(
    ("opset", "name", "found"),
    [
        (17, "silu", ["Silu"]),
        (17, "x*(relu6(x+3)/6)", ["HardSwish"]),
        (20, "half first", ["Gelu"]),
        (18, "mish", ["Mish"]),
        (17, "half first", ["Mul", "Mul", "Erf", "Add", "Mul"]),
        (17, "min(max)", ["Clip"]),
        (17, "clip(x+3)/6", ["HardSigmoid"]),
    ],
)
def test_float16(opset, name, found):
    kind = F.replace("float", "float16")
    given_model = model(FIRES[name][1], kind, opset, np.float16)
    result = run_pass(planish.load(given_model), PASS)
    assert ops(result.graph) == found
    declined = {"Gelu of float16 has no operator in opset 17"} if len(found) > 1 else set()
    assert reasons(result) == declined
    assert_same_function(given_model, result.graph, {"x": X.astype(np.float16)}, 1e-3)


@pytest.mark.parametrize("name", ["half first", "mish", "x*(relu6(x+3)/6)"])
def test_float64_has_no_kernels(name):
    given_model = model(FIRES[name][1], F.replace("float", "double"), dtype=np.float64)
    result = run_pass(planish.load(given_model), PASS, verify="off")
    assert not {"Gelu", "Mish", "HardSwish", "HardSigmoid"} & set(ops(result.graph))
    assert any("float64" in reason for reason in reasons(result))


def test_bfloat16_clamps_keep_their_type():
    given_model = model(
        FIRES["min(max)"][1], F.replace("float", "bfloat16"), dtype=ml_dtypes.bfloat16
    )
    result = run_pass(planish.load(given_model), PASS, verify="off")
    (node,) = result.graph.nodes
    assert [np.dtype(t.dtype) for t in node.inputs[1:]] == [ml_dtypes.bfloat16] * 2
    assert [float(t.values) for t in node.inputs[1:]] == [-1, 2]


def test_the_operator_mish_becomes_the_faster_function():
    given_model = model("y = Mish(x)", opset=18)
    result = run_pass(planish.load(given_model), PASS)
    (node,) = result.graph.nodes
    assert (node.domain, node.op) == ("planish", "Mish")
    assert_same_function(given_model, result.graph, {"x": X}, 1e-6)


@pytest.mark.parametrize(("opset", "found"), [(7, ["Softplus", "Tanh", "Mul"]), (8, ["Mish"])])
def test_mish_where_min_broadcasts(opset, found):
    given_model = model("s = Softplus(x) t = Tanh(s) y = Mul(x, t)", opset=opset)
    result = run_pass(planish.load(given_model), PASS)
    assert ops(result.graph) == found
    assert_same_function(given_model, result.graph, {"x": X}, 1e-6)


def test_the_quotient_of_mish_does_not_cancel():
    """Far below zero Mish is x exp(x); with an accurate Sigmoid it keeps its relative accuracy."""
    given_model = model("s = Softplus(x) t = Tanh(s) y = Mul(x, t)")
    result = run_pass(planish.load(given_model), PASS)
    x = np.linspace(-30, 30, 150, dtype=np.float32).reshape(1, 3, 50)
    portable = planish.to_model(result.graph, portable=True)
    (found,) = onnx.reference.ReferenceEvaluator(portable).run(None, {"x": x})
    exact = x.astype(np.float64)
    exact = exact * np.tanh(np.log1p(np.exp(exact)))
    np.testing.assert_allclose(found, exact, rtol=2e-6)


def test_in_a_subgraph():
    given_model = model_of(
        f"""g ({F} x, bool t) => ({F} y) {{
            y = If (t) <then_branch = p () => ({F} u) {{ s = Sigmoid(x) u = Mul(x, s) }},
                        else_branch = q () => ({F} w) {{ w = Neg(x) }}> }}"""
    )
    result = run_pass(planish.load(given_model), PASS)
    assert ops(result.graph.nodes[0].attrs["then_branch"]) == ["Silu"]
    for t in (True, False):
        assert_same_function(given_model, result.graph, {"x": X, "t": np.array(t)}, 1e-6)


def test_several_in_a_row_share_one_function():
    given_model = model("s = Sigmoid(x) a = Mul(x, s) t = Sigmoid(a) y = Mul(a, t)")
    result = run_pass(planish.load(given_model), PASS)
    assert ops(result.graph) == ["Silu", "Silu"]
    assert [function.name for function in result.graph.functions] == ["Silu"]
    assert_same_function(given_model, result.graph, {"x": X}, 1e-6)


@pytest.mark.parametrize(
    ("name", "kernels"), [("dynamo gelu", ["Gelu"]), ("silu by division", ["QuickGelu"])]
)
def test_onnx_runtime_fuses_the_functions(name, kernels, tmp_path):
    result = run_pass(planish.load(model(FIRES[name][1])), PASS)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(planish.to_model(result.graph).SerializeToString(), options)
    assert ops(planish.load(tmp_path / "optimized.onnx")) == kernels


@given(case=networks(patterns=ACTIVATIONS))
@settings(_SETTINGS, max_examples=examples(40))
def test_random_networks(case):
    _check(case, PASS)


@pytest.mark.parametrize("opset", [11, 12, 17, 20])
@pytest.mark.parametrize(
    ("body", "slope"),
    [
        ("a = Mul(x, c) y = Max(x, a)", 0.1),
        ("p = Relu(x) n = Neg(x) q = Relu(n) r = Mul(q, c) y = Sub(p, r)", 0.3),
        ("p = Relu(x) n = Neg(x) q = Relu(n) r = Mul(q, c) y = Sub(p, r)", [0.1, 0.2, 0.3, 0.4]),
        ("p = Max(x, c) y = Min(p, d)", -0.5),
    ],
)
def test_float64_runs_as_before(opset, body, slope):
    given_model = model_of(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (double[N, 4] x) => (double[N, 4] y) {{ {body} }}""",
        {"c": np.array(slope), "d": np.array(0.5)},
    )
    result = run_pass(planish.load(given_model), PASS)
    clips = "d)" in body and opset >= 12
    assert (ops(result.graph) == ["Clip"]) is clips
    assert clips or any("float64" in reason for reason in reasons(result))
    x = np.linspace(-1, 1, 12).reshape(3, 4)
    assert_same_function(given_model, result.graph, {"x": x}, 1e-7)


@pytest.mark.parametrize(
    ("body", "opset"),
    [
        ("s = Mul(x, zero) y = Max(s, s)", 22),
        ("h = Div(x, two) y = Max(x, h)", 22),
        ("s = Mul(x, one) y = Max(x, s)", 14),
    ],
)
@pytest.mark.parametrize("kind", ["int8", "int64"])
def test_integers_have_no_rectifier(body, opset, kind):
    dtype = np.dtype(kind)
    values = {name: dtype.type(v) for name, v in (("zero", 0), ("one", 1), ("two", 2))}
    model = model_of(
        f'<ir_version: 8, opset_import: ["" : {opset}]> g ({kind}[N, 3] x) => ({kind}[] y) '
        f"{{ {body} }}",
        {name: value for name, value in values.items() if name in body},
    )
    result = run_pass(planish.load(model), "recognize-activations")
    assert "LeakyRelu" not in ops(result.graph)
    feeds = {"x": np.array([[-7, 3, 6], [-128, 0, 127]], dtype)}
    before, after = (run_ort(m, feeds)["y"] for m in (model, planish.to_model(result.graph)))
    np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    "body",
    [
        "h = Mul(x, half) a = Div(x, root) e = Erf(a) b = Add(e, one) y = Mul(h, b)",
        "h = Mul(x, half) q = Mul(x, x) p = Mul(q, cube) r = Add(p, plain) a = Mul(x, r) "
        "t = Tanh(a) b = Add(t, one) y = Mul(h, b)",
    ],
    ids=["erf", "tanh"],
)
def test_a_gelu_within_the_range_of_floats_stays_within_it(body):
    scale = np.sqrt(2 / np.pi)
    values = {"half": 0.5, "root": np.sqrt(2), "one": 1, "cube": 0.044715 * scale, "plain": scale}
    model = model_of(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[N] x) => (float[] y) {{ {body} }}',
        {name: np.float32(value) for name, value in values.items() if f" {name})" in body},
    )
    result = run_pass(planish.load(model), "recognize-activations")
    assert result.edits
    x = np.array([3e38, 2e38, 1.0, 0.0, -1.0, -3e38], np.float32)
    found = run_ort(planish.to_model(result.graph, portable=True), {"x": x})["y"]
    np.testing.assert_allclose(found, run_ort(model, {"x": x})["y"], rtol=1e-6, atol=1e-7)
