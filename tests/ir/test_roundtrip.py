"""Load -> to_model keeps the protos where they can be compared, and the function everywhere."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import planish

from tests.helpers import model_of, run_ort

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


def test_metadata_of_model_graph_node_and_subgraph():
    inner = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["t"])], "then", [], [value("t", [2])]
    )
    inner.metadata_props.add(key="inner", value="1")
    inner.doc_string = "the branch"
    other = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["t"])], "else", [], [value("t", [2])]
    )
    node = helper.make_node(
        "If", ["c"], ["y"], "choose", "chooses", then_branch=inner, else_branch=other
    )
    node.metadata_props.add(key="source", value="net.py:3")
    before = model([node], [value("c", [], TensorProto.BOOL), value("x", [2])], [value("y", [2])])
    before.domain, before.model_version, before.doc_string = "example.com", 7, "a model"
    before.producer_name, before.producer_version = "maker", "1.2"
    before.graph.doc_string = "a graph"
    before.metadata_props.add(key="k", value="v")
    before.metadata_props.add(key="a", value="")
    before.graph.metadata_props.add(key="gk", value="gv")
    after = again(before)
    for field in ("domain", "model_version", "doc_string", "producer_name", "producer_version"):
        assert getattr(after, field) == getattr(before, field)
    assert after.metadata_props == before.metadata_props
    assert after.graph.metadata_props == before.graph.metadata_props
    assert after.graph.doc_string == "a graph"
    assert after.graph.name == "g"
    assert after.ir_version == 10
    assert after.graph.node[0].doc_string == "chooses"
    assert after.graph.node[0].metadata_props == node.metadata_props
    branch = next(a.g for a in after.graph.node[0].attribute if a.name == "then_branch")
    assert branch.doc_string == "the branch"
    assert branch.metadata_props == inner.metadata_props
    assert_same_run(before, after, {"c": np.array(True), "x": floats(2)})


def test_the_given_proto_is_left_untouched():
    before = model_of("g (float[2] x) => (float[2] y) { y = Add(x, w) }", {"w": floats(2)})
    data = before.SerializeToString()
    planish.to_model(planish.load(before))
    assert before.SerializeToString() == data


def test_an_initializer_that_is_an_input_can_be_overridden_from_ir_version_4_on():
    inputs = [value("x", [2]), value("w", [2])]
    weights = [numpy_helper.from_array(np.array([1, 2], np.float32), "w")]
    node = helper.make_node("Add", ["x", "w"], ["y"], "add")
    before = model([node], inputs, [value("y", [2])], weights, ir=4, imports=[("", 11)])
    after = again(before)
    assert_same_proto(before, after)
    x, w = floats(2), floats(2, seed=1)
    assert_same_run(before, after, {"x": x})
    assert_same_run(before, after, {"x": x, "w": w})
    compiled = planish.lower(planish.load(before))
    np.testing.assert_array_equal(compiled({"x": x})["y"], x + np.array([1, 2], np.float32))
    np.testing.assert_array_equal(compiled({"x": x, "w": w})["y"], x + w)


def test_a_large_overridable_initializer_can_be_overridden_after_lowering():
    default, given = floats(1 << 15), floats(1 << 15, seed=1)
    before = model(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [value("x", [1 << 15]), value("w", [1 << 15])],
        [value("y", [1 << 15])],
        [numpy_helper.from_array(default, "w")],
    )
    compiled = planish.lower(planish.load(before))
    x = floats(1 << 15, seed=2)
    np.testing.assert_array_equal(compiled({"x": x})["y"], x + default)
    np.testing.assert_array_equal(compiled({"x": x, "w": given})["y"], x + given)


def test_before_ir_version_4_an_initializer_that_is_an_input_is_a_constant():
    inputs = [value("x", [2]), value("w", [2])]
    weights = [numpy_helper.from_array(np.array([1, 2], np.float32), "w")]
    node = helper.make_node("Add", ["x", "w"], ["y"])
    before = model([node], inputs, [value("y", [2])], weights, ir=3, imports=[("", 8)])
    after = again(before)
    assert [t.name for t in after.graph.input] == ["x"]
    assert after.ir_version >= 4  # IR 3 demands that initializers are inputs
    assert_same_run(before, after, {"x": floats(2)})


def test_optional_inputs_and_outputs_that_are_left_out_stay_empty():
    clip = helper.make_node("Clip", ["x", "", "high"], ["c"], "clip")
    pool = helper.make_node("MaxPool", ["c"], ["y"], "pool", kernel_shape=[2, 2])
    drop = helper.make_node("LSTM", ["s", "w", "r", "", "", "h"], ["", "z"], "lstm", hidden_size=2)
    weights = {
        "high": np.float32(1),
        "w": floats(1, 8, 3),
        "r": floats(1, 8, 2),
        "h": floats(1, 1, 2),
    }
    before = model(
        [clip, pool, drop],
        [value("x", [1, 1, 4, 4]), value("s", [5, 1, 3])],
        [value("y", [1, 1, 3, 3]), value("z", [1, 1, 2])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in weights.items()],
    )
    after = again(before)
    assert_same_proto(before, after)
    assert_same_run(before, after, {"x": floats(1, 1, 4, 4), "s": floats(5, 1, 3)})


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


def test_operators_of_a_custom_domain():
    node = helper.make_node("Gelu", ["x"], ["y"], "gelu", domain="com.microsoft")
    before = model(
        [node], [value("x", [4])], [value("y", [4])], imports=[("", 20), ("com.microsoft", 1)]
    )
    after = again(before)
    assert_same_proto(before, after)
    expected, found = (run_ort(m, {"x": floats(4)}) for m in (before, after))
    np.testing.assert_array_equal(found["y"], expected["y"])


def test_a_model_of_custom_operators_alone():
    node = helper.make_node("Mystery", ["x"], ["y"], "m", domain="nowhere", level=3)
    before = model([node], [value("x", ["N"])], [value("y", ["N"])], imports=[("nowhere", 5)])
    assert_same_proto(before, again(before))


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


def test_dynamic_and_unknown_dimensions_of_inputs_and_outputs():
    before = model(
        [
            helper.make_node("Relu", ["x"], ["y"], "r"),
            helper.make_node("Relu", ["u"], ["v"], "s"),
        ],
        [value("x", ["N", None, 0, 4]), value("u", None)],
        [value("y", ["N", None, 0, 4]), value("v", None)],
    )
    assert_same_proto(before, again(before))


def test_the_type_of_an_output_wins_over_a_value_info_of_its_name():
    before = model(
        [helper.make_node("Relu", ["x"], ["y"], "r")], [value("x", ["N"])], [value("y", ["N"])]
    )
    before.graph.value_info.append(value("y", [1]))  # some exporters leave their batch size here
    assert_same_proto(before, again(before))


def test_an_input_and_an_initializer_may_be_outputs():
    before = model(
        [helper.make_node("Relu", ["x"], ["y"], "r")],
        [value("x", [2])],
        [value("x", [2]), value("w", [2]), value("y", [2])],
        [numpy_helper.from_array(floats(2), "w")],
    )
    after = again(before)
    assert_same_proto(before, after)
    assert_same_run(before, after, {"x": floats(2, seed=3)})


def test_the_same_graph_gives_the_same_bytes():
    text = onnx.parser.parse_model(NESTED)
    first, second = (again(text).SerializeToString(deterministic=True) for _ in range(2))
    assert first == second
    assert (
        planish.to_model(planish.load(again(text))).SerializeToString(deterministic=True) == first
    )
