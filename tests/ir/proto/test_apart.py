"""Models taken apart and put together again: the parser's values, and protobuf's bytes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import planish
from planish.ir.files import read
from planish.ir.proto import apart

VALUES = {
    "large": np.arange(20000, dtype=np.float32).reshape(4, 5000),
    "small": np.arange(4, dtype=np.float32).reshape(4, 1),
    "bytes": np.arange(70000, dtype=np.int64).astype(np.int8).reshape(4, 17500),
    "half": np.linspace(-1, 1, 40000).astype(np.float16).reshape(4, 10000),
}


def _model(values=VALUES, **kept):
    tensors = [numpy_helper.from_array(v, name) for name, v in values.items()]
    tensors[0].doc_string = "said of the weights"
    tensors[0].metadata_props.add(key="k", value="v")
    nodes = [helper.make_node("Cast", [name], [f"{name}_1"], to=1) for name in values]
    nodes.append(helper.make_node("Concat", [*(f"{n}_1" for n in values), "x"], ["y"], axis=1))
    sizes = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [sizes("x", TensorProto.FLOAT, [4, "n"])],
        [sizes("y", TensorProto.FLOAT, [4, "m"])],
        tensors,
        doc_string="said of the graph",
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], **kept)
    model.metadata_props.add(key="of", value="the model")
    return model


def _read_from(data):
    def reader(at, dtype, shape):
        size = dtype.itemsize * int(np.prod(shape))
        return np.frombuffer(data, np.uint8, size, at).view(dtype).reshape(shape)

    return reader


@pytest.fixture(autouse=True)
def _every_size(monkeypatch):
    monkeypatch.setattr(read, "_LARGE", 1)


def test_file_gives_what_the_proto_gives(tmp_path):
    """Values, documentation and places, large and small, read-only and aligned."""
    model = _model(producer_name="somebody")
    onnx.save(model, tmp_path / "m.onnx")
    graph = planish.load(tmp_path / "m.onnx")
    assert planish.to_model(graph) == planish.to_model(planish.load(model))
    held = {t.name: t.values for node in graph.nodes for t in node.inputs if t.name in VALUES}
    assert held.keys() == VALUES.keys()
    for name, values in held.items():
        np.testing.assert_array_equal(values, VALUES[name])
        assert not values.flags.writeable
        assert values.flags.aligned


@pytest.mark.parametrize("portable", [False, True])
def test_saved_bytes_are_protobufs(tmp_path, portable):
    """Weights that were transposed or sliced, too."""
    graph = planish.load(_model())
    large = next(t for node in graph.nodes for t in node.inputs if t.name == "large")
    large.values = np.arange(20000, dtype=np.float32).reshape(5000, 4).T
    planish.save(graph, tmp_path / "m.onnx", portable=portable)
    wanted = planish.to_model(graph, portable=portable).SerializeToString(deterministic=True)
    assert (tmp_path / "m.onnx").read_bytes() == wanted


def test_what_others_wrote_stays(tmp_path):
    """Fields in another order, and values in fields of their own, are the parser's."""
    model = _model()
    lists = helper.make_tensor("listed", TensorProto.FLOAT, [4, 5000], np.ones(20000).tolist())
    model.graph.initializer.append(lists)
    first = onnx.ModelProto(graph=model.graph).SerializeToString()
    model.ClearField("graph")
    data = first + model.SerializeToString()
    (tmp_path / "m.onnx").write_bytes(data)
    graph = planish.load(tmp_path / "m.onnx")
    assert planish.to_model(graph) == planish.to_model(planish.load(data))


def test_a_tensor_that_says_it_was_left_out_is_refused(tmp_path):
    """What a file says of a list that planish alone keeps."""
    model = _model()
    tensor = model.graph.initializer.add(name="other", data_type=1, dims=[2, 2])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "left-out"), ("offset", "0")):
        tensor.external_data.add(key=key, value=value)
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(planish.LoadError, match="left-out"):
        planish.load(tmp_path / "m.onnx")


def test_a_wrong_number_of_values_is_refused(tmp_path):
    """As where nothing is taken apart."""
    model = _model()
    model.graph.initializer[0].dims[0] = 5
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(planish.LoadError, match="'large' of shape"):
        planish.load(tmp_path / "m.onnx")


@given(st.data())
def test_damage_is_told_as_the_parser_tells_it(data):
    """Cut or changed anywhere outside the weights: the same graph, or the same refusal."""
    whole = bytearray(_model().SerializeToString())
    start = whole.index(VALUES["large"].tobytes()[:64])
    places = st.one_of(st.integers(0, start - 1), st.integers(len(whole) - 400, len(whole) - 1))
    at = data.draw(places)
    if data.draw(st.booleans()):
        del whole[at:]
    else:
        whole[at] = data.draw(st.integers(0, 255))
    damaged = bytes(whole)
    found = apart.take_apart(memoryview(damaged), _read_from(damaged))
    if found is None:
        return
    proto, other = onnx.ModelProto(), onnx.ModelProto()
    try:
        other.ParseFromString(damaged)
    except DecodeError:
        with pytest.raises(DecodeError):
            proto.ParseFromString(found[0])
        return
    proto.ParseFromString(found[0])
    for tensor in proto.graph.initializer:
        if tensor.external_data:
            values = found[1][int(tensor.external_data[1].value)]
            del tensor.external_data[:]
            tensor.ClearField("data_location")
            tensor.raw_data = values.tobytes()
    assert proto == other
