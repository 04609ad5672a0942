"""A pipeline as a pass of onnx_ir, and models of onnx_ir as graphs, on the real package."""

import numpy as np
import onnx
import pytest
from onnx.numpy_helper import to_array

import planish
from planish.ir.core.errors import ConversionError

from tests.helpers import graph_of, model_of, run_ort

ir = pytest.importorskip("onnx_ir", reason="onnx_ir, which onnxscript needs, is not installed")
hosts = pytest.importorskip("planish.integrations.onnx_ir")

W = np.arange(108, dtype=np.float32).reshape(4, 3, 3, 3) / 100
# What a file can say: functions, bodies, metadata of everything, annotations, types of 4 bits.
RICH = """
    <ir_version: 11, opset_import: ["" : 21, "my" : 1], producer_name: "someone",
     producer_version: "3", doc_string: "about", metadata_props: ["key" : "value"]>
    g (float[N,3,8,8] x, bool t) => (float[N,4,8,8] y, string[2] s) <
        float[4] b = {1, 2, 3, 4}, string[2] names = {"one", "two"}, float[1] scale = {0.5}
    > {
        [first] a = Identity(x)
        [conv] c = Conv<pads = [1, 1, 1, 1]>(a, w, b)
        [call] d = my.scaled<by = 2.0>(c)
        [branch] e = If(t) <
            then_branch = yes () => (float[N,4,8,8] p) <float[1] inner = {3}> { p = Mul(d, inner) },
            else_branch = no () => (float[N,4,8,8] q) <float[1] inner = {3}> { q = Sub(d, inner) }>
        k = Cast<to = 1>(small) m = ReduceSum<keepdims = 0>(k)
        y = Add(e, m)
        s = Identity(names)
    }
    <opset_import: ["" : 21], domain: "my", doc_string: "times a number">
    scaled <by: float> (v) => (r) { k = Constant<value_float: float = @by>() r = Mul(v, k) }
"""


@pytest.fixture
def rich():
    """Return a model in which everything is said that a file can say."""
    model = model_of(RICH, {"w": W})
    small = onnx.helper.make_tensor("small", onnx.TensorProto.INT4, [3], [-8, 7, 1])
    model.graph.initializer.append(small)
    for scope in (model.graph, *(a.g for a in model.graph.node[3].attribute)):
        for tensor in scope.initializer:  # as files have them, and planish writes them
            if tensor.data_type != onnx.TensorProto.STRING:
                tensor.CopyFrom(onnx.numpy_helper.from_array(to_array(tensor), tensor.name))
    for node in model.graph.node:
        node.doc_string = "about a node"
        node.metadata_props.add(key="name", value=node.name)
    model.graph.metadata_props.add(key="of", value="the graph")
    given = model.graph.input[0]
    given.doc_string, given.type.denotation = "a picture", "IMAGE"
    given.metadata_props.add(key="of", value="the input")
    model.graph.initializer[0].doc_string = "numbers"
    model.graph.value_info.append(onnx.helper.make_tensor_value_info("c", 1, ["N", 4, 8, 8]))
    annotation = model.graph.quantization_annotation.add(tensor_name="c")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scale")
    onnx.checker.check_model(model)
    return model


def by_name(model):
    """Return the text of a model whose unordered lists are in order."""
    proto = onnx.ModelProto()
    proto.CopyFrom(model)
    for scope in (proto.graph, *(a.g for node in proto.graph.node for a in node.attribute)):
        for entries in (scope.initializer, scope.value_info):
            entries.sort(key=lambda entry: entry.name)
    return str(proto)


def assert_computes_the_same(before, model):
    picture = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    feeds = {"x": picture, "t": np.array(True)}
    expected, found = run_ort(before, feeds), run_ort(ir.to_proto(model), feeds)
    np.testing.assert_allclose(found["y"], expected["y"], rtol=1e-5, atol=1e-5)
    assert found["s"].tolist() == ["one", "two"]


def test_everything_that_a_model_says_goes_there_and_back(rich):
    model = ir.from_proto(rich)
    there_and_back = hosts.to_ir(hosts.to_graph(model))
    assert by_name(ir.to_proto(there_and_back)) == by_name(ir.to_proto(model))


def test_weights_are_shared_both_ways():
    graph = graph_of("g (float[2,3,8,8] x) => (float[2,4,6,6] y) { y = Conv(x, w) }", {"w": W})
    own = graph.nodes[0].inputs[1].values
    model = hosts.to_ir(graph)
    assert np.shares_memory(model.graph.initializers["w"].const_value.numpy(), own)
    assert np.shares_memory(hosts.to_graph(model).nodes[0].inputs[1].values, own)


def test_weights_of_bodies_functions_and_attributes_are_shared():
    value = np.arange(6, dtype=np.float32)
    text = """<ir_version: 10, opset_import: ["" : 20, "my" : 1]>
        g (float[6] x, bool t) => (float[6] y) {
            k = Constant<value = float[6] {0, 1, 2, 3, 4, 5}>() a = my.f(x) b = Add(a, k)
            y = If(t) <then_branch = h () => (float[6] p) <float[6] i = {0, 1, 2, 3, 4, 5}> {
                p = Mul(b, i) }, else_branch = h () => (float[6] q) { q = Neg(b) }>
        }
        <opset_import: ["" : 20], domain: "my"> f (v) => (r) {
            k = Constant<value = float[6] {0, 1, 2, 3, 4, 5}>() r = Mul(v, k) }"""
    first = hosts.to_graph(ir.from_proto(model_of(text)))
    known = [held(t) for t in tensors(hosts.to_ir(first))]
    assert len(known) == 3
    assert all(np.array_equal(each, value) for each in known)
    assert all(shared_with(each, first) for each in known)


