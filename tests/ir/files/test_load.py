"""What `load` accepts, and how it refuses."""

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import planish
from planish.ir.core.errors import LoadError

from tests.effort import examples
from tests.helpers import conv_batchnorm, model_of, ops, run_ort

VALID = conv_batchnorm(4)
DATA = VALID.SerializeToString()


def test_a_path_bytes_and_a_proto_give_the_same_graph(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(DATA)
    x = np.random.default_rng(0).standard_normal((2, 3, 9, 9)).astype(np.float32)
    expected = run_ort(VALID, {"x": x})["y"]
    for source in (path, str(path), DATA, bytearray(DATA), memoryview(DATA), VALID):
        graph = planish.load(source)
        assert ops(graph) == ["Conv", "BatchNormalization"]
        np.testing.assert_array_equal(run_ort(planish.to_model(graph), {"x": x})["y"], expected)


def test_weights_are_read_only():
    weight = planish.load(VALID).nodes[0].inputs[1].values
    with pytest.raises(ValueError, match="read-only"):
        weight[0] = 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(200)), "not an ONNX model"),
        (b"hello, this is a text file\n" * 20, "not an ONNX model"),
        (DATA[:-7], "not an ONNX model"),
        (DATA[: len(DATA) // 2], "not an ONNX model"),
        (bytes(64), "not an ONNX model"),
        (onnx.ModelProto(ir_version=8).SerializeToString(), "holds no graph"),
    ],
    ids=["empty", "image", "text", "truncated", "half", "zeros", "no-graph"],
)
def test_a_file_that_is_no_model_is_refused_by_name(tmp_path, data, message):
    path = tmp_path / "bad.onnx"
    path.write_bytes(data)
    with pytest.raises(LoadError, match=message) as caught:
        planish.load(path)
    assert str(path) in str(caught.value)
    with pytest.raises(LoadError, match=message):
        planish.load(data)


def test_a_folder_a_missing_file_and_an_impossible_path_are_refused(tmp_path):
    with pytest.raises(LoadError, match="is a folder"):
        planish.load(tmp_path)
    with pytest.raises(LoadError, match="No such file"):
        planish.load(tmp_path / "none.onnx")
    with pytest.raises(LoadError, match="null"):
        planish.load("a\0b.onnx")


def test_a_model_without_opsets_or_outputs_is_refused():
    model = onnx.ModelProto()
    model.CopyFrom(VALID)
    del model.opset_import[:]
    with pytest.raises(LoadError, match="no opset import"):
        planish.load(model)
    model.CopyFrom(VALID)
    del model.graph.output[:]
    with pytest.raises(LoadError, match="no graph output"):
        planish.load(model)


def graph_with(*nodes, initializers=(), inputs=("x",), outputs=("y",)):
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node(op, ins, outs, name) for op, ins, outs, name in nodes],
        "g",
        [value(name, TensorProto.FLOAT, [2]) for name in inputs],
        [value(name, TensorProto.FLOAT, [2]) for name in outputs],
        [numpy_helper.from_array(np.zeros(2, np.float32), name) for name in initializers],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (
            graph_with(
                ("Add", ["x", "c"], ["a"], "first"),
                ("Relu", ["a"], ["b"], "second"),
                ("Neg", ["b"], ["c"], "third"),
                ("Relu", ["c"], ["y"], "last"),
            ),
            ["cycle of 3 nodes", "'first' (Add)", "'second' (Relu)", "'third' (Neg)"],
        ),
        (
            graph_with(("Add", ["x", "y"], ["y"], "self")),
            ["'self' (Add) -> 'self' (Add)"],
        ),
        (
            graph_with(("Relu", ["x"], ["y"], "one"), ("Neg", ["x"], ["y"], "two")),
            ["'y'", "two nodes", "'one' (Relu)", "'two' (Neg)"],
        ),
        (
            graph_with(
                ("Relu", ["x"], ["w"], "one"),
                ("Add", ["x", "w"], ["y"], "two"),
                initializers=["w"],
            ),
            ["'w'", "an initializer", "'one' (Relu)"],
        ),
        (
            graph_with(("Relu", ["y"], ["x"], "one"), ("Neg", ["x"], ["y"], "two")),
            ["'one' (Relu)", "'two' (Neg)"],
        ),
        (
            graph_with(("Add", ["x", "ghost"], ["y"], "reader")),
            ["'ghost'", "'reader' (Add)", "nothing produces"],
        ),
        (
            graph_with(("Relu", ["x"], ["z"], "one")),
            ["output 'y'", "produced by no node"],
        ),
        (
            graph_with(("Add", ["x", "w"], ["y"], "one"), initializers=["w", "w"]),
            ["two initializers", "'w'"],
        ),
    ],
    ids=[
        "cycle", "self", "two-producers", "initializer-and-node", "input-and-node", "no-producer",
        "no-output", "two-initializers",
    ],
)  # fmt: skip
def test_a_graph_that_is_not_well_formed_is_refused_naming_nodes_and_tensors(model, words):
    with pytest.raises(LoadError) as caught:
        planish.load(model)
    for word in words:
        assert word in str(caught.value)


