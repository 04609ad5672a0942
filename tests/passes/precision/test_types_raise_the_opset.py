"""A pass that brings a type in raises the model to the opset, and IR version, that has it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import planish
from planish.ir.ops.opsets import opset_taking

from tests.helpers import model_using, relative_error, run_ort

RNG = np.random.default_rng(2)
WEIGHTS = {
    "w": RNG.standard_normal((64, 3, 3, 3)).astype(np.float32),
    "b": RNG.standard_normal(64).astype(np.float32),
    "v": RNG.standard_normal((64, 512)).astype(np.float32),
}
BODY = "c = Conv(x, w, b) r = Relu(c) p = GlobalAveragePool(r) f = Flatten(p) y = MatMul(f, v)"
PIPELINES = {
    "convert-precision{to=bfloat16}": 2e-2,
    "convert-precision": 1e-2,
    "convert-precision{compute=float32}": 1e-2,
    "quantize{measure=false}": 5e-2,
    "quantize{measure=false,weights=int4}": 0.5,
    "quantize{measure=false,activations=uint16}": 5e-2,
    "quantize-weights{bits=4}": 0.5,
    "quantize-weights": 5e-2,
    "quantize-dynamically{least=1}": 5e-2,
}


@pytest.mark.parametrize("opset", [7, 9, 10, 12, 13, 20])
@pytest.mark.parametrize("pipeline", PIPELINES)
def test_the_model_is_valid_and_runs(pipeline, opset):
    model = model_using(WEIGHTS, BODY, "float[N, 3, 6, 6] x", opset=opset)
    feeds = [{"x": RNG.standard_normal((2, 3, 6, 6)).astype(np.float32)} for _ in range(4)]
    result = planish.Pipeline.parse(pipeline).run(planish.load(model), feeds, strict=True)
    written = planish.to_model(result.graph, portable=True)
    onnx.shape_inference.infer_shapes(written, check_type=True, strict_mode=True)
    assert written.ir_version >= onnx.helper.find_min_ir_version_for(written.opset_import)
    found = run_ort(written, feeds[0])["y"]
    assert relative_error(run_ort(model, feeds[0])["y"], found) < PIPELINES[pipeline]
    (used,) = [entry.version for entry in written.opset_import if not entry.domain]
    assert used >= opset
    if not result.edits:
        assert any(record.declined or record.remarks for record in result.records)


def test_a_model_that_cannot_be_raised_says_so():
    model = model_using(
        WEIGHTS,
        "c = Conv(x, w) y, m = Dropout(c)",
        "float[1, 3, 6, 6] x",
        opset=9,
        outputs="float[1, 64, 4, 4] m, ",
    )
    result = planish.Pipeline.parse("convert-precision{to=bfloat16}").run(
        planish.load(model), verify="off"
    )
    assert result.edits == 0
    remarks = [remark for record in result.records for remark in record.remarks]
    assert remarks == [
        "nothing was narrowed: bfloat16 came with opset 13, and the model cannot leave opset 9"
    ]


@pytest.mark.parametrize(
    ("op", "dtype", "opset"),
    [
        ("Cast", onnx.TensorProto.BFLOAT16, 13),
        ("Cast", np.float32, 1),
        ("DequantizeLinear", np.int8, 10),
        ("DequantizeLinear", onnx.TensorProto.INT4, 21),
        ("DequantizeLinear", onnx.TensorProto.FLOAT8E4M3FN, 19),
        ("DequantizeLinear", np.uint16, 21),
        ("Conv", onnx.TensorProto.BFLOAT16, 22),
        ("Conv", np.int32, None),
    ],
)
def test_the_opset_of_a_type_is_read_from_the_schemas(op, dtype, opset):
    assert opset_taking(op, dtype) == opset