def tensors(model):
    """Yield the tensors of a model of onnx_ir, of initializers and attributes."""
    for graph in (model.graph, *(f.graph for f in model.functions.values())):
        for scope in (graph, *graph.subgraphs()):
            yield from (value.const_value for value in scope.initializers.values())
            for node in scope:
                yield from (a.value for a in node.attributes.values() if a.name == "value")


def held(tensor):
    return tensor.numpy()


def shared_with(array, graph):
    owned = [n.attrs["value"].values for f in (graph, *graph.functions) for n in f.nodes
             if "value" in n.attrs]  # fmt: skip
    owned += [t.values for n in graph.nodes[-1].attrs["then_branch"].nodes for t in n.inputs[1:]]
    return any(np.shares_memory(array, each) for each in owned)


@pytest.fixture
def on_disk(tmp_path, rich):
    """Return a model whose weights lie in a file beside it."""
    path = tmp_path / "model.onnx"
    onnx.save(rich, path, save_as_external_data=True, location="w.data", size_threshold=100)
    return ir.load(path)


def test_external_and_lazy_tensors_are_kept_and_the_input_left_alone(on_disk):
    external = on_disk.graph.initializers["w"].const_value
    assert isinstance(external, ir.ExternalTensor)
    lazy = ir.LazyTensor(
        lambda: ir.tensor(np.float32([1, 2, 3, 4])), ir.DataType.FLOAT, ir.Shape([4]), name="b"
    )
    on_disk.graph.initializers["b"].const_value = lazy
    before = ir.to_proto(on_disk)
    result = ir.passes.Sequential(hosts.as_pass("eliminate-identities"))(on_disk)
    assert result.modified
    assert result.model is not on_disk
    assert ir.to_proto(on_disk) == before
    assert result.model.graph.initializers["w"].const_value is external
    assert result.model.graph.initializers["b"].const_value is lazy
    assert "first" not in {node.name for node in result.model.graph}


def test_an_external_tensor_that_is_renamed_stays_external(on_disk):
    from planish.integrations.onnx_ir.tensors import Tensors

    known = Tensors()
    graph = hosts.to_graph(on_disk, known)
    next(t for n in graph.nodes for t in n.inputs if t.name == "w").name = "kernel"
    found = hosts.to_ir(graph, known).graph.initializers["kernel"].const_value
    assert isinstance(found, ir.ExternalTensor)
    np.testing.assert_array_equal(found.numpy(), W)


def test_modified_is_what_happened(rich):
    model, reports = ir.from_proto(rich), []
    functional = hosts.as_pass("eliminate-identities", report=reports.append)
    first = functional(model)
    again = functional(first)
    assert (first.modified, again.modified) == (True, False)
    assert again.model is not first.model
    assert ir.to_proto(again.model) == ir.to_proto(first.model)
    assert [report.edits for report in reports] == [1, 0]
    in_place = hosts.as_pass("eliminate-identities", in_place=True)
    changed = in_place(model)
    assert changed.modified
    assert changed.model is model
    assert ir.to_proto(model) == ir.to_proto(first.model)
    assert not in_place(model).modified
    assert_computes_the_same(rich, model)


def test_a_size_that_is_declared_anew_is_a_modification():
    model = model_of("g (float[2,3] x) => (float[5,3] y) { y = Relu(x) }")
    result = hosts.as_pass("eliminate-identities")(ir.from_proto(model))
    assert result.modified
    assert list(result.model.graph.outputs[0].shape) == [2, 3]


def test_passes_of_both_follow_one_another(rich):
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    steps = [hosts.as_pass("exact"), RemoveUnusedNodesPass()]
    result = ir.passes.PassManager(steps, steps=3, early_stop=True)(ir.from_proto(rich))
    assert result.modified
    assert_computes_the_same(rich, result.model)


def test_what_planish_does_not_read_is_a_precondition(rich, tmp_path):
    model = ir.from_proto(rich)
    model.graph.initializers["w"].const_value = ir.ExternalTensor(
        "gone.data", 0, W.nbytes, ir.DataType.FLOAT, shape=ir.Shape(W.shape), name="w",
        base_dir=tmp_path,
    )  # fmt: skip
    with pytest.raises(ir.passes.PreconditionError, match="tensor 'w' cannot be read"):
        hosts.as_pass("exact")(model)
    unsorted = ir.from_proto(model_of("g (float[2] x) => (float[2] y) { y = Abs(a) a = Neg(x) }"))
    with pytest.raises(ir.passes.PreconditionError, match="topological order"):
        hosts.as_pass("exact")(unsorted)


def test_outputs_that_differ_are_a_postcondition_or_rolled_back(registered):
    @registered(exact=True)
    def negate_too_much(graph):
        graph.nodes[0].op = "Neg"

    model = ir.from_proto(model_of("g (float[2] x) => (float[2] y) { y = Abs(x) }"))
    with pytest.raises(ir.passes.PostconditionError, match="negate-too-much"):
        hosts.as_pass("negate-too-much", strict=True)(model)
    with pytest.warns(UserWarning, match="rolled back, such as .*negate-too-much"):
        result = hosts.as_pass("negate-too-much", strict=False)(model)
    assert not result.modified
    assert [node.op_type for node in result.model.graph] == ["Abs"]


def test_sparse_weights_are_refused_by_name():
    sparse = onnx.helper.make_sparse_tensor(
        onnx.helper.make_tensor("s", 1, [1], [2.0]), onnx.helper.make_tensor("i", 7, [1], [1]), [3]
    )
    model = model_of("g (float[3] x) => (float[3] y) { y = Add(x, s) }")
    model.graph.sparse_initializer.append(sparse)
    with pytest.raises(ConversionError, match="'s' is sparse"):
        hosts.to_ir(planish.load(model))
