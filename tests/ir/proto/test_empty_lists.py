"""Lists that a file spells out and gives no element: read as absent, written as they were."""

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, helper, numpy_helper

import planish

from tests.helpers import run_ort
from tests.ir.proto.protos import again, floats, model, value

KINDS = {"activations": AttributeProto.STRINGS, "activation_alpha": AttributeProto.FLOATS}
# Operator, opset, attributes beside, inputs, names of lists that may be empty.
CASES = {
    "Conv": (11, {}, [(1, 2, 5, 5), (3, 2, 3, 3)], "strides pads dilations"),
    "ConvTranspose": (
        11,
        {},
        [(1, 2, 4, 4), (2, 3, 3, 3)],
        "strides pads dilations output_padding output_shape",
    ),
    "MaxPool": (12, {"kernel_shape": [2, 2]}, [(1, 2, 5, 5)], "strides pads dilations"),
    "AveragePool": (19, {"kernel_shape": [2, 2]}, [(1, 2, 5, 5)], "strides pads dilations"),
    "LpPool": (18, {"kernel_shape": [2, 2]}, [(1, 2, 5, 5)], "strides pads dilations"),
    "ReduceMean": (13, {}, [(2, 3, 4)], "axes"),
    "ReduceMax": (11, {"keepdims": 0}, [(2, 3, 4)], "axes"),
    "ReduceSum": (11, {}, [(2, 3, 4)], "axes"),
    "ReduceL2": (17, {}, [(2, 3, 4)], "axes"),
    "Squeeze": (11, {}, [(1, 3, 1)], "axes"),
    "LSTM": (
        14,
        {"hidden_size": 2},
        [(5, 1, 3), (1, 8, 3), (1, 8, 2)],
        "activations activation_alpha",
    ),
}


def with_lists(op, names):
    """Return the model of one node, whose lists `names` are spelled out and empty."""
    opset, attrs, shapes, _ = CASES[op]
    inputs = [f"x{i}" for i in range(len(shapes))]
    node = helper.make_node(op, inputs, ["y"], "n", **attrs)
    for name in names:
        node.attribute.add(name=name, type=KINDS.get(name, AttributeProto.INTS))
    weights = [
        numpy_helper.from_array(floats(*s), n) for n, s in zip(inputs[1:], shapes[1:], strict=True)
    ]
    return model(
        [node],
        [value("x0", None)],  # of known rank, the runtime's inference refuses some of them
        [value("y", None)],
        weights,
        ir=8,
        imports=[("", opset)],
    )


@pytest.mark.parametrize("op", CASES)
def test_an_empty_list_says_what_leaving_it_out_says(op):
    names = CASES[op][3].split()
    feeds = {"x0": floats(*CASES[op][2][0], seed=1)}
    expected = run_ort(with_lists(op, []), feeds)
    spelled = with_lists(op, names)
    for name, array in run_ort(spelled, feeds).items():
        np.testing.assert_array_equal(array, expected[name])
    graph = planish.load(spelled)
    assert not set(names) & set(graph.nodes[0].attrs)
    after = planish.Pipeline.parse("exact").run(graph, verify="each").graph
    for name, array in run_ort(planish.to_model(after), feeds).items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("op", CASES)
def test_it_is_written_with_its_kind(op):
    before = with_lists(op, CASES[op][3].split())
    after = again(again(before))
    found = {(a.name, a.type) for a in after.graph.node[0].attribute}
    assert found == {(a.name, a.type) for a in before.graph.node[0].attribute}


def test_it_goes_with_its_node_and_not_with_another_in_its_place():
    before = with_lists("ReduceMean", ["axes"])
    (node,) = planish.load(before).nodes
    graph = planish.load(before)
    with planish.passes.engine.context.Context(graph).editing() as edit:
        (old,) = graph.nodes
        edit.begin()
        edit.remove(old)
        edit.node("Relu", old.inputs, old.outputs, at=old)
    assert not planish.to_model(graph).graph.node[0].attribute
    assert node.name == "n"


@pytest.mark.parametrize(
    ("name", "kind", "dtype"),
    [
        ("value_ints", AttributeProto.INTS, np.int64),
        ("value_floats", AttributeProto.FLOATS, np.float32),
        ("value_strings", AttributeProto.STRINGS, object),
    ],
)
def test_an_empty_constant_is_an_empty_tensor(name, kind, dtype):
    node = helper.make_node("Constant", [], ["y"], "k")
    node.attribute.add(name=name, type=kind)
    elem = (
        onnx.TensorProto.STRING
        if dtype is object
        else helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    )
    before = model([node, helper.make_node("Identity", ["y"], ["z"])], [], [value("z", [0], elem)])
    (attribute,) = again(before).graph.node[0].attribute
    assert (attribute.name, attribute.type) == (name, kind)
    after = planish.Pipeline.parse("cleanup").run(planish.load(before), verify="off").graph
    found = run_ort(planish.to_model(after), {})["z"]
    assert found.shape == (0,)


def test_an_attribute_whose_kind_the_file_leaves_out():
    node = helper.make_node("Any", ["x"], ["y"], "n", domain="d", i=3, f=0.5, s="t", l=[1, 2])
    kinds = {attribute.name: attribute.type for attribute in node.attribute}
    for attribute in node.attribute:
        attribute.type = AttributeProto.UNDEFINED
    before = model([node], [value("x", [1])], [value("y", [1])], imports=[("", 20), ("d", 1)])
    graph = planish.load(before)
    assert graph.nodes[0].attrs == {"i": 3, "f": 0.5, "s": "t", "l": [1, 2]}
    found = planish.to_model(graph).graph.node[0].attribute
    assert {attribute.name: attribute.type for attribute in found} == kinds
