"""Windows without an element: what they give is none of the input's values.

Both taps of a dilated window lie in the pads, or an axis has no elements. Compared with the
runtime, pass by pass and all together.
"""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import model_of, run_ort

WINDOW = "dilations = [3], kernel_shape = [2], pads = [1, 1]"
NEVER_NEGATIVE = f"r = Relu(x) a = MaxPool<{WINDOW}>(r)"
GENERATOR = np.random.default_rng(4)
WEIGHTS = {
    "w": GENERATOR.standard_normal((3, 2, 1)).astype(np.float32),
    "quiet": np.array([[[1], [2]], [[0], [0]]], np.float32),
    "b": np.array([0.5, 3], np.float32),
    "gain": np.array([[2], [3]], np.float32),
    "shift": np.array([[1], [2]], np.float32),
    "bias": np.array([1, 2, 3], np.float32),
    "low": np.array(-1e30, np.float32),
    "six": np.array(6, np.float32),
    "axis": np.array([1], np.int64),
}
SPELLINGS = {
    "Relu": f"{NEVER_NEGATIVE} y = Relu(a)",
    "Abs": f"{NEVER_NEGATIVE} y = Abs(a)",
    "Clip": f"r = Clip(x, low, six) a = MaxPool<{WINDOW}>(r) y = Clip(a, low, six)",
    "Clip of a function that is bounded": f"r = Sigmoid(x) a = MaxPool<{WINDOW}>(r)"
    " y = Clip(a, low, six)",
    "a scale and a shift before Conv": f"m = Mul(x, gain) s = Add(m, shift)"
    f" a = MaxPool<{WINDOW}>(s) y = Conv(a, w)",
    "a shift before AveragePool and Conv": f"s = Add(x, shift)"
    f" a = AveragePool<{WINDOW}>(s) y = Conv(a, w)",
    "a constant channel": f"c = Conv(x, quiet, b) a = MaxPool<{WINDOW}>(c) y = Conv(a, w)",
    "a constant channel averaged": f"c = Conv(x, quiet, b) a = AveragePool<{WINDOW}>(c)"
    " y = Conv(a, w)",
    "a bias before AveragePool": f"c = Conv(x, w, bias) y = AveragePool<{WINDOW}>(c)",
    "Relu behind an empty ReduceMax": "r = Relu(x) n = Concat<axis = 0>(r)"
    " e = Slice(r, none, none, axis) a = ReduceMax<keepdims = 1>(e, axis) y = Relu(a)",
    "LeakyRelu behind an empty ReduceMax": "r = Relu(x) e = Slice(r, none, none, axis)"
    " a = ReduceMax(e, axis) y = LeakyRelu(a)",
}


@pytest.mark.parametrize("passes", ["exact", "push-affine", "remove-constant-channels"])
@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
def test_what_an_empty_window_gives_is_kept(spelling, passes):
    model = model_of(
        f"g (float[N, 2, 2] x) => (float[] y) {{ {spelling} }}",
        WEIGHTS | {"none": np.array([0], np.int64)},
    )
    x = GENERATOR.standard_normal((1, 2, 2)).astype(np.float32)
    expected = run_ort(model, {"x": x})["y"]
    steps = planish.Pipeline.parse(passes)
    result = steps.run(planish.load(model), verify="off")
    found = run_ort(planish.to_model(result.graph, portable=True), {"x": x})["y"]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert steps.run(result.graph, verify="off").edits == 0


def test_a_window_that_holds_an_element_lets_a_relu_go():
    model = model_of(
        """g (float[N, 2, L] x) => (float[] y) {
            r = Relu(x) a = MaxPool<kernel_shape = [3], strides = [2], pads = [1, 1]>(r)
            y = Relu(a) }"""
    )
    result = planish.Pipeline.parse("eliminate-identities").run(planish.load(model), verify="off")
    assert [node.op for node in result.graph.nodes] == ["Relu", "MaxPool"]
