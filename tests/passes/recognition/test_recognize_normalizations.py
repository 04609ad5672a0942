"""Layer and instance normalization from their arithmetic."""

# ruff: noqa: E501 - one spelling a line

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import planish

from tests.effort import examples
from tests.helpers import assert_same_function, model_of, ops, reasons, run_pass
from tests.passes.test_properties import _SETTINGS, _check
from tests.strategies import networks
from tests.strategies.recognition import normalization

PASS = "recognize-normalizations"
G = np.random.default_rng(0)
X = (G.standard_normal((2, 3, 4, 5)) * 2 + 1).astype(np.float32)


def normal(*shape):
    return G.standard_normal(shape).astype(np.float32)


# The part between the variance and the normalized value, by exporter.
ENDS = {
    "PyTorch": "w = Add(v, eps) r = Sqrt(w) n = Div(d, r)",
    "rsqrt": "w = Add(eps, v) r = Sqrt(w) i = Reciprocal(r) n = Mul(i, d)",
    "TorchScript rsqrt": "w = Add(v, eps) r = Sqrt(w) i = Div(one, r) n = Mul(d, i)",
    "power of a half": "w = Add(v, eps) r = Pow(w, half) n = Div(d, r)",
    "power of minus a half": "w = Add(v, eps) r = Pow(w, minus_half) n = Mul(d, r)",
}
SQUARES = {
    "Pow": "d = Sub(x, m) q = Pow(d, two)",
    "Mul": "d = Sub(x, m) q = Mul(d, d)",
    "twin": "d = Sub(x, m) e = Sub(x, m) q = Mul(e, e)",
}


def model(
    axes,
    end="PyTorch",
    square="Pow",
    tail="y = Identity(n)",
    *,
    kind="float[N, 3, 4, 5]",
    opset=17,
    weights=None,
):
    given = f"axes = {list(axes)}, keepdims = 1"
    extra = {}
    mean, spread = f"ReduceMean <{given}> (x)", f"ReduceMean <{given}> (q)"
    if opset >= 18:
        extra["axes"] = np.array(axes, np.int64)
        mean, spread = "ReduceMean (x, axes)", "ReduceMean (q, axes)"
    dtype = {"float16": np.float16, "double": np.float64}.get(kind.split("[")[0], np.float32)
    numbers = {"eps": 1e-2, "one": 1, "half": 0.5, "minus_half": -0.5, "two": 2}
    text = f"{SQUARES[square]} v = {spread} {ENDS[end]} {tail}"
    used = {k: np.array(v, dtype) for k, v in numbers.items() if f"{k})" in text or f"({k}" in text}
    return model_of(
        f'<ir_version: 8, opset_import: ["" : {opset}]>\n'
        f"g ({kind} x) => ({kind} y) {{ m = {mean} {text} }}",
        {**used, **extra, **(weights or {})},
    )


AFFINE = "s = Mul(n, gamma) y = Add(s, beta)"
PIPELINE = f"eliminate-identities,{PASS}"


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("square", SQUARES)
@pytest.mark.parametrize(
    ("axes", "op", "sizes"),
    [
        ([-1], "LayerNormalization", (5,)),
        ([2, 3], "InstanceNormalization", (3, 1, 1)),
    ],
)
def test_spellings(axes, op, sizes, end, square):
    weights = {"gamma": normal(*sizes), "beta": normal(*sizes)}
    given_model = model(axes, end, square, AFFINE, weights=weights)
    result = run_pass(planish.load(given_model), PASS)
    assert ops(result.graph) == [op]
    assert_same_function(given_model, result.graph, {"x": X}, 2e-6)


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 17, 18, 22])
@pytest.mark.parametrize("axes", [[-1], [2, 3], [1, 2, 3]])
def test_opsets(axes, opset):
    sizes = {1: (5,), 2: (3, 1, 1), 3: (3, 4, 5)}[len(axes)]
    weights = {"gamma": normal(*sizes), "beta": normal(*sizes)}
    given_model = model(axes, tail=AFFINE, opset=opset, weights=weights)
    result = run_pass(planish.load(given_model), PASS)
    (node,) = result.graph.nodes
    assert node.op == ("InstanceNormalization" if len(axes) == 2 else "LayerNormalization")
    local = opset < 17 and len(axes) != 2
    assert (node.domain == "planish") == local
    assert_same_function(given_model, result.graph, {"x": X}, 2e-6)


