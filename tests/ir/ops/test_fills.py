"""What every element of a tensor is, whatever its sizes."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.ir.ops.fills import fill_of
from planish.passes.engine.context import Context

from tests.helpers import model_of

VALUES = {
    "same": np.full((2, 3), 2.5, np.float32),
    "mixed": np.array([1, 2], np.float32),
    "nan": np.array([np.nan], np.float32),
    "empty": np.zeros(0, np.float32),
    "shape": np.array([4, 2, 3]),
    "flat": np.array([-1]),
}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = Identity(same)", 2.5),
        ("y = Identity(mixed)", None),
        ("y = Identity(nan)", None),
        ("y = Identity(empty)", None),
        ("y = ConstantOfShape(s)", 0.0),
        ("y = ConstantOfShape <value = float[1] {-3.0}> (s)", -3.0),
        ("a = ConstantOfShape(s) b = Reshape(a, flat) y = Expand(b, t)", 0.0),
        ("a = Expand(same, shape) y = Transpose <perm = [2, 0, 1]> (a)", 2.5),
        ("a = ConstantOfShape(s) y = Neg(a)", None),
        ("a = ConstantOfShape(s) y = Pad(a, p)", None),
        ("y = Identity(x)", None),
        ("a = ConstantOfShape(s) y = Concat <axis = 0> (a, a)", None),
        ("u, y = Split <axis = 0, num_outputs = 2> (same)", None),
        ("y, u = Split <axis = 0, num_outputs = 2> (same)", 2.5),
    ],
)
def test_fill(body, expected):
    model = model_of(
        "g (float[N] x, int64[R] s, int64[Q] t, int64[P] p) => (float[] y) { " + body + " }",
        VALUES,
    )
    graph = planish.load(model)
    found = fill_of(graph.outputs[0], Context(graph).view())
    assert (None if found is None else found.item()) == expected


def test_the_default_is_a_float_of_no_rank():
    graph = planish.load(model_of("g (int64[R] s) => (float[] y) { y = ConstantOfShape(s) }"))
    found = fill_of(graph.outputs[0], Context(graph).view())
    assert (found.dtype, found.shape) == (np.float32, ())


def test_text_is_no_fill():
    graph = planish.load(
        model_of(
            'g (float[N] x) => (string[] y) { t = Constant <value_strings = ["a", "a"]> () '
            "y = Identity(t) }"
        )
    )
    assert fill_of(graph.outputs[0], Context(graph).view()) is None
