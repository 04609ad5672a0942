"""Parameters of quantizers as a node states them, against the reference implementation of ONNX."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx.reference import ReferenceEvaluator

from planish.ir.core import dtypes
from planish.ir.core.variables import dense_values
from planish.ir.ops.quantization.parameters import ConstantParameters, read_quantization

VALUES = np.linspace(-9, 9, 24, dtype=np.float32).reshape(4, 6)
WHOLE = np.arange(24, dtype=np.int8).reshape(4, 6) * 5 - 60
SCALE = np.array([0.1, 0.03, 0.5, 0.25, 0.07, 1.5], np.float32)
ZERO = np.array([0, 3, -7, 100, -128, 1], np.int8)
CASES = [
    pytest.param(np.float32(0.07), None, {}, 10, id="whole"),
    pytest.param(np.float32(0.07), np.int8(5), {}, 10, id="whole-int8"),
    pytest.param(SCALE, None, {}, 13, id="axis-by-default"),
    pytest.param(SCALE, ZERO, {"axis": -1}, 13, id="axis-from-the-end"),
    pytest.param(SCALE[:4], ZERO[:4], {"axis": 0}, 13, id="axis-0"),
    pytest.param(
        np.tile(SCALE[:3], (4, 1)), np.tile(ZERO[:3], (4, 1)), {"axis": 1, "block_size": 2}, 21,
        id="blocks",
    ),
    pytest.param(
        np.tile(SCALE[:2], (4, 1)), np.tile(ZERO[:2], (4, 1)), {"axis": -1, "block_size": 3}, 21,
        id="blocks-from-the-end",
    ),
    pytest.param(SCALE[:4], ZERO[:4], {"axis": -2}, 13, id="axis-0-from-the-end"),
    pytest.param(
        np.stack([SCALE, SCALE[::-1]]), np.stack([ZERO, ZERO[::-1]]), {"axis": 0, "block_size": 2},
        21, id="blocks-of-rows",
    ),
    pytest.param(
        np.stack([SCALE[i : i + 2] for i in range(4)]), None, {"axis": 1, "block_size": 3}, 21,
        id="blocks-that-differ-by-row",
    ),
]  # fmt: skip


def node_of(op, scale, zero, attrs):
    given = [scale] if zero is None else [scale, zero]
    held = [gs.Constant(f"p{i}", np.asarray(values)) for i, values in enumerate(given)]
    return gs.Node(op, inputs=[gs.Variable("x"), *held], attrs=attrs, outputs=[gs.Variable("y")])


def reference(op, x, scale, zero, attrs, opset):
    """Return what ONNX's own implementation of `op` gives, which has none before opset 19."""
    given = {"x": x, "s": np.asarray(scale)} | ({} if zero is None else {"z": np.asarray(zero)})
    infos = [onnx.helper.make_tensor_value_info(k, dtypes.elem_type(v.dtype), v.shape)
             for k, v in given.items()]  # fmt: skip
    out = onnx.helper.make_tensor_value_info("y", 0, None)
    node = onnx.helper.make_node(op, list(given), ["y"], **attrs)
    graph = onnx.helper.make_graph([node], "g", infos, [out])
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", max(opset, 19))]
    )
    return ReferenceEvaluator(model).run(None, given)[0]


@pytest.mark.parametrize(("scale", "zero", "attrs", "opset"), CASES)
def test_quantizing_and_back_is_what_the_node_does(scale, zero, attrs, opset):
    known = read_quantization(node_of("QuantizeLinear", scale, zero, attrs)).constants(dense_values)
    found = known.quantize(VALUES)
    expected = reference("QuantizeLinear", VALUES, scale, zero, attrs, opset)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    node = node_of("DequantizeLinear", scale, zero, attrs)
    back = read_quantization(node).constants(dense_values).dequantize(found)
    real = reference("DequantizeLinear", expected, scale, zero, attrs, opset)
    assert back.dtype == real.dtype == np.float32
    np.testing.assert_allclose(back, real, rtol=2e-7, atol=0)