@pytest.mark.parametrize(
    ("tail", "sizes", "found"),
    [
        ("y = Identity(n)", None, ["InstanceNormalization"]),
        ("y = Mul(gamma, n)", (3, 1, 1), ["InstanceNormalization"]),
        ("y = Mul(n, gamma)", (1, 3, 1, 1), ["InstanceNormalization"]),
        ("y = Mul(n, gamma)", (4, 5), ["LayerNormalization"]),
        ("y = Mul(n, gamma)", (), ["InstanceNormalization"]),
        ("y = Add(n, gamma)", (3, 1, 1), ["InstanceNormalization"]),
        ("y = Sub(n, gamma)", (3, 1, 1), ["InstanceNormalization"]),
        ("y = Sub(gamma, n)", (3, 1, 1), ["InstanceNormalization"]),
        ("y = Div(n, gamma)", (3, 1, 1), ["InstanceNormalization"]),
        ("y = Div(gamma, n)", (3, 1, 1), ["InstanceNormalization", "Div"]),
        ("s = Mul(n, gamma) y = Sub(gamma, s)", (3, 1, 1), ["InstanceNormalization"]),
        ("s = Div(n, gamma) y = Sub(s, gamma)", (4, 5), ["LayerNormalization"]),
        ("y = Mul(n, gamma)", (2, 1, 1, 1), ["InstanceNormalization", "Mul"]),
        ("y = Mul(n, gamma)", (3, 4, 5), ["InstanceNormalization", "Mul"]),
        ("s = Mul(n, gamma) y = Mul(s, n)", (3, 1, 1), ["InstanceNormalization", "Mul", "Mul"]),
        ("s = Add(n, gamma) y = Mul(s, gamma)", (3, 1, 1), ["InstanceNormalization", "Mul"]),
    ],
)
def test_scale_and_bias(tail, sizes, found):
    weights = {} if sizes is None else {"gamma": normal(*sizes)}
    if "Div" in tail:
        weights["gamma"] += np.copysign(np.float32(0.5), weights["gamma"])
    kind = "float[2, 3, 4, 5]"
    given_model = model([2, 3], tail=tail, kind=kind, weights=weights)
    result = run_pass(planish.load(given_model), PIPELINE)
    assert ops(result.graph) == found
    assert_same_function(given_model, result.graph, {"x": X}, 2e-6)


@pytest.mark.parametrize("value", [0.0, np.inf, 3e38, 1e-39])
def test_a_divisor_without_a_normal_inverse_stays(value):
    weights = {"gamma": np.array(value, np.float32)}
    given_model = model([2, 3], tail="y = Div(n, gamma)", kind="float[2, 3, 4, 5]", weights=weights)
    result = run_pass(planish.load(given_model), PASS, verify="off")
    assert ops(result.graph) == ["InstanceNormalization", "Div"]


def test_group_normalization_is_instance_normalization_of_groups():
    given_model = model_of(
        """<ir_version: 8, opset_import: ["" : 17]> g (float[N, 6, 4, 5] z) => (float[N, 6, 4, 5] y)
        { x = Reshape(z, grouped) m = ReduceMean <axes = [2]> (x) d = Sub(x, m) q = Mul(d, d)
          v = ReduceMean <axes = [2]> (q) w = Add(v, eps) r = Sqrt(w) n = Div(d, r)
          b = Reshape(n, back) s = Mul(b, gamma) y = Add(s, beta) }""",
        {
            "grouped": np.array([0, 2, -1]),
            "back": np.array([0, 6, 4, 5]),
            "eps": np.float32(1e-2),
            "gamma": normal(6, 1, 1),
            "beta": normal(6, 1, 1),
        },
    )
    result = run_pass(planish.load(given_model), PASS)
    assert ops(result.graph) == ["Reshape", "InstanceNormalization", "Reshape", "Mul", "Add"]
    assert_same_function(given_model, result.graph, {"z": normal(3, 6, 4, 5)}, 2e-6)


