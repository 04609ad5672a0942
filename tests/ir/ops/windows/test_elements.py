"""Where a tensor is known to have elements, a run without any is refused before it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import planish
from planish.ir.graph.uses import Uses
from planish.ir.graph.view import View
from planish.ir.ops.shapes.infer import infer_types
from planish.ir.ops.windows.elements import has_elements

from tests.helpers import model_of, run_ort

W = np.ones((2, 2, 3, 3), np.float32)
P = np.ones((2, 2, 1, 1), np.float32)
S = np.ones(2, np.float32)
POOL = "MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>"
KNOWN = [
    "y = Conv(x, w)",
    "y = Conv <pads = [1, 1, 1, 1]> (x, w)",
    "y = ConvTranspose <pads = [1, 1, 1, 1]> (x, w)",
    "c = Conv(x, p) y = Relu(c)",
    "c = Conv(x, p) n = BatchNormalization(c, s, s, s, s) r = Sigmoid(n) y = Mul(n, r)",
    "c = Conv(x, p) d = Conv(x, p) y = Concat <axis = 1> (c, d)",
    f"c = Conv(x, p) y = {POOL} (c)",
    "c = Conv(x, p) y = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (c)",
    'c = Conv(x, p) y = MaxPool <kernel_shape = [3, 3], auto_pad = "SAME_UPPER"> (c)',
    "c = Conv(x, p) g = GlobalAveragePool(c) y = Add(c, g)",
]
UNKNOWN = [
    "y = Relu(x)",
    "c = Conv(x, p) y = Add(c, x)",
    "c = Conv(x, p) y = MaxPool <kernel_shape = [3, 3]> (c)",
    "c = Conv(x, p) y = Slice(c, begin, end, axes)",
    "r = Relu(x) c = Conv(x, p) y = Concat <axis = 2> (c, r)",
]
SLICED = {
    "begin": np.array([1], np.int64),
    "end": np.array([9], np.int64),
    "axes": np.array([2], np.int64),
}


def _model(body):
    known = {"w": W, "p": P, "s": S, **SLICED}
    used = {name: values for name, values in known.items() if name in body}
    return model_of(f"g (float[N, 2, H, V] x) => (float[] y) {{ {body} }}", used)


def _says(model):
    graph = planish.load(model)
    view = View(graph, Uses(graph), infer_types(graph).of)
    return has_elements(graph.outputs[0], view)


@pytest.mark.parametrize("body", KNOWN)
def test_a_run_that_comes_there_has_elements(body):
    model = _model(body)
    assert _says(model)
    for sizes in itertools.product(range(4), repeat=2):
        try:
            found = run_ort(model, {"x": np.zeros((1, 2, *sizes), np.float32)})["y"]
        except Exception:  # the binding raises one class per status code
            continue
        assert found.size, sizes


@pytest.mark.parametrize("body", UNKNOWN)
def test_nothing_is_said_where_sizes_may_be_zero(body):
    assert not _says(_model(body))


def test_sizes_that_are_static_tell():
    model = model_of("g (float[N, 2, 3] x) => (float[] y) { y = Relu(x) }")
    empty = model_of("g (float[N, 0, 3] x) => (float[] y) { y = Relu(x) }")
    assert _says(model)
    assert not _says(empty)