@pytest.mark.parametrize(
    ("zero", "output_type", "expected"),
    [
        (None, 0, np.uint8),
        (None, onnx.TensorProto.INT16, np.int16),
        (np.zeros((), ml_dtypes.int4), 0, ml_dtypes.int4),
    ],
)
def test_the_integers_have_the_type_of_the_zero_point_or_the_one_that_is_named(
    zero, output_type, expected
):
    attrs = {"output_dtype": int(output_type)} if output_type else {}
    stated = read_quantization(node_of("QuantizeLinear", np.float32(1), zero, attrs))
    assert stated.is_plain == (not output_type)
    known = stated.constants(dense_values)
    assert known.integer_type == expected
    assert known.quantize(np.full(3, 1e9)).tolist() == [dtypes.integer_limits(expected)[1]] * 3


def test_dequantizing_gives_the_type_of_the_scale_or_the_one_that_is_named():
    scale = np.float16(0.5)
    assert ConstantParameters(scale, None).dequantize(WHOLE).dtype == np.float16
    named = ConstantParameters(scale, None, output_type=int(onnx.TensorProto.FLOAT))
    assert named.dequantize(WHOLE).dtype == np.float32


def test_float8_is_no_grid_of_integers():
    zero = np.zeros((), ml_dtypes.float8_e4m3fn)
    assert ConstantParameters(np.float32(1), zero).quantize(VALUES) is None


@pytest.mark.parametrize(
    ("scale", "zero", "axis", "block"),
    [
        (SCALE, None, 0, 0),
        (SCALE, None, 2, 0),
        (SCALE[:4], None, 2, 0),
        (SCALE, None, -3, 0),
        (SCALE.reshape(1, 6), None, 0, 3),
        (SCALE, None, 1, 1),
        (SCALE[:1], ZERO, 0, 0),
        (SCALE, ZERO[:1], 0, 0),
    ],
    ids=[
        "length", "axis", "axis-behind-the-last", "axis-before-the-first", "too-few-blocks",
        "rank-of-blocks", "zero-point", "scale-beside-one-zero-point",
    ],
)  # fmt: skip
def test_parameters_that_do_not_fit_are_refused(scale, zero, axis, block):
    known = ConstantParameters(scale, zero, axis, block)
    assert known.broadcast((4, 6)) is None
    assert known.quantize(VALUES) is None
    assert known.dequantize(WHOLE) is None


def test_one_scale_of_any_rank_is_for_the_whole_tensor():
    for scale in (np.float32(0.5), np.array([0.5]), np.array([[0.5]])):
        known = ConstantParameters(scale, None)
        assert known.is_per_tensor
        assert [part.shape for part in known.broadcast((4, 6))] == [(), ()]
    assert not ConstantParameters(np.float32(1), ZERO).is_per_tensor
    assert not ConstantParameters(SCALE, None).is_per_tensor


def test_what_is_computed_or_given_by_the_caller_is_not_known():
    node = node_of("DequantizeLinear", SCALE, ZERO, {"axis": 0})
    assert read_quantization(node).constants(dense_values).axis == 0
    assert read_quantization(node).constants(lambda tensor: None) is None
    scale = node.inputs[1]
    assert read_quantization(node).constants(lambda t: SCALE if t is scale else None) is None
    node.attrs["axis"] = gs.Node.AttributeRef("axis", int)
    assert read_quantization(node).unread == {"axis"}
    assert read_quantization(node).constants(dense_values) is None
    assert read_quantization(node, {"axis": -2}).constants(dense_values).axis == -2


def test_an_absent_zero_point_may_be_an_empty_input():
    node = node_of("DequantizeLinear", np.float32(1), None, {})
    node.inputs.append(gs.Variable.empty())
    stated = read_quantization(node)
    assert stated.zero_point is None
    assert stated.constants(dense_values) == ConstantParameters(node.inputs[1].values, None)
    asked = []
    stated.constants(lambda tensor: asked.append(tensor))
    assert asked == [node.inputs[1]]


def test_attributes_of_a_later_opset_are_named():
    stated = read_quantization(node_of("QuantizeLinear", np.float32(1), None, {"novel": 1}))
    assert stated.unread == {"novel"}
    assert not stated.is_plain
    stated = read_quantization(node_of("QuantizeLinear", np.float32(1), None, {"saturate": 0}))
    assert stated.is_plain
    named = read_quantization(node_of("QuantizeLinear", np.float32(1), None, {"precision": 10}))
    assert named.precision == onnx.TensorProto.FLOAT16
    assert not named.unread
    assert not named.is_plain
