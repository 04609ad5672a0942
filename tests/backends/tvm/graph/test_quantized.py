"""Dequantized constants: what is an integer, and what their DequantizeLinear gives."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper

import planish
from planish.backends.tvm.graph.quantized import fold_integers
from planish.ir.core.variables import dense_values

from tests.helpers import run_ort

VALUES = [0.0, 1.0, 2.0, 4.0, 0.5, 6.0, 3.0, 1.5]
INTEGERS = ("INT4", "UINT4", "INT8", "UINT8", "INT16", "UINT16")
REALS = ("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ")


@pytest.mark.parametrize("form", ["channels", "blocks", "half"])
@pytest.mark.parametrize("kind", [*INTEGERS, *REALS])
def test_a_constant_is_folded_as_its_type_says(kind, form) -> None:
    whole, element = kind in INTEGERS, getattr(onnx.TensorProto, kind)
    zero = [1, 2] if whole else [0, 0]
    shape, attributes = ([2], "axis = 0")
    if form == "blocks":
        shape, attributes = ([2, 1], "axis = 1, block_size = 4")
    real = onnx.TensorProto.FLOAT16 if form == "half" else onnx.TensorProto.FLOAT
    name = "float16" if form == "half" else "float"
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 21]> g ({name}[2, 4] x) => ({name}[2, 4] y) '
        f"{{ w = DequantizeLinear <{attributes}> (q, s, z) y = Add(x, w) }}"
    )
    model.graph.initializer.extend([
        helper.make_tensor("q", element, [2, 4], [int(v) if whole else v for v in VALUES]),
        helper.make_tensor("s", real, shape, [0.7, 0.3]),
        helper.make_tensor("z", element, shape, zero),
    ])  # fmt: skip
    graph, integers = fold_integers(planish.load(model))
    (node,) = graph.nodes
    expected = run_ort(model, {"x": np.zeros((2, 4), helper.tensor_dtype_to_np_dtype(real))})["y"]
    folded = dense_values(node.inputs[1])
    assert folded.dtype == expected.dtype
    assert np.array_equal(folded, expected)
    assert (id(node.inputs[1]) in integers) == (whole and form == "channels")
