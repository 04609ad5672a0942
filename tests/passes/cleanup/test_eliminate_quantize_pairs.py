"""Quantizing what was dequantized with the same parameters vanishes; the other order never does."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import planish

from tests.helpers import assert_same_function, model_of, ops, reasons, run_pass

PASS = "eliminate-quantize-pairs"
X = np.linspace(-9, 9, 24, dtype=np.float32).reshape(2, 3, 4)
KINDS = {"uint8": np.uint8, "int8": np.int8, "uint16": np.uint16, "int16": np.int16}


def _row(kind="uint8", scales=(0.1, 0.1), zeros=(7, 7), axes=("", ""), opset=20, size=4):
    """Return x -> Q -> DQ -> Q -> DQ -> y, the inner DQ -> Q with the parameters given."""
    weights = {}
    for i in (0, 1):
        weights[f"s{i}"] = np.asarray(scales[i], np.float32)
        weights[f"z{i}"] = np.full(weights[f"s{i}"].shape, zeros[i], KINDS[kind])
    return model_of(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[N, 3, {size}] x) => (float[N, 3, {size}] y) {{
            a = QuantizeLinear {axes[0]} (x, s0, z0) b = DequantizeLinear {axes[0]} (a, s0, z0)
            c = QuantizeLinear {axes[1]} (b, s1, z1) y = DequantizeLinear {axes[1]} (c, s1, z1)
        }}""",
        weights,
    )


def _check(model, left):
    result = run_pass(planish.load(model), f"{PASS},eliminate-dead-code")
    assert ops(result.graph) == left
    assert_same_function(model, result.graph, {"x": X})
    return result


PAIR = ["QuantizeLinear", "DequantizeLinear"]


@pytest.mark.parametrize("opset", [10, 13, 19, 20])
@pytest.mark.parametrize("kind", ["uint8", "int8"])
def test_a_row_becomes_one_pair(kind, opset):
    _check(_row(kind, opset=opset), PAIR)


@pytest.mark.parametrize("kind", ["uint16", "int16"])
def test_sixteen_bits(kind):
    _check(_row(kind, scales=(1e-3, 1e-3), opset=21), PAIR)


@pytest.mark.parametrize("axes", [("<axis = 1>", "<axis = 1>"), ("", "<axis = -2>")])
def test_per_axis(axes):
    scales = np.array([0.1, 0.03, 0.7], np.float32)
    _check(_row("int8", (scales, scales), axes=axes), PAIR)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"scales": (0.1, 0.2)}, "the scales differ"),
        ({"zeros": (7, 8)}, "the zero points differ"),
        ({"scales": (0.0, 0.0)}, "a scale is zero, subnormal or no number"),
        ({"scales": (np.nan, np.nan)}, "the scales differ"),
        ({"scales": (1e-40, 1e-40)}, "a scale is zero, subnormal or no number"),
        ({"scales": (2e36, 2e36)}, "a product with the scale may overflow"),
    ],
)
def test_leaves_alone(changes, reason):
    result = run_pass(planish.load(_row(**changes)), PASS, verify="off")
    assert result.edits == 0
    assert reasons(result) == {reason}


def test_different_axes_stay():
    scales = np.array([0.1, 0.03, 0.7], np.float32)
    model = _row("int8", (scales, scales), axes=("<axis = 1>", "<axis = 2>"), size=3)
    result = run_pass(planish.load(model), PASS)
    assert reasons(result) == {"they quantize along different axes"}


def test_another_type_stays():
    model = model_of(
        """g (uint8[N, 4] q) => (int8[N, 4] y) {
            b = DequantizeLinear(q, s, z) y = QuantizeLinear(b, s, w) }""",
        {"s": np.float32(0.1), "z": np.uint8(0), "w": np.int8(0)},
    )
    assert reasons(run_pass(planish.load(model), PASS)) == {"it quantizes to another type"}


def test_an_absent_zero_point_is_zero():
    model = model_of(
        """g (uint8[N, 4] x) => (float[N, 4] y) {
            a = Identity(x) b = DequantizeLinear(a, s) c = QuantizeLinear(b, s, z)
            y = DequantizeLinear(c, s) }""",
        {"s": np.float32(0.1), "z": np.uint8(0)},
    )
    result = run_pass(planish.load(model), f"{PASS},eliminate-dead-code")
    assert ops(result.graph) == ["Identity", "DequantizeLinear"]
    feeds = {"x": np.arange(256, dtype=np.uint8).reshape(-1, 4)}
    assert_same_function(model, result.graph, feeds, 0)


@pytest.mark.parametrize(
    ("kind", "dtype", "fires"),
    [("float16", np.float16, True), ("bfloat16", ml_dtypes.bfloat16, False)],
)
def test_coarse_scales(kind, dtype, fires):
    """255 steps fit float16's 11 digits, so each comes back; bfloat16 has 8 and mixes some up."""
    model = model_of(
        """<ir_version: 10, opset_import: ["" : 21]>
        g (uint8[N] x) => (uint8[N] y) {
            a = Identity(x) b = DequantizeLinear(a, s, z) c = QuantizeLinear(b, s, z)
            y = Identity(c) }""",
        {"s": np.asarray(0.1, dtype), "z": np.uint8(0)},
    )
    result = run_pass(planish.load(model), PASS, verify="off")
    assert (result.edits == 1) is fires
    steps = np.arange(256).astype(dtype)
    product = (steps * np.asarray(0.1, dtype)).astype(dtype)
    back = np.rint((product / np.asarray(0.1, dtype)).astype(dtype).astype(np.float32))
    assert np.array_equal(back, np.arange(256)) is fires


def test_every_value_comes_back():
    """The bound of the docstring, over all values, zero points at the ends and odd scales."""
    q = np.arange(256)
    for seed in range(50):
        scale = np.float32(10.0 ** np.random.default_rng(seed).uniform(-30, 30))
        for zero in (0, 255, 128):
            x = ((q - zero).astype(np.float32) * scale).astype(np.float32)
            back = np.clip(np.rint(x / scale) + zero, 0, 255)
            np.testing.assert_array_equal(back, q)


def test_fake_quantization_stays():
    model = model_of(
        """g (float[N, 3, 4] x) => (float[N, 3, 4] y) {
            a = QuantizeLinear(x, s, z) y = DequantizeLinear(a, s, z) }""",
        {"s": np.float32(0.1), "z": np.uint8(128)},
    )
    result = _check(model, PAIR)
    assert result.edits == 0
    assert not reasons(result)


def test_parameters_that_a_caller_gives_stay():
    model = model_of(
        """g (uint8[N] q, float s) => (uint8[N] y) {
            b = DequantizeLinear(q, s) y = QuantizeLinear(b, s) }"""
    )
    result = run_pass(planish.load(model), PASS)
    assert reasons(result) == {"the scale of QuantizeLinear is not constant"}
