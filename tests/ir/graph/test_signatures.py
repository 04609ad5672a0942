"""Nodes that lack what their operator needs are refused when a model is read, by name."""

from __future__ import annotations

import onnx
import pytest
from onnx import AttributeProto, helper

import planish
from planish import LoadError


def model_with(node: onnx.NodeProto, opset: int = 20) -> onnx.ModelProto:
    ends = [helper.make_tensor_value_info(name, 1, None) for name in ("x", "y")]
    graph = helper.make_graph([node], "g", ends[:1], ends[1:])
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("custom", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def node(op: str, inputs=("x",), outputs=("y",), domain="", **attrs):
    return helper.make_node(op, inputs, outputs, "p", domain=domain, **attrs)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (node("Conv"), "node 'p' (Conv) has 1 inputs; its operator has 2 or more"),
        (node("Relu", ["x", "x"]), "node 'p' (Relu) has 2 inputs; its operator has at most 1"),
        (node("Relu", outputs=()), "node 'p' (Relu) has 0 outputs"),
        (node("Conv", ["x", ""]), "node 'p' (Conv) lacks its input 'W'"),
        (node("Concat"), "node 'p' (Concat) lacks attribute 'axis'"),
        (node("Concat", axis=1.5), "attribute 'axis' of node 'p' (Concat) is 1.5"),
        (node("Transpose", perm=3), "attribute 'perm' of node 'p' (Transpose) is 3"),
        (node("Transpose", perm=["a"]), "attribute 'perm' of node 'p' (Transpose) is ['a']"),
        (node("LeakyRelu", alpha="a"), "attribute 'alpha' of node 'p' (LeakyRelu)"),
        (node("If", then_branch=1, else_branch=1), "of node 'p' (If) is 1"),
    ],
)
def test_what_is_refused(made, says):
    model = model_with(made)
    if not made.output:
        model.graph.output[0].name = "x"
    with pytest.raises(LoadError) as caught:
        planish.load(model)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "made",
    [
        node("Concat", ["x", "x", "x"], axis=0),
        node("Clip", ["x", "", ""]),
        node("Dropout", outputs=["y", ""]),
        node("Conv", domain="custom"),
        node("NoSuchOperator"),
        node("LeakyRelu", alpha=1),
    ],
    ids=lambda made: made.op_type,
)
def test_what_is_left_to_the_runtime(made):
    assert planish.load(model_with(made)).nodes[0].op == made.op_type


def test_empty_lists_texts_and_references_have_the_type_they_say():
    empty = AttributeProto(name="perm", type=AttributeProto.INTS)
    bare = node("Transpose")
    bare.attribute.append(empty)
    planish.load(model_with(bare))
    text = node("Conv", ["x", "x"])
    text.attribute.append(AttributeProto(name="auto_pad", type=3, s=b"\xff"))
    planish.load(model_with(text))
    body = node("LeakyRelu")
    body.attribute.append(AttributeProto(name="alpha", ref_attr_name="slope", type=1))
    function = helper.make_function(
        "custom", "F", ["x"], ["y"], [body], [helper.make_opsetid("", 20)], ["slope"]
    )
    model = model_with(node("F", domain="custom", slope=0.5))
    model.functions.append(function)
    planish.load(model)
    del model.functions[0].node[0].input[:]
    with pytest.raises(LoadError, match="has 0 inputs"):
        planish.load(model)
