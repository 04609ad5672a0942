"""Inference of types: what subgraphs share by name, and arithmetic on sizes that overflows."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.ir.graph.uses import scopes
from planish.ir.ops.shapes.infer import infer_types

from tests.helpers import assert_same_function, model_of

BRANCHES = """g (bool c) => (float[] y, float[] z) {{
    y = If (c) <
        then_branch = a () => (float[] p) <int64[1] i = {{2}}> {{
            s = Add(i, i)
            p = ConstantOfShape(s)
        }},
        else_branch = b () => (float[] q) {{ q = Constant <value_float = 1.0> () }}>
    z = If (c) <
        then_branch = d () => (float[] r) <int64[1] j = {{3}}> {{
            {name} = Abs(j)
            r = ConstantOfShape({name})
        }},
        else_branch = e () => (float[] t) {{ t = Constant <value_float = 1.0> () }}>
}}"""


@pytest.mark.parametrize("name", ["s", "u"])
def test_two_branches_use_one_name_for_different_sizes(name):
    graph = planish.load(model_of(BRANCHES.format(name=name)))
    types = infer_types(graph)
    tensors = [t for scope in scopes(graph) for node in scope.nodes for t in node.outputs]
    (result,) = (tensor for tensor in tensors if tensor.name == "r")
    assert types.problem is None
    assert types.of(result).shape != (4,)


def test_sizes_that_overflow_and_nobody_reads():
    graph = planish.load(
        model_of(
            "g (float[3] x) => (float[] y, int64[] s) { y = Relu(x) s = Add(big, big) }",
            {"big": np.array([2**63 - 1])},
        )
    )
    types = infer_types(graph)
    assert types.problem is None
    assert types.of(graph.outputs[0]).shape == (3,)


@pytest.mark.parametrize(
    "body",
    ["y = Reshape(x, s) z = Shape(y)", "e = Expand(o, s) y = Relu(e) z = Shape(y)"],
)
def test_the_default_of_an_input_is_no_constant(body):
    """A caller may give other sizes."""
    model = model_of(
        f"""g (float[6] x, int64[2] s) => (float[a, b] y, int64[2] z)
            <int64[2] s = {{2, 3}}, float[1] o = {{1.0}}> {{ {body} }}"""
    )
    graph = planish.Pipeline.parse("exact").run(planish.load(model), verify="off").graph
    for sizes in ([2, 3], [3, 2], [1, 6]):
        feeds = {"x": np.arange(6, dtype=np.float32), "s": np.array(sizes, np.int64)}
        assert_same_function(model, graph, feeds)
