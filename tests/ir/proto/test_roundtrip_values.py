"""Round trips of values and attributes of every kind."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from tests.helpers import run_ort
from tests.ir.proto.protos import (
    FLOAT,
    again,
    assert_same_proto,
    assert_same_run,
    floats,
    model,
    value,
)


def test_sequences_and_optionals_as_inputs_and_outputs():
    tensor = helper.make_tensor_type_proto(FLOAT, [2])
    sequence = helper.make_sequence_type_proto(tensor)
    optional = helper.make_optional_type_proto(sequence)
    make = helper.make_value_info
    before = model(
        [
            helper.make_node("Identity", ["s"], ["s2"], "copy"),
            helper.make_node("OptionalGetElement", ["o"], ["o2"], "get"),
            helper.make_node("SequenceAt", ["s", "zero"], ["first"], "at"),
        ],
        [make("s", sequence), make("o", optional)],
        [make("s2", sequence), make("o2", sequence), value("first", [2])],
        [numpy_helper.from_array(np.array(0, np.int64), "zero")],
    )
    after = again(before)
    onnx.checker.check_model(after, full_check=True)
    assert_same_proto(before, after)
    feeds = {"s": [floats(2), floats(2, seed=1)], "o": [floats(2, seed=2)]}
    expected, found = run_ort(before, feeds), run_ort(after, feeds)
    np.testing.assert_array_equal(found["s2"], expected["s2"])
    np.testing.assert_array_equal(found["o2"], expected["o2"])
    np.testing.assert_array_equal(found["first"], feeds["s"][0])


@pytest.mark.parametrize(
    "array",
    [
        np.array(["a", "", "grün"], dtype=object),
        np.array([1.5, -2, 3e30], ml_dtypes.bfloat16),
        np.array([1.5, -2, 0.25], ml_dtypes.float8_e4m3fn),
        np.array([1.5, -2, 0.25], ml_dtypes.float8_e5m2),
        np.array([-8, 7, 1], ml_dtypes.int4),
        np.array([0, 15, 1], ml_dtypes.uint4),
        np.array([True, False, True]),
        np.array([1 + 2j, -3j, 0], np.complex64),
        np.array([np.nan, -np.inf, -0.0], np.float16),
        np.array([-(2**63), 2**63 - 1, 0], np.int64),
        np.zeros((0, 3), np.float32),
        np.array(3.0),
    ],
    ids=lambda a: f"{a.dtype}-{a.shape}",
)
def test_constants_of_every_kind_keep_their_bits(array):
    proto = (
        helper.make_tensor("w", TensorProto.STRING, array.shape, [s.encode() for s in array])
        if array.dtype == object
        else numpy_helper.from_array(array, "w")
    )
    nodes = [
        helper.make_node("Identity", ["w"], ["y"]),
        helper.make_node("Constant", [], ["z"], value=proto),
    ]
    kind = proto.data_type
    outputs = [value("y", array.shape, kind), value("z", array.shape, kind)]
    after = again(model(nodes, [], outputs, [proto]))
    held = [after.graph.initializer[0], after.graph.node[1].attribute[0].t]
    for found in held:
        assert found.data_type == kind
        assert list(found.dims) == list(array.shape)
        values = numpy_helper.to_array(found)
        if array.dtype == object:
            assert values.tolist() == array.tolist()
        else:
            assert values.dtype == array.dtype
            assert values.tobytes() == array.tobytes()


def test_sparse_initializers_and_sparse_attributes():
    values = numpy_helper.from_array(np.array([5, 7], np.float32), "w")
    indices = numpy_helper.from_array(np.array([1, 3], np.int64), "i")
    sparse = helper.make_sparse_tensor(values, indices, [4])
    nodes = [
        helper.make_node("Constant", [], ["k"], "k", sparse_value=sparse),
        helper.make_node("Add", ["x", "w"], ["t"], "a"),
        helper.make_node("Mul", ["t", "k"], ["y"], "m"),
    ]
    before = model(nodes, [value("x", [4])], [value("y", [4])])
    before.graph.sparse_initializer.append(sparse)
    after = again(before)
    assert after.graph.sparse_initializer == before.graph.sparse_initializer
    x, dense = floats(4), np.array([0, 5, 0, 7], np.float32)
    np.testing.assert_array_equal(run_ort(after, {"x": x})["y"], (x + dense) * dense)


def test_empty_list_attributes_keep_their_kind():
    node = helper.make_node("Any", ["x"], ["y"], "n", domain="d")
    for name, kind in (
        ("f", AttributeProto.FLOATS),
        ("i", AttributeProto.INTS),
        ("s", AttributeProto.STRINGS),
        ("t", AttributeProto.TENSORS),
    ):
        node.attribute.add(name=name, type=kind)
    squeeze = helper.make_node("Squeeze", ["y"], ["z"], "s")
    squeeze.attribute.add(name="axes", type=AttributeProto.INTS)
    before = model(
        [node, squeeze], [value("x", [1])], [value("z", [])], imports=[("", 11), ("d", 1)]
    )
    assert_same_proto(before, again(before))


def test_attributes_of_rare_kinds():
    node = helper.make_node("Any", ["x"], ["y"], "n", domain="d")
    kind = node.attribute.add(name="tp", type=AttributeProto.TYPE_PROTO)
    kind.tp.CopyFrom(helper.make_tensor_type_proto(FLOAT, ["N", 3]))
    kinds = node.attribute.add(name="tps", type=AttributeProto.TYPE_PROTOS)
    kinds.type_protos.add().CopyFrom(kind.tp)
    tensors = node.attribute.add(name="ts", type=AttributeProto.TENSORS)
    tensors.tensors.add().CopyFrom(numpy_helper.from_array(floats(2), "a"))
    node.attribute.add(name="raw", type=AttributeProto.STRING, s=b"\xff\x00")
    texts = node.attribute.add(name="texts", type=AttributeProto.STRINGS)
    texts.strings.extend([b"a", b"\xff"])
    node.attribute.add(name="empty", type=AttributeProto.STRING, s=b"")
    before = model([node], [value("x", [1])], [value("y", [])], imports=[("", 20), ("d", 1)])
    assert_same_proto(before, again(before))


def test_an_optional_attribute_runs_as_before():
    # The operator cases of ONNX that hold a TYPE_PROTO attribute are of this form.
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, None))
    node = helper.make_node("Optional", [], ["o"], "o", type=kind)
    has = helper.make_node("OptionalHasElement", ["o"], ["y"], "h")
    before = model([node, has], [], [value("y", [], TensorProto.BOOL)], imports=[("", 18)])
    after = again(before)
    assert_same_proto(before, after)
    assert_same_run(before, after, {})
    assert not run_ort(after, {})["y"]