def test_an_undeclared_domain_is_refused():
    model = model_of("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    model.graph.node[0].domain = "nowhere"
    with pytest.raises(LoadError, match="'nowhere'"):
        planish.load(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dims": [-1, 2]}, "negative shape"),
        ({"data_type": 0}, "does not fit"),
        ({"data_type": 99}, "does not fit"),
        ({"raw_data": b"123"}, "does not fit"),
        ({"dims": [2**40, 2**40]}, "does not fit"),
    ],
)
def test_an_initializer_whose_data_do_not_fit_is_refused_by_name(change, message):
    model = graph_with(("Add", ["x", "w"], ["y"], "add"), initializers=["w"])
    tensor = model.graph.initializer[0]
    for field, value in change.items():
        if field == "dims":
            del tensor.dims[:]
            tensor.dims.extend(value)
        else:
            setattr(tensor, field, value)
    with pytest.raises(LoadError, match=message) as caught:
        planish.load(model)
    assert "'w'" in str(caught.value)


def test_an_input_of_an_unknown_element_type_is_refused_by_name():
    model = graph_with(("Relu", ["x"], ["y"], "r"))
    model.graph.input[0].type.tensor_type.elem_type = 99
    with pytest.raises(LoadError, match="'x' is of element type 99"):
        planish.load(model)


def test_nodes_in_any_order_are_sorted():
    model = graph_with(
        ("Relu", ["b"], ["y"], "3"), ("Neg", ["a"], ["b"], "2"), ("Relu", ["x"], ["a"], "1")
    )
    assert [node.name for node in planish.load(model).nodes] == ["1", "2", "3"]


RICH = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 20, "local" : 1]>
g (bool c, float[N, 2] x) => (float[N, 2] y)
<float[2] w = {3, 4}>
{
    s = local.leak <slope = 0.25> (x)
    y = If (c) <
        then_branch = a () => (float[N, 2] t) { t = Add(s, w) },
        else_branch = b () => (float[N, 2] t) { t = Mul(s, w) }
    >
}
<opset_import: ["" : 20], domain: "local">
leak <slope> (v) => (r) { r = LeakyRelu <alpha: float = @slope> (v) }
""").SerializeToString()


def load_or_refuse(data):
    try:
        graph = planish.load(data)
    except planish.PlanishError as error:
        text = str(error)
        assert text
        assert text[0].islower() or text[0] == "'"
        return
    planish.to_model(graph)


@settings(max_examples=examples(150), suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=200))
@example(b"\x3a\x00")
def test_random_bytes_load_or_are_refused(data):
    load_or_refuse(data)


@settings(max_examples=examples(500), suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from([DATA[:400], RICH]),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=4),
)
def test_damaged_models_load_or_are_refused(data, flips):
    damaged = bytearray(data)
    for place, mask in flips:
        damaged[place % len(damaged)] ^= mask
    load_or_refuse(bytes(damaged))
