"""Kernels that stand in for those of ONNX's reference evaluator, against ONNX Runtime.

Of groups with several outputs each, the evaluator's own kernel fails.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from planish.passes.trust.evaluator_kernels import ConvTranspose

from tests.helpers import run_ort


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("shape", "weight", "attributes"),
    [
        ((2, 4, 3, 5), (4, 3, 2, 2), {"strides": [2, 2]}),
        ((1, 4, 3, 5), (4, 3, 3, 2), {"strides": [2, 3], "pads": [1, 0, 0, 1]}),
        (
            (1, 2, 4, 4),
            (2, 1, 3, 3),
            {"dilations": [2, 1], "output_padding": [1, 0], "strides": [2, 1]},
        ),
        ((1, 4, 4, 3), (4, 2, 3, 3), {"group": 2, "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ((1, 2, 3, 3), (2, 2, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
        ((1, 2, 3, 3), (2, 2, 3, 3), {"output_shape": [8, 8], "strides": [2, 2]}),
    ],
)
def test_transposed_convolutions(shape, weight, attributes, bias):
    generator = np.random.default_rng(0)
    outputs = weight[1] * attributes.get("group", 1)
    shapes = (shape, weight, (outputs,))[: 2 + bias]
    arrays = [generator.standard_normal(each).astype(np.float32) for each in shapes]
    names = ["x", "w", "b"][: 2 + bias]
    node = onnx.helper.make_node("ConvTranspose", names, ["y"], **attributes)
    info, single = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    ports = [info(n, single, a.shape) for n, a in zip(names, arrays, strict=True)]
    graph = onnx.helper.make_graph([node], "g", ports, [info("y", single, [None] * len(shape))])
    opset = onnx.helper.make_opsetid("", 17)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    feed = dict(zip(names, arrays, strict=True))
    wide = {name: array.astype(np.float64) for name, array in feed.items()}
    (found,) = ReferenceEvaluator(model, new_ops=[ConvTranspose]).run(None, wide)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, run_ort(model, feed)["y"], rtol=1e-5, atol=1e-5)
