"""Round trips of what lies inside: subgraphs and local functions."""

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import planish

from tests.ir.proto.protos import (
    again,
    assert_same_proto,
    assert_same_run,
    floats,
    model,
    value,
)

IF = """<ir_version: 10, opset_import: ["" : 20]>
g (bool c, float[2] x) => (float[2] y, float[2] z)
<float[2] w = {3, 4}>
{
    s = Sigmoid(x)
    y = If (c) <
        then_branch = then () => (float[2] t) <float[2] k = {5, 6}> {
            u = Add(s, w)
            t = Mul(u, k)
        },
        else_branch = other () => (float[2] t) <float[2] k = {7, 8}> {
            u = Sub(s, w)
            t = Mul(u, k)
        }
    >
    z = Relu(s)
}"""

LOOP = """<ir_version: 10, opset_import: ["" : 20]>
g (int64 n, float[2] x) => (float[2] y, float[K, 2] all)
<float[2] w = {3, 4}>
{
    go = Constant <value = bool {1}> ()
    y, all = Loop (n, go, x) <body = body (int64 i, bool in, float[2] v) =>
        (bool out, float[2] v2, float[2] kept) {
            out = Identity(in)
            v2 = Add(v, w)
            kept = Mul(v2, x)
        }
    >
}"""

SCAN = """<ir_version: 10, opset_import: ["" : 20]>
g (float[2] first, float[3, 2] x) => (float[2] y, float[3, 2] all)
<float[2] w = {3, 4}>
{
    y, all = Scan <num_scan_inputs = 1, body = body (float[2] sum, float[2] item) =>
        (float[2] next, float[2] shown) {
            scaled = Mul(item, w)
            next = Add(sum, scaled)
            shown = Identity(next)
        }
    > (first, x)
}"""

NESTED = """<ir_version: 10, opset_import: ["" : 20]>
g (bool c, bool d, float[2] x) => (float[2] y)
<float[2] w = {3, 4}>
{
    y = If (c) <
        then_branch = a () => (float[2] t) {
            m = Add(x, w)
            t = If (d) <
                then_branch = b () => (float[2] i) { i = Mul(m, w) },
                else_branch = e () => (float[2] i) { i = Sub(m, x) }
            >
        },
        else_branch = f () => (float[2] t) { t = Neg(x) }
    >
}"""


@pytest.mark.parametrize(
    ("text", "feeds"),
    [
        (IF, [{"c": np.array(flag), "x": floats(2)} for flag in (True, False)]),
        (LOOP, [{"n": np.array(n, np.int64), "x": floats(2)} for n in (1, 3)]),
        (SCAN, [{"first": floats(2), "x": floats(3, 2, seed=1)}]),
        (
            NESTED,
            [{"c": np.array(a), "d": np.array(b), "x": floats(2)} for a in (0, 1) for b in (0, 1)],
        ),
    ],
    ids=["if", "loop", "scan", "nested"],
)
def test_subgraphs_that_capture_outer_tensors(text, feeds):
    before = onnx.parser.parse_model(text)
    after = again(before)
    for feed in feeds:
        feed = {k: v.astype(bool) if k in ("c", "d") else v for k, v in feed.items()}
        assert_same_run(before, after, feed)


def test_nodes_of_a_subgraph_may_capture_a_tensor_produced_later_in_the_file():
    before = onnx.parser.parse_model(IF)
    nodes = list(before.graph.node)
    del before.graph.node[:]
    before.graph.node.extend([nodes[1], nodes[0], nodes[2]])  # If before its Sigmoid
    after = again(before)
    assert [n.op_type for n in after.graph.node] == ["Sigmoid", "If", "Relu"]
    feeds = {"c": np.array(True), "x": floats(2)}
    assert_same_run(onnx.parser.parse_model(IF), after, feeds)


FUNCTION = """<ir_version: 10, opset_import: ["" : 20, "local" : 1]>
g (float[2, 3] x) => (float[3, 2] y)
{
    a = local.leak <slope = 0.25, order = [1, 0]> (x)
    y = local.leak_default (a)
}
<opset_import: ["" : 20], domain: "local", doc_string: "leaks">
leak <slope, order> (v) => (r)
{
    k = Constant <value = float {3}> ()
    u = LeakyRelu <alpha: float = @slope> (v)
    m = Mul(u, k)
    r = Transpose <perm: ints = @order> (m)
}
<opset_import: ["" : 20], domain: "local">
leak_default <alpha: float = 0.5> (v) => (r)
{
    r = LeakyRelu <alpha: float = @alpha> (v)
}"""


def test_local_functions_with_attribute_references_and_defaults():
    before = onnx.parser.parse_model(FUNCTION)
    after = again(before)
    assert [(f.domain, f.name) for f in after.functions] == [
        ("local", "leak"),
        ("local", "leak_default"),
    ]
    first = after.functions[0]
    assert list(first.attribute) == ["slope", "order"]
    assert first.doc_string == before.functions[0].doc_string
    references = {
        a.ref_attr_name: a.type for n in first.node for a in n.attribute if a.ref_attr_name
    }
    assert references == {"slope": AttributeProto.FLOAT, "order": AttributeProto.INTS}
    assert after.functions[1].attribute_proto == before.functions[1].attribute_proto
    assert_same_run(before, after, {"x": floats(2, 3)})


def test_a_function_whose_branches_hold_constants_of_one_name():
    branches = {}
    for branch, constant in (("then_branch", 2.0), ("else_branch", 3.0)):
        k = numpy_helper.from_array(np.array(constant, np.float32), "k")
        mul = helper.make_node("Mul", ["v", "k"], ["t"])
        branches[branch] = helper.make_graph([mul], branch, [], [value("t", None)], [k])
    body = [helper.make_node("If", ["c"], ["r"], **branches)]
    imports = [helper.make_opsetid("", 20)]
    function = helper.make_function("local", "scale", ["c", "v"], ["r"], body, imports)
    before = model(
        [helper.make_node("scale", ["c", "x"], ["y"], domain="local")],
        [value("c", [], TensorProto.BOOL), value("x", [2])],
        [value("y", [2])],
        imports=[("", 20), ("local", 1)],
        functions=[function],
    )
    after = again(before)
    for flag in (True, False):
        assert_same_run(before, after, {"c": np.array(flag), "x": floats(2)})


def test_overloads_of_one_function():
    imports = [helper.make_opsetid("", 20)]
    functions = []
    for overload, op in (("a", "Relu"), ("b", "Neg")):
        made = helper.make_function(
            "l", "f", ["v"], ["r"], [helper.make_node(op, ["v"], ["r"])], imports
        )
        made.overload = overload
        functions.append(made)
    nodes = [helper.make_node("f", ["x"], ["t"], "1", domain="l", overload="a")]
    nodes.append(helper.make_node("f", ["t"], ["y"], "2", domain="l", overload="b"))
    before = model(
        nodes,
        [value("x", [2])],
        [value("y", [2])],
        imports=[("", 20), ("l", 1)],
        functions=functions,
    )
    after = again(before)
    assert_same_proto(before, after)
    assert [f.overload for f in after.functions] == ["a", "b"]
    x = {"x": floats(2)}
    expected = ReferenceEvaluator(before).run(None, x)
    np.testing.assert_array_equal(ReferenceEvaluator(after).run(None, x), expected)


def test_the_same_graph_gives_the_same_bytes():
    text = onnx.parser.parse_model(NESTED)
    first, second = (again(text).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
    assert (
        planish.to_model(planish.load(again(text))).SerializeToString(deterministic=True) == first
    )
