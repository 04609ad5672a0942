"""Protos by hand, and checks that a round trip keeps them."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import planish

from tests.helpers import run_ort

FLOAT = TensorProto.FLOAT


def value(name, shape, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def model(nodes, inputs, outputs, initializers=(), *, ir=10, imports=(("", 20),), functions=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    opsets = [helper.make_opsetid(*entry) for entry in imports]
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir, functions=list(functions))


def again(before):
    return planish.to_model(planish.load(before))


def by_name(protos):
    return {proto.name: proto.SerializeToString(deterministic=True) for proto in protos}


def assert_same_proto(before, after):
    """Everything but the order of nodes, attributes and initializers must be equal."""
    assert by_name(before.graph.input) == by_name(after.graph.input)
    assert by_name(before.graph.output) == by_name(after.graph.output)
    assert [t.name for t in before.graph.output] == [t.name for t in after.graph.output]
    assert [n.name for n in before.graph.node] == [n.name for n in after.graph.node]
    for a, b in zip(before.graph.node, after.graph.node, strict=True):
        assert (a.op_type, a.domain, a.overload) == (b.op_type, b.domain, b.overload)
        assert list(a.input) == list(b.input)
        assert list(a.output) == list(b.output)
        assert by_name(a.attribute) == by_name(b.attribute)
    arrays = {t.name: numpy_helper.to_array(t) for t in before.graph.initializer}
    for tensor in after.graph.initializer:
        found = numpy_helper.to_array(tensor)
        assert found.dtype == arrays[tensor.name].dtype
        np.testing.assert_array_equal(found, arrays[tensor.name])
    assert sorted(o.SerializeToString() for o in before.opset_import) == sorted(
        o.SerializeToString() for o in after.opset_import
    )


def assert_same_run(before, after, feeds):
    onnx.checker.check_model(after)
    expected, found = run_ort(before, feeds), run_ort(after, feeds)
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def floats(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
