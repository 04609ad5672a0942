"""Clones: the same model, other objects, the same weights."""

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import TensorProto, helper

import planish
from planish.ir.graph.clone import clone, clone_with_types
from planish.ir.graph.uses import scopes
from planish.ir.ops.shapes.infer import infer_types

from tests.helpers import conv_batchnorm, graph_of, run_ort


def serialized(graph):
    return planish.to_model(graph).SerializeToString(deterministic=True)


def tensors_of(graph):
    return {
        id(t): t
        for scope in scopes(graph)
        for node in scope.nodes
        for t in (*node.inputs, *node.outputs, *scope.inputs, *scope.outputs)
    }


LOOP = """<ir_version: 10, opset_import: ["" : 20, "local" : 1]>
g (int64 n, float[2] x) => (float[2] y, float[K, 2] all)
<float[2] w = {3, 4}>
{
    go = Constant <value = bool {1}> ()
    y, all = Loop (n, go, x) <body = body (int64 i, bool in, float[2] v) =>
        (bool out, float[2] v2, float[2] kept) {
            out = Identity(in)
            v2 = local.scaled <by = 2.0> (v)
            kept = Mul(v2, w)
        }
    >
}
<opset_import: ["" : 20], domain: "local">
scaled <by> (v) => (r) { r = LeakyRelu <alpha: float = @by> (v) }"""


def rich():
    model = onnx.parser.parse_model(LOOP)
    model.producer_name, model.doc_string, model.model_version = "maker", "text", 3
    model.metadata_props.add(key="k", value="v")
    model.graph.node[1].doc_string = "loops"
    body = model.graph.node[1].attribute[0].g
    body.metadata_props.add(key="inner", value="1")
    return planish.load(model)


def test_a_clone_is_the_same_model():
    graph = rich()
    assert serialized(clone(graph)) == serialized(graph)
    feeds = {"n": np.array(3, np.int64), "x": np.array([1, -2], np.float32)}
    expected = run_ort(planish.to_model(graph), feeds)
    for name, array in run_ort(planish.to_model(clone(graph)), feeds).items():
        np.testing.assert_array_equal(array, expected[name])


def test_a_clone_shares_values_and_nothing_else():
    graph = rich()
    copy = clone(graph)
    originals, copies = tensors_of(graph), tensors_of(copy)
    assert not originals.keys() & copies.keys()
    assert len(originals) == len(copies)
    weights = {t.name: t for t in originals.values() if isinstance(t, gs.Constant)}
    found = [t for t in copies.values() if isinstance(t, gs.Constant)]
    assert {t.name for t in found} == weights.keys() == {"w"}
    assert all(np.shares_memory(t.values, weights[t.name].values) for t in found)


def test_edits_of_a_clone_leave_the_original_alone():
    graph = rich()
    before = serialized(graph)
    copy = clone(graph)
    body = copy.nodes[1].attrs["body"]
    body.nodes[1].attrs["by"] = 7.0
    body.nodes.pop()
    copy.nodes[1].inputs[2].name = "renamed"
    copy.outputs[0].shape[0] = 5
    copy.functions.clear()
    copy.import_domains.pop()
    copy.inputs.clear()
    assert serialized(graph) == before


def test_lists_of_attributes_are_copied():
    graph = graph_of("g (float[1,1,3,3] x) => (float[1,1,3,3] y) "
                     "{ y = MaxPool<kernel_shape=[1,1]>(x) }")  # fmt: skip
    clone(graph).nodes[0].attrs["kernel_shape"].append(9)
    assert graph.nodes[0].attrs["kernel_shape"] == [1, 1]


def test_tensors_are_told_apart_by_identity_and_links_are_whole():
    graph = clone(planish.load(conv_batchnorm()))
    conv, norm = graph.nodes
    assert conv.outputs[0] is norm.inputs[0]
    assert [node is conv for node in conv.outputs[0].inputs] == [True]
    assert [node is norm for node in conv.outputs[0].outputs] == [True]
    assert graph.inputs[0] is conv.inputs[0]
    assert graph.outputs[0] is norm.outputs[0]


def test_types_of_sequences_survive():
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(TensorProto.FLOAT, [2]))
    made = helper.make_graph(
        [helper.make_node("Identity", ["s"], ["t"])],
        "g",
        [helper.make_value_info("s", kind)],
        [helper.make_value_info("t", kind)],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    found = planish.to_model(clone(planish.load(model)))
    assert found.graph.input[0].type == kind
    assert found.graph.output[0].type == kind


def test_a_chain_of_10_000_nodes():
    tensors = [gs.Variable(f"t{i}") for i in range(10_001)]
    nodes = [gs.Node("Relu", f"n{i}", {}, [tensors[i]], [tensors[i + 1]]) for i in range(10_000)]
    copy = clone(gs.Graph(nodes, [tensors[0]], [tensors[-1]]))
    assert len(copy.nodes) == 10_000
    assert copy.nodes[-1].outputs[0] is copy.outputs[0]


def test_types_of_a_clone_are_those_inferred_of_it():
    graph = graph_of(
        "g (float[N, 3, 8] x) => (float[] y) { a, d = Dropout(x) b = Shape(a) y = Reshape(a, b) }"
    )
    types = infer_types(graph)
    read = [types.of(tensor) for tensor in tensors_of(graph).values()]
    copy, found = clone_with_types(graph, types)
    assert serialized(copy) == serialized(graph)
    inferred = infer_types(copy)
    tensors = tensors_of(copy).values()
    assert [found.of(tensor) for tensor in tensors] == read
    assert [inferred.of(tensor) for tensor in tensors] == read


def test_no_message_of_protobuf_is_shared():
    """A pass may edit versions and types in place; the untouched graph is compared afterwards."""
    graph = rich()
    typed, bodies = onnx.TypeProto(), [graph.nodes[1].attrs["body"]]
    typed.tensor_type.elem_type = TensorProto.FLOAT
    graph.nodes[0].attrs |= {"type": typed, "types": [typed], "bodies": bodies}
    graph.functions[0].attrs["type"] = typed
    before = [str(graph.import_domains), str(graph.functions[0].import_domains), bodies[0].name]
    copy = clone(graph)
    attrs, function = copy.nodes[0].attrs, copy.functions[0]
    inner = copy.nodes[1].attrs["body"]
    for scope in (copy, inner, function):
        for entry in scope.import_domains:
            entry.version = 3
    for kept in (attrs["type"], attrs["types"][0], function.attrs["type"]):
        assert kept == typed
        assert kept is not typed
    assert attrs["bodies"][0] is not bodies[0]
    after = [str(graph.import_domains), str(graph.functions[0].import_domains), bodies[0].name]
    assert before == after
    assert all(e.version != 3 for e in bodies[0].import_domains)
