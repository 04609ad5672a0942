"""Reshapes around what works on rows go, those around other axes stay."""

from __future__ import annotations

import re

import numpy as np
import pytest
from onnx import helper, numpy_helper

import planish

from tests.helpers import assert_same_function, model_of, ops, run_pass
from tests.passes.layout.simplify_reshapes.common import ints

ROWS = {
    "LayerNormalization": ("LayerNormalization(a, s, c)", 17),
    "of the last axis counted from the front": ("LayerNormalization <axis = {last}> (a, s, c)", 17),
    "without bias": ("LayerNormalization(a, s)", 17),
    "RMSNormalization": ("RMSNormalization(a, s)", 23),
    "Softmax": ("Softmax(a)", 13),
    "Softmax that joins": ("Softmax <axis = {last}> (a)", 12),
    "LogSoftmax": ("LogSoftmax <axis = {last}> (a)", 13),
    "LpNormalization": ("LpNormalization <p = 1> (a)", 17),
    "among element-wise ones": ("LayerNormalization(t, s)", 17),
}


def around_rows(operator, opset, size, between, after):
    """Return a graph of `operator` on `x` of `size` reshaped to `between` and then to `after`."""
    text = operator.format(last=len(between) - 1)
    front = "t = Relu(a)" if "(t" in text else ""
    body = f"""
        a = Reshape(r, first) {front} b = {text} z = Reshape(b, second) y = Tanh(z)"""
    values = np.random.default_rng(5).standard_normal((2, 6)).astype(np.float32)
    weights = {"s": values[0], "c": values[1], "first": ints(*between), "second": ints(*after)}
    words = set(re.findall(r"\w+", body))
    shape = ", ".join(map(str, ("N", *size)))
    rank = ", ".join("?" * len(after))
    return model_of(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[{shape}] x) => (float[{rank}] y) {{ r = MaxPool <kernel_shape = [1, 1]> (x)
            {body} }}""",
        {name: held for name, held in weights.items() if name in words},
    )


def check_rows(source, size, left):
    result = run_pass(planish.load(source), "simplify-reshapes,eliminate-dead-code")
    assert sum(op in ("Reshape", "Flatten") for op in ops(result.graph)) == left
    x = np.random.default_rng(6).standard_normal((3, *size)).astype(np.float32)
    assert_same_function(source, result.graph, {"x": x}, 1e-6)


@pytest.mark.parametrize(("operator", "opset"), ROWS.values(), ids=ROWS)
@pytest.mark.parametrize(
    ("size", "between", "after", "left"),
    [
        ((4, 5, 6), (0, 20, 6), (-1, 4, 5, 6), 0),
        ((4, 5, 6), (-1, 6), (-1, 2, 10, 6), 1),
        ((4, 5, 6), (-1, 6), (-1, 20, 2, 3), 1),  # the operator goes before what is left
        ((6, 1, 1), (0, 1, 1, 6), (0, 6), 1),  # and here behind it
        ((3, 2, 5), (0, 5, 6), (0, 3, 10), 2),
    ],
)
def test_reshapes_around_what_works_on_rows(operator, opset, size, between, after, left):
    check_rows(around_rows(operator, opset, size, between, after), size, left)


OTHER_AXES = {
    "several axes": ("LayerNormalization <axis = -2> (a, s)", 17),
    "another axis": ("Softmax <axis = 1> (a)", 13),
    "joined axes": ("Softmax <axis = 1> (a)", 11),
    "the statistics are read": ("LayerNormalization(a, s, c)", 17),
}


@pytest.mark.parametrize("case", OTHER_AXES)
def test_reshapes_around_other_axes_stay(case):
    operator, opset = OTHER_AXES[case]
    source = around_rows(operator, opset, (4, 5, 6), (0, 20, 6), (-1, 4, 5, 6))
    if case == "several axes":
        (scale,) = (held for held in source.graph.initializer if held.name == "s")
        values = np.random.default_rng(7).standard_normal((20, 6)).astype(np.float32)
        scale.CopyFrom(numpy_helper.from_array(values, "s"))
    if case == "the statistics are read":
        node = next(n for n in source.graph.node if n.op_type == "LayerNormalization")
        node.output.append("mean")
        source.graph.output.append(helper.make_tensor_value_info("mean", 1, [None] * 3))
    check_rows(source, (4, 5, 6), 2)
