"""Sizes that the compiler does not know: known to inference, or to the feeds alone."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import model_of, run_ort

pytest.importorskip("tvm")


def normal(*shape: int):
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


def assert_right(text: str, weights, feeds, **options) -> planish.Compiled:
    model = model_of(text, weights)
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1, **options)
    for name, expected in run_ort(model, feeds).items():
        np.testing.assert_allclose(compiled(feeds)[name], expected, rtol=1e-6, atol=1e-6)
    return compiled


def test_a_reshape_of_many_unknown_sizes_is_compiled_at_once() -> None:
    """Each of them is a divisor of the one before; TVM and LLVM take minutes for five."""
    text = "g (float[A, B, C, D, E] x) => (float[P, Q] y) { y = Reshape (x, to) }"
    feeds = {"x": normal(2, 3, 1, 2, 5)}
    compiled = assert_right(text, {"to": np.int64([4, -1])}, feeds)
    assert compiled.remarks[-1].endswith("runs Reshape 'y'")


def test_an_axis_that_is_repeated_is_known_to_be_one() -> None:
    """As in grouped attention: TVM loses the sizes of `u`, inference knows them."""
    text = """g (float[2, 3, 4, 5] x, int64[5] to) => (float[P, Q, R, S, T] y) {
        sizes = Shape (x)
        one = Constant <value_ints = [1]> ()
        two = Constant <value_ints = [2]> ()
        first = Slice (sizes, zero, two, zero)
        rest = Slice (sizes, two, four, zero)
        wide = Concat <axis = 0> (first, one, rest)
        u = Reshape (x, wide)
        y = Expand (u, to)
    }"""
    weights = {"zero": np.int64([0]), "four": np.int64([4])}
    feeds = {"x": normal(2, 3, 4, 5), "to": np.int64([2, 3, 3, 4, 5])}
    for optimize in (True, False):
        assert_right(text, weights, feeds, optimize=optimize)


@pytest.mark.parametrize("size", [1, 4])
def test_an_axis_of_unknown_size_is_repeated_where_it_is_one(size) -> None:
    text = "g (float[N, 3] x, int64[2] to) => (float[P, Q] y) { y = Expand (x, to) }"
    assert_right(text, {}, {"x": normal(size, 3), "to": np.int64([4, 3])})


def test_sizes_are_those_that_the_runtime_gives_and_not_those_that_it_infers() -> None:
    """What inference knows no type of, as of an operator newer than the opset, a session does."""
    text = """<ir_version: 8, opset_import: ["" : 11]>
    g (float[3, 4, 5, 4] x) => (float[N, C, H, W] y) {
        t = LayerNormalization (x, s, s)
        y = Resize <mode = "nearest"> (t, roi, scales)
    }"""
    # 5 times 2.6 is 13 in float32, and 12 as it is inferred.
    scales = {"scales": np.float32([1, 1, 2.6, 1]), "roi": np.float32([])}
    assert_right(text, {"s": normal(4), **scales}, {"x": normal(3, 4, 5, 4)})


WINDOWS = [
    "Conv <strides = [2, 1], pads = [0, 1, 1, 1]> (x, w)",
    "ConvTranspose <pads = [3, 2, 3, 2]> (x, w)",
    "MaxPool <kernel_shape = [5, 5], pads = [1, 1, 1, 1]> (x)",
]


@pytest.mark.parametrize("node", WINDOWS)
def test_a_window_larger_than_its_padded_input_is_refused(node) -> None:
    """As ONNX Runtime does, where TVM gives a tensor of no or of fewer elements."""
    weights = {"w": normal(3, 3, 5, 5)}
    model = model_of(f"g (float[1, 3, H, W] x) => (float[N, M, P, Q] y) {{ y = {node} }}", weights)
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1)
    for size in (0, 1):
        feeds = {"x": normal(1, 3, size, 6)}
        with pytest.raises(Exception, match=r"\[ONNXRuntimeError\]"):
            run_ort(model, feeds)
        with pytest.raises(planish.ExecutionError, match="could not run"):
            compiled(feeds)
    feeds = {"x": normal(1, 3, 4, 6)}
    np.testing.assert_allclose(
        compiled(feeds)["y"], run_ort(model, feeds)["y"], rtol=1e-5, atol=1e-5
    )


def test_a_window_larger_than_its_input_of_known_size_is_refused() -> None:
    """Inference, which divides towards zero, counts a position."""
    text = "g (float[1, 3, 4, 9] x) => (float[N, M, P, Q] y) { y = Conv <strides = [2, 2]> (x, w) }"
    model = model_of(text, {"w": normal(3, 3, 5, 5)})
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1)
    with pytest.raises(planish.ExecutionError, match="Invalid input shape"):
        compiled({"x": normal(1, 3, 4, 9)})
