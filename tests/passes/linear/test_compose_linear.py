"""Two linear operators in a row become one where that multiplies less."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import planish

from tests.effort import examples
from tests.helpers import Array, assert_same_function, model_of, ops, reasons, run_pass
from tests.passes.test_properties import _check
from tests.strategies import networks
from tests.strategies.linear import CONSECUTIVE

PASS = "compose-linear"
G = np.random.default_rng(7)


def _w(*shape: int) -> Array:
    return (G.standard_normal(shape) * np.prod(shape[1:]) ** -0.5).astype(np.float32)


WEIGHTS = {
    "up": _w(12, 4, 1, 1),
    "down": _w(3, 12, 1, 1),
    "same": _w(4, 4, 1, 1),
    "up3": _w(12, 4, 3, 3),
    "down3": _w(3, 12, 3, 3),
    "up_g": _w(12, 2, 1, 1),
    "down_g": _w(6, 6, 1, 1),
    "down4": _w(4, 3, 1, 1),
    "dw1": _w(4, 1, 1, 1),
    "dw3": _w(4, 1, 3, 3),
    "t_up": _w(4, 12, 2, 2),
    "t_down": _w(12, 3, 2, 2),
    "b12": _w(12),
    "b3": _w(3),
    "b4": _w(4),
    "b6": _w(6),
    "zero12": np.zeros(12, np.float32),
    "wide": _w(5, 9),
    "thin": _w(9, 2),
    "thin_t": _w(2, 9),
    "v9": _w(9),
    "v2": _w(2),
    "rows": _w(6, 2),
    "tall": _w(6, 9),
}
PADDED = "pads = [1, 1, 1, 1]"


def _model(body, kind="float[N, 4, 8, 8]", outputs="y", opset=20, weights=WEIGHTS):
    words = set(re.findall(r"\w+", body))
    shown = ", ".join(f"float[] {name}" for name in outputs.split())
    return model_of(
        f'<ir_version: 10, opset_import: ["" : {opset}]>\ng ({kind} x) => ({shown}) {{ {body} }}',
        {name: values for name, values in weights.items() if name in words},
    )


def _feeds(*shape):
    values = np.random.default_rng(0).standard_normal(shape or (2, 4, 8, 8))
    return {"x": values.astype(np.float32)}


FIRES = {
    "1x1, 1x1": "h = Conv (x, up, b12) y = Conv (h, down, b3)",
    "first without bias": "h = Conv (x, up) y = Conv (h, down, b3)",
    "second without bias": "h = Conv (x, up, b12) y = Conv (h, down)",
    "no bias": "h = Conv (x, up) y = Conv (h, down)",
    "3x3, 1x1": f"h = Conv <{PADDED}, dilations = [1, 2]> (x, up3, b12) y = Conv (h, down, b3)",
    "3x3 with strides, 1x1 with strides": (
        f"h = Conv <{PADDED}, strides = [2, 1]> (x, same3, b4)"
        "y = Conv <strides = [1, 3]> (h, same, b4)"
    ),
    "SAME, 1x1 with strides": (
        'h = Conv <auto_pad = "SAME_LOWER", strides = [3, 3]> (x, same3, b4)'
        "y = Conv <strides = [2, 2]> (h, same)"
    ),
    "1x1, 3x3 without pads": "h = Conv (x, up, b12) y = Conv <strides = [2, 2]> (h, down3, b3)",
    "1x1 without bias, padded 3x3": f"h = Conv (x, up) y = Conv <{PADDED}> (h, down3, b3)",
    "1x1 with a bias of zeros, padded": f"h = Conv (x, up, zero12) y = Conv <{PADDED}> (h, down3)",
    "equal groups": "h = Conv <group = 2> (x, up_g, b12) y = Conv <group = 2> (h, down_g, b6)",
    "groups of a common divisor": (
        "h = Conv <group = 4> (x, dw1, b4) y = Conv <group = 2> (h, pair, b4)"
    ),
    "depthwise 1x1, dense 3x3": "h = Conv <group = 4> (x, dw1, b4) y = Conv (h, same3)",
    "dense, depthwise 1x1": "h = Conv (x, same3) y = Conv <group = 4> (h, dw1, b4)",
    "ConvTranspose, 1x1": (
        "y0 = ConvTranspose <strides = [2, 2]> (x, t_up, b12) y = Conv (y0, down, b3)"
    ),
    "1x1, ConvTranspose": (
        "h = Conv (x, up) y = ConvTranspose <strides = [2, 2], pads = [1, 0, 0, 1]> (h, t_down, b3)"
    ),
    "three in a row": "h = Conv (x, up, b12) i = Conv (h, down) y = Conv (i, again, b12)",
}
MORE = {
    "same3": _w(4, 4, 3, 3),
    "pair": _w(4, 2, 1, 1),
    "again": _w(12, 3, 1, 1),
}
LEFT = {"ConvTranspose, 1x1": ["ConvTranspose"], "1x1, ConvTranspose": ["ConvTranspose"]}


@pytest.mark.parametrize("kind", ["float[N, 4, 8, 8]", "float[2, 4, 8, 8]", "float[N, 4, H, W]"])
@pytest.mark.parametrize("name", FIRES)
def test_fires(name, kind):
    if name.startswith("SAME") and "H" in kind:
        pytest.skip("SAME needs a size")
    body, left = FIRES[name], LEFT.get(name, ["Conv"])
    if name == "three in a row":
        left = ["Conv", "Conv"]  # four channels to three, and three to twelve, cost the least
    model = _model(body, kind, weights={**WEIGHTS, **MORE})
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == left
    assert_same_function(model, result.graph, _feeds())
    sizes = {name: size for name, size in {"N": 1, "H": 8, "W": 8}.items() if name in kind}
    assert planish.cost(result.graph, sizes).macs < planish.cost(planish.load(model), sizes).macs


def test_the_strides_multiply_and_work_falls():
    """A 1x1 of stride 3 behind a 3x3 of stride 2 throws eight of nine results away."""
    body = (
        f"h = Conv <{PADDED}, strides = [2, 2]> (x, same3, b4)y = Conv <strides = [3, 3]> (h, same)"
    )
    model = _model(body, "float[1, 4, 36, 36]", weights={**WEIGHTS, **MORE})
    before = planish.load(model)
    result = run_pass(before, PASS)
    assert result.graph.nodes[0].attrs["strides"] == [6, 6]
    assert result.graph.nodes[0].attrs["pads"] == [1, 1, 1, 1]
    assert planish.cost(before).macs == 18 * 18 * 4 * 4 * 9 + 6 * 6 * 16
    assert planish.cost(result.graph).macs == 6 * 6 * 4 * 4 * 9
    assert_same_function(model, result.graph, _feeds(1, 4, 36, 36))


MATRICES = {
    "MatMul": ("h = MatMul(x, wide) y = MatMul(h, thin)", ["MatMul"]),
    "first bias": ("g = MatMul(x, wide) h = Add(g, v9) y = MatMul(h, thin)", None),
    "second bias": ("h = MatMul(x, wide) i = MatMul(h, thin) y = Add(v2, i)", None),
    "both": ("g = MatMul(x, wide) h = Add(v9, g) i = MatMul(h, thin) y = Add(i, v2)", None),
}
FLAT = {
    "Gemm": (
        "h = Gemm <alpha = 0.5, beta = 2.0> (x, wide, v9)"
        "y = Gemm <transB = 1, alpha = 3.0> (h, thin_t, v2)",
        ["Gemm"],
    ),
    "Gemm, MatMul": ("h = Gemm (x, wide, v9) y = MatMul (h, thin)", ["Gemm"]),
    "MatMul, Gemm": ("h = MatMul (x, wide) y = Gemm (h, thin, v2)", ["Gemm"]),
    "a bias by row stays": (
        "h = MatMul(x, wide) i = MatMul(h, thin) y = Add(i, rows)",
        ["MatMul", "Add"],
    ),
}


@pytest.mark.parametrize(
    ("body", "left", "shape"),
    [
        *[(*case, shape) for case in MATRICES.values() for shape in ((6, 5), (2, 6, 5))],
        *[(*case, (6, 5)) for case in FLAT.values()],
    ],
)
def test_matrices(body, left, shape):
    model = _model(body, f"float{list(shape)}")
    result = run_pass(planish.load(model), PASS)
    if left is None:
        left = ["Gemm"] if len(shape) == 2 else ["MatMul", "Add"]
    assert ops(result.graph) == left
    assert_same_function(model, result.graph, _feeds(*shape))


def test_a_transposed_input_of_the_first_is_kept():
    model = _model("h = Gemm <transA = 1> (x, wide, v9) y = Gemm (h, thin)", "float[5, 6]")
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Gemm"]
    assert_same_function(model, result.graph, _feeds(5, 6))


def _costs(one, two):
    return f"one operator would multiply {one} times at each position, the two {two} times"


STAYS = {
    "a bottleneck": (
        "h = Conv (x, narrow) y = Conv (h, again)",
        "float[N, 12, 8, 8]",
        _costs(144, 72),
    ),
    "depthwise separable": (
        f"h = Conv <{PADDED}, group = 4> (x, dw3, b4) y = Conv (h, up, b12)",
        None,
        _costs(432, 84),
    ),
    "1x1, then a wide kernel": (
        f"h = Conv (x, narrow) y = Conv <{PADDED}> (h, again3)",
        "float[N, 12, 8, 8]",
        _costs(1296, 360),
    ),
    "equal cost": (
        "h = Gemm (x, two) y = Gemm (h, four)",
        "float[N, 4]",
        _costs(16, 16),
    ),
    "low rank": ("h = MatMul(x, low) y = MatMul(h, high)", "float[N, 9]", _costs(81, 36)),
    "two windows": (
        "h = Conv (x, same3) y = Conv (h, same3)",
        None,
        "neither Conv nor Conv is a 1x1 without pads",
    ),
    "a column is no point": (
        "h = Conv (x, column) y = Conv (h, same3)",
        None,
        "neither Conv nor Conv is a 1x1 without pads",
    ),
    "a bias that cancels": (
        "h = Gemm (x, four_up, far) y = Gemm (h, balanced)",
        "float[N, 4]",
        "what it adds is so large beside what is left that rounding would show",
    ),
    "padded 1x1": (
        f"h = Conv (x, same3) y = Conv <{PADDED}> (h, same)",
        None,
        "neither Conv nor Conv is a 1x1 without pads",
    ),
    "bias and pads": (
        f"h = Conv (x, up, b12) y = Conv <{PADDED}> (h, down3)",
        None,
        "the first's bias is missing in the pads of the second",
    ),
    "bias and ConvTranspose": (
        "h = Conv (x, up, b12) y = ConvTranspose (h, t_down)",
        None,
        "the first's bias reaches a border of ConvTranspose unevenly",
    ),
    "strided 1x1 first": (
        "h = Conv <strides = [2, 2]> (x, up) y = Conv (h, down3)",
        None,
        "the first has strides, the second a window",
    ),
    "ConvTranspose and a strided 1x1": (
        "h = ConvTranspose (x, t_up) y = Conv <strides = [2, 2]> (h, down)",
        None,
        "a ConvTranspose is followed by strides",
    ),
    "activation": ("h = Conv (x, up) r = Relu(h) y = Conv (r, down)", None, None),
    "read twice": (
        "h = Conv (x, up) i = Conv (h, down) r = Relu(h) y = Conv(r, down)",
        None,
        "the result of Conv has other readers",
    ),
    "transposed second": (
        "h = Gemm (x, wide) y = Gemm <transA = 1> (h, rows6)",
        "float[6, 5]",
        "the second transposes its input",
    ),
    "convolution and product": (
        "h = Conv (x, same) y = MatMul (h, eight)",
        None,
        "one is a convolution, the other is none",
    ),
    "bias by row": (
        "g = MatMul(x, wide) h = Add(g, tall) y = MatMul(h, thin)",
        "float[6, 5]",
        "the bias of MatMul differs from row to row",
    ),
}
ODD = {
    "narrow": _w(3, 12, 1, 1),
    "again3": _w(12, 3, 3, 3),
    "two": _w(4, 2),
    "four": _w(2, 4),
    "low": _w(9, 2),
    "high": _w(2, 9),
    "rows6": _w(6, 3),
    "eight": _w(8, 2),
    "column": _w(4, 4, 3, 1),
    "four_up": _w(4, 12),
    "far": np.arange(1000, 1012).astype(np.float32),
    "balanced": np.tile(np.array([[1, -2], [-1, 2]], np.float32), (6, 1)),
}


@pytest.mark.parametrize("name", STAYS)
def test_leaves_alone(name):
    body, kind, reason = STAYS[name]
    weights = {**WEIGHTS, **MORE, **ODD}
    outputs = "y i" if name == "read twice" else "y"
    graph = planish.load(_model(body, kind or "float[N, 4, 8, 8]", outputs, weights=weights))
    result = run_pass(graph, PASS)
    assert ops(result.graph) == ops(graph)
    assert reasons(result) == ({reason} if reason else set())


LARGER = "the weights would be larger than both and what lies between"
VALID = "h = Conv (x, p) y = Conv (h, q)"
STEPS = "h = Conv (x, p) y = Conv <strides = [2, 2]> (h, q)"
UP = "h = ConvTranspose (x, p) y = Conv (h, q)"
UP_STEPS = "h = ConvTranspose <strides = [2, 2]> (x, p) y = Conv (h, q)"
DOWN = "h = Conv (x, p) y = ConvTranspose <strides = [2, 2]> (h, q)"


@pytest.mark.parametrize(
    ("body", "size", "p", "q", "reason"),
    [
        # 16 positions before 4 of them: 4 * 16 + 18 products against 72.
        (VALID, "1, 8, 4, 4", (2, 8, 1, 1), (1, 2, 3, 3), None),
        (VALID, "1, 8, H, W", (2, 8, 1, 1), (1, 2, 3, 3), _costs(72, 34)),
        (VALID, "1, 8, 2, 2", (2, 8, 1, 1), (1, 2, 3, 3), _costs(72, 34)),  # none behind
        # Strides say as much where sizes are not known: 4 * 132 + 54 against 198, in 186 + 12.
        (STEPS, "1, 22, H, W", (6, 22, 1, 1), (1, 6, 3, 3), None),
        (STEPS, "1, 9, H, W", (4, 9, 1, 1), (1, 4, 3, 3), LARGER),  # 81 in 72 + 8
        # What a ConvTranspose gives is more: 160 + 4 * 30, or 9 / 4 of them, against 192.
        (UP_STEPS, "1, 8, 3, 3", (8, 5, 2, 2), (6, 5, 1, 1), None),
        (UP_STEPS, "1, 8, H, W", (8, 5, 2, 2), (6, 5, 1, 1), None),
        (UP, "1, 8, 2, 2", (8, 5, 2, 2), (6, 5, 1, 1), None),
        (UP, "1, 8, H, W", (8, 5, 2, 2), (6, 5, 1, 1), _costs(192, 190)),
        (DOWN, "1, 8, 3, 3", (5, 8, 1, 1), (5, 6, 2, 2), _costs(192, 160)),
    ],
)
def test_positions_count(body, size, p, q, reason):
    graph = planish.load(_model(body, f"float[{size}]", weights={"p": _w(*p), "q": _w(*q)}))
    result = run_pass(graph, PASS)
    assert reasons(result) == ({reason} if reason else set())
    assert result.edits == (reason is None)


def test_what_a_product_gives_before_its_bias_has_a_type():
    model = _model(MATRICES["both"][0], "float[2, 6, 5]")
    product = run_pass(planish.load(model), PASS).graph.nodes[0].outputs[0]
    assert (product.dtype, list(product.shape)) == (np.float32, [2, 6, 2])


def test_a_result_in_between_that_is_shown_stays():
    model = _model("h = Conv (x, up) y = Conv (h, down)", outputs="y h")
    result = run_pass(planish.load(model), PASS)
    assert reasons(result) == {"the result of Conv has other readers"}


def test_half_precision():
    weights = {name: WEIGHTS[name].astype(np.float16) for name in ("up3", "down", "b12", "b3")}
    model = model_of(
        f"g (float16[N, 4, 8, 8] x) => (float16[] y) {{"
        f"h = Conv <{PADDED}> (x, up3, b12) y = Conv (h, down, b3) }}",
        weights,
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Conv"]
    feeds = {"x": _feeds()["x"].astype(np.float16)}
    assert_same_function(model, result.graph, feeds, 2e-3)


@pytest.mark.parametrize("rank", [1, 3])
def test_one_and_three_dimensions(rank):
    weights = {"p": _w(9, 3, *[2] * rank), "q": _w(2, 9, *[1] * rank), "b": _w(9), "c": _w(2)}
    size = (2, 3, 6, 5, 4)[: rank + 2]
    model = _model("h = Conv (x, p, b) y = Conv (h, q, c)", f"float{list(size)}", weights=weights)
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Conv"]
    assert_same_function(model, result.graph, _feeds(*size))


@given(case=networks(patterns=CONSECUTIVE))
@settings(
    max_examples=examples(60),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_random_networks(case):
    _check(case, PASS)
