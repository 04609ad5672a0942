"""Axes and sizes that exporters flatten before use are known to inference."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

import planish
from planish.ir.graph.uses import scopes
from planish.ir.ops.shapes.infer import infer_types

from tests.helpers import model_of

IN_ROW = "<int64[1] i = {1}, int64[2] d = {2, 3}>"


def _shape(text, name="y"):
    graph = planish.load(model_of(text))
    types = infer_types(graph)
    made = [t for scope in scopes(graph) for node in scope.nodes for t in node.outputs]
    (found,) = (types.of(tensor) for tensor in made if tensor.name == name)
    return None if found is None else found.shape


@pytest.mark.parametrize(
    "list_of_axes",
    [
        "l = Constant <value_ints = [-1]> ()\n c = Constant <value_ints = [2, 3]> ()\n"
        "a = Reshape (c, l)",
        "l = Constant <value_ints = [-1]> ()\n c = Constant <value_ints = [2, 3]> ()\n"
        "b = Identity (c)\n a = Reshape (b, l)",
        "l = Constant <value_ints = [2]> ()\n a = Reshape (d, l)",
    ],
)
def test_the_axes_of_a_reduction(list_of_axes):
    text = f"""g (float[2, 5, 7, 9] x) => (float[] y) {IN_ROW} {{
        {list_of_axes}
        m = ReduceMean (x, a)
        y = Relu (m)
    }}"""
    assert _shape(text) == (2, 5, 1, 1)


def test_one_axis_is_made_a_list_of():
    text = """g (float[2, 5, 7] x) => (float[] y) {
        l = Constant <value_ints = [1]> ()
        c = Constant <value_int = 2> ()
        a = Reshape (c, l)
        y = ReduceSum <keepdims = 0> (x, a)
    }"""
    assert _shape(text) == (2, 5)


def test_lists_inside_bodies():
    text = """g (float[2, 5, 7] x, bool c) => (float[] y) {
        y = If (c) <
            then_branch = t () => (float[] p) <int64[1] i = {2}, int64[1] l = {-1}> {
                a = Reshape (i, l)
                r = ReduceSum (x, a)
                p = Relu (r) },
            else_branch = e () => (float[] q) { q = Relu (x) }>
    }"""
    assert _shape(text, "r") == (2, 5, 1)


def test_a_list_that_an_input_makes_is_not_known():
    text = """g (float[2, 5, 7] x, int64[1] i) => (float[] y) <int64[1] l = {-1}> {
        a = Reshape (i, l)
        y = ReduceSum (x, a)
    }"""
    assert _shape(text) in (None, (None, None, None))


def test_a_default_may_be_replaced():
    """An initializer that is an input as well is what the input gives."""
    text = """g (float[2, 5, 7] x, int64[1] i) => (float[] y) <int64[1] l = {-1}> {
        a = Reshape (i, l)
        y = ReduceSum (x, a)
    }"""
    model = model_of(text)
    model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "i"))
    graph = planish.load(model)
    found = infer_types(graph).of(graph.outputs[0])
    assert found is None or found.shape != (2, 1, 7)
