"""Which axis holds the classes, read from graphs of the kinds that exporters write."""

import numpy as np
import pytest

from planish.ir.metrics.axis_maps import matched
from planish.ir.metrics.reading import read_outputs

from tests.helpers import graph_of

HALF = {"w": np.ones((12, 7), np.float32)}
CONV = {"k": np.ones((7, 3, 1, 1), np.float32)}


def reading(head, body, constants, opset=20):
    header = f'<ir_version: 8, opset_import: ["" : {opset}]>'
    found = read_outputs(graph_of(f"{header} g ({head}) {{ {body} }}", constants))
    return next(iter(found.values()))


@pytest.mark.parametrize(
    ("head", "body", "constants", "axis"),
    [
        # Logits of a product: the last axis, wherever it is moved.
        ("float[N, 5, 12] x) => (float[N, 5, 7] y", "y = MatMul(x, w)", HALF, 2),
        (
            "float[N, 5, 12] x) => (float[5, N, 7] y",
            "m = MatMul(x, w) y = Transpose<perm = [1, 0, 2]>(m)",
            HALF,
            2,
        ),
        (
            "float[N, 5, 12] x) => (float[N, 7, 5] y",
            "m = MatMul(x, w) y = Transpose<perm = [0, 2, 1]>(m)",
            HALF,
            1,
        ),
        (
            "float[5, N, 12] x) => (float[5, N, 7] y",
            "m = MatMul(x, w) y = LogSoftmax<axis = -1>(m)",
            HALF,
            2,
        ),
        # A Softmax beside the output says more than the layer.
        (
            "float[N, 7, 12] x) => (float[N, 7, 7] y, float[N, 7, 7] p",
            "y = MatMul(x, w) p = Softmax<axis = 1>(y)",
            HALF,
            1,
        ),
        (
            "float[N, 5, 12] x) => (float[N, 5, 7] y, int64[N, 5] i",
            "y = MatMul(x, w) c = Identity(y) i = ArgMax<axis = 2, keepdims = 0>(y)",
            HALF,
            2,
        ),
        # Channels of a convolution, behind pooling, resizing, and shapes that drop ones.
        ("float[N, 3, 4, 4] x) => (float[N, 7, 4, 4] y", "y = Conv(x, k)", CONV, 1),
        (
            "float[N, 3, 4, 4] x) => (float[N, 4, 4, 7] y",
            "c = Conv(x, k) y = Transpose<perm = [0, 2, 3, 1]>(c)",
            CONV,
            3,
        ),
        (
            "float[N, 3, 4, 4] x) => (float[N, 7] y",
            "c = Conv(x, k) m = ReduceMean<keepdims = 0, axes = [2, 3]>(c) y = Identity(m)",
            CONV,
            1,
        ),
        (
            "float[N, 3, 1, 4] x) => (float[4, N, 7] y",
            "c = Conv(x, k) s = Squeeze(c, two) y = Transpose<perm = [2, 0, 1]>(s)",
            CONV | {"two": np.array([2])},
            2,
        ),
        ("float[N, 6] x) => (float[N, 6] y", "y = Relu(x)", {}, 1),
        # A product of two activations makes no classes, and nothing else says anything.
        (
            "float[N, 5, 6] x) => (float[N, 5, 5] y",
            "t = Transpose<perm = [0, 2, 1]>(x) y = MatMul(x, t)",
            {},
            None,
        ),
        ("float[N, 5, 6] x) => (float[N, 5, 6] y", "y = Relu(x)", {}, None),
    ],
)
def test_the_axis_of_the_classes(head, body, constants, axis):
    found = reading(head, body, constants, opset=17 if "axes = [2" in body else 20)
    assert found.class_axis == axis
    assert bool(found.because) == (axis is not None)


def test_softmax_of_old_opsets_joins_axes_of_which_one_is_wide():
    body = "y = Softmax<axis = 1>(x)"
    wide = reading("float[2, 5, 6] x) => (float[2, 5, 6] y", body, {}, opset=11)
    assert wide.class_axis is None
    narrow = reading("float[2, 5, 1, 1] x) => (float[2, 5, 1, 1] y", body, {}, opset=11)
    assert narrow.class_axis == 1


def test_ranks_that_inference_does_not_know_are_those_of_a_run():
    text = """g (float[N, 5, 12] x, int64[r] s) => (float[] y) {
        t = Reshape(x, s) m = MatMul(t, w) a = Add(m, b) y = Softmax<axis = 2>(a) }"""
    graph = graph_of(text, {"w": HALF["w"], "b": np.ones(7, np.float32)})
    found = read_outputs(graph, {"y": 3})["y"]
    assert (found.class_axis, found.rank) == (2, 3)
    assert "Softmax" in found.because
    logits = graph_of(text.replace("Softmax<axis = 2>", "Identity"), HALF | {"b": np.ones(7, "f")})
    assert read_outputs(logits, {"y": 3})["y"].class_axis == 2


def test_indices_of_classes_are_known_as_such():
    body = "i = ArgMax<axis = 1, keepdims = 0>(x) y = Cast<to = 6>(i)"
    found = reading("float[N, 5, 4, 4] x) => (int32[N, 4, 4] y", body, {})
    assert found.is_ids
    assert "ArgMax" in found.because
    top = "g (float[N, 50] x) => (float[N, 3] v, int64[N, 3] i) { v, i = TopK(x, k) }"
    values, ids = read_outputs(graph_of(top, {"k": np.array([3])})).values()
    assert values.is_ranked
    assert not values.is_ids
    assert ids.is_ids
    assert ids.best_first == 1
    counted = reading("float[N, 5] x) => (int64[2] y", "y = Shape(x)", {})
    assert not counted.is_ids


@pytest.mark.parametrize(
    ("before", "after", "axes"),
    [
        (("N", 10, 1, 1), ("N", 10), (0, 1)),
        (("N", 10), ("N", 10, 1, 1), (0, 1, None, None)),
        ((80, 97), ("N", 40, 97), (None, None, 1)),
        (("N", 12, 4, 4), ("N", 4, 48), (0, None, None)),
        ((2, 3, 5), (2, 15), (0, None)),
        ((None, 3), (None, 3), (0, 1)),
        ((None, 3), (3,), (1,)),
    ],
)
def test_sizes_that_stay_keep_their_axes(before, after, axes):
    assert matched(before, after) == axes
