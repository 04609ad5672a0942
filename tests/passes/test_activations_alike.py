"""Whatever activation a network has, the passes that let one through let all of them through.

Each is placed where a pass has to see through it: as an operator of its own opset, or as the local
function that `recognize-activations` makes of its spelling. Results are those of ONNX Runtime.
"""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import assert_same_function, model_of, ops, run_pass

RNG = np.random.default_rng(5)
X = RNG.standard_normal((2, 4, 3, 5)).astype(np.float32) * 2
# Operator, opset, and the spelling of those that older opsets lack.
OPERATORS = [
    ("Celu", 12),
    ("Elu", 13),
    ("Erf", 13),
    ("Gelu", 20),
    ("HardSigmoid", 13),
    ("HardSwish", 14),
    ("LeakyRelu", 16),
    ("Mish", 18),
    ("Selu", 13),
    ("Shrink", 13),
    ("Softsign", 13),
    ("Swish", 24),
    ("ThresholdedRelu", 13),
]
SPELLED = {
    "Silu": "s = Sigmoid(h) t = Mul(h, s)",
    "HardSwish": "s = HardSigmoid <alpha = 0.16666667, beta = 0.5> (h) t = Mul(h, s)",
    "Mish": "s = Softplus(h) r = Tanh(s) t = Mul(h, r)",
    "Gelu": "g = Div(h, root) e = Erf(g) p = Add(e, one) q = Mul(h, p) t = Mul(q, half)",
}
CONSTANTS = {
    "root": np.sqrt(np.float32(2)),
    "one": np.float32(1),
    "half": np.float32(0.5),
}
CASES = [*OPERATORS, *((name, 13, "function") for name in SPELLED)]
IDS = ["-".join(map(str, case)) for case in CASES]


def network(case, before: str, after: str, weights=(), shape: str = "2, 4, 3, 5"):
    """Return a graph with the activation, h in and t out, between `before` and `after`."""
    name, opset, *function = case
    body = SPELLED[name] if function else f"t = {name} (h)"
    used = dict(weights) | ({k: v for k, v in CONSTANTS.items() if k in body} if function else {})
    ir_version = 10 if opset < 24 else 11
    model = model_of(
        f'<ir_version: {ir_version}, opset_import: ["" : {opset}]>\n'
        f"g (float[{shape}] x) => (float[] y) {{ {before} {body} {after} }}",
        used,
    )
    graph = planish.load(model)
    if function:
        graph = run_pass(graph, "recognize-activations").graph
        assert sum(node.domain == "planish" or node.op == name for node in graph.nodes) == 1
    return model, graph


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_transposes_cancel_around_it(case):
    model, graph = network(
        case,
        "h = Transpose <perm = [0, 2, 3, 1]> (x)",
        "y = Transpose <perm = [0, 3, 1, 2]> (t)",
    )
    result = run_pass(graph, "eliminate-transposes").graph
    assert "Transpose" not in ops(result)
    assert_same_function(model, result, {"x": X})


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_reshapes_cancel_around_it(case):
    targets = {"flat": np.array([2, 60]), "back": np.array([2, 4, 3, 5])}
    model, graph = network(case, "h = Reshape(x, flat)", "u = Reshape(t, back) y = Neg(u)", targets)
    result = run_pass(graph, "simplify-reshapes").graph
    assert "Reshape" not in ops(result)
    assert_same_function(model, result, {"x": X})


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_channels_are_followed_through_it(case):
    """Channels whose weights are zero go, and what the activation makes of zero stays."""
    weights = {
        "w": RNG.standard_normal((6, 4, 1, 1)).astype(np.float32),
        "b": RNG.standard_normal(6).astype(np.float32),
        "v": RNG.standard_normal((3, 6, 1, 1)).astype(np.float32),
    }
    weights["w"][2:4] = 0
    model, graph = network(case, "h = Conv(x, w, b)", "y = Conv(t, v)", weights)
    result = run_pass(graph, "shrink-channels{measure=false}").graph
    (first, *_, last) = result.nodes
    assert first.inputs[1].shape[0] == last.inputs[1].shape[1] == 4
    assert_same_function(model, result, {"x": X})


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_its_shape_is_that_of_its_input(case):
    """A target that is computed behind it from sizes before it is known."""
    model, graph = network(
        case,
        "h = Neg(x)",
        "s0 = Shape(x) n = Slice(s0, zero, first) target = Concat <axis = 0> (n, rest) "
        "u = Reshape(t, target) y = Neg(u)",
        {"zero": np.array([0]), "first": np.array([1]), "rest": np.array([60])},
        "N, 4, 3, 5",
    )
    result = run_pass(graph, "simplify-reshapes,eliminate-dead-code").graph
    assert "Flatten" in ops(result)
    assert "Shape" not in ops(result)
    assert_same_function(model, result, {"x": X})