def test_tokens_get_layer_normalization():
    given_model = model([-1], kind="float[N, 7, 5]")
    result = run_pass(planish.load(given_model), PIPELINE)
    assert ops(result.graph) == ["LayerNormalization"]
    assert result.graph.nodes[0].attrs == {"axis": -1, "epsilon": pytest.approx(1e-2)}
    assert_same_function(given_model, result.graph, {"x": normal(2, 7, 5)}, 2e-6)


STAYS = {
    "of channels": (
        {"axes": [1]},
        "its means are over axes [1], not the last ones",
    ),
    "of all": ({"axes": [0, 1, 2, 3]}, "its means are over axes [0, 1, 2, 3], not the last ones"),
    "of unknown sizes": (
        {"axes": [-1], "kind": "float[N, 3, 4, M]"},
        "its channels or normalized sizes are not static",
    ),
    "of no elements": (
        {"axes": [-1], "kind": "float[N, 3, 4, 0]"},
        "its means are over no elements",
    ),
    "of no elements in one of the axes": (
        {"axes": [2, 3], "kind": "float[N, 3, 0, 5]"},
        "its means are over no elements",
    ),
    "of float64": (
        {"axes": [-1], "kind": "double[N, 3, 4, 5]"},
        "ONNX Runtime normalizes no float64",
    ),
    "the difference is read elsewhere": (
        {"axes": [-1], "tail": "y = Add(n, d)"},
        "the result of Sub inside it is read elsewhere too",
    ),
}


@pytest.mark.parametrize(("given", "reason"), STAYS.values(), ids=STAYS)
def test_leaves_alone(given, reason):
    result = run_pass(planish.load(model(**given)), PASS)
    assert result.edits == 0
    assert reasons(result) == {reason}


@pytest.mark.parametrize(
    "body",
    [
        # The variance is of another axis, of another tensor, or no square; nothing is subtracted.
        "m = ReduceMean <axes = [3]> (x) d = Sub(x, m) q = Mul(d, d) v = ReduceMean <axes = [2]> (q)",
        "m = ReduceMean <axes = [3]> (x) d = Sub(x, m) q = Mul(x, x) v = ReduceMean <axes = [3]> (q)",
        "m = ReduceMean <axes = [3]> (x) d = Sub(x, m) q = Pow(d, c) v = ReduceMean <axes = [3]> (q)",
        "m = ReduceMax <axes = [3]> (x) d = Sub(x, m) q = Mul(d, d) v = ReduceMean <axes = [3]> (q)",
        "m = ReduceMean <axes = [3]> (x) d = Sub(m, x) q = Mul(d, d) v = ReduceMean <axes = [3]> (q)",
    ],
)  # fmt: skip
def test_near_misses(body):
    given_model = model_of(
        f"""<ir_version: 8, opset_import: ["" : 17]> g (float[2, 3, 4, 5] x) =>
        (float[2, 3, 4, 5] y) {{ {body} w = Add(v, c) r = Sqrt(w) y = Div(d, r) }}""",
        {"c": np.float32(3)},
    )
    assert run_pass(planish.load(given_model), PASS).edits == 0


def test_float16():
    weights = {"gamma": normal(5).astype(np.float16), "beta": normal(5).astype(np.float16)}
    kind = "float16[N, 3, 4, 5]"
    given_model = model([-1], tail=AFFINE, kind=kind, weights=weights)
    result = run_pass(planish.load(given_model), PASS)
    assert ops(result.graph) == ["LayerNormalization"]
    assert_same_function(given_model, result.graph, {"x": X.astype(np.float16)}, 2e-3)


@given(case=networks(patterns=(normalization,)))
@settings(_SETTINGS, max_examples=examples(40))
def test_random_networks(case):
    _check(case, PASS)
