"""What a file carries beside its operators: it comes back, through passes where its bearer does."""

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import planish
from planish.ir.graph.clone import clone

from tests.effort import examples
from tests.ir.proto.protos import FLOAT, again, floats, model, value

TEXT = st.text(max_size=8)
WORDS = st.dictionaries(st.text(min_size=1, max_size=4), TEXT, max_size=2)


def says(proto, text, properties):
    proto.doc_string = text
    for key, word in properties.items():
        proto.metadata_props.add(key=key, value=word)


def image(*, batch="N"):
    """Return an example of everything that can be said: x -> Conv -> a -> Relu -> y."""
    weight = numpy_helper.from_array(floats(4, 3, 1, 1), "w")
    says(weight, "first weights", {"trained": "yes"})
    nodes = [helper.make_node("Conv", ["x", "w"], ["a"], "conv", "a convolution")]
    nodes[0].attribute.add(name="group", type=onnx.AttributeProto.INT, i=1, doc_string="one")
    nodes.append(helper.make_node("Relu", ["a"], ["y"], "relu"))
    x, a, y = (value(n, [batch, c, 4, 4]) for n, c in (("x", 3), ("a", 4), ("y", 4)))
    for info in (x, a, y):
        says(info, f"the value {info.name}", {"unit": info.name})
        info.type.denotation = "IMAGE"
        info.type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
        info.type.tensor_type.shape.dim[1].denotation = "DATA_CHANNEL"
    before = model(nodes, [x], [y], [weight])
    before.graph.value_info.append(a)
    before.graph.value_info.append(value("w", [4, 3, 1, 1]))
    scale = numpy_helper.from_array(np.array(0.5, np.float32), "a_scale")
    before.graph.initializer.append(scale)  # which no node reads
    for name in ("x", "a", "w", "y"):
        annotation = before.graph.quantization_annotation.add(tensor_name=name)
        annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="a_scale")
    return before


def values(proto):
    return {
        info.name: info.SerializeToString(deterministic=True)
        for info in (*proto.input, *proto.output, *proto.value_info)
    }


def normal(proto):
    """Return `proto` as text, without the texts that are there and empty."""
    copy = type(proto)()
    copy.CopyFrom(proto)
    return "\n".join(line for line in str(copy).splitlines() if not line.endswith(': ""'))


def annotations(proto):
    return {entry.tensor_name: str(entry) for entry in proto.quantization_annotation}


@pytest.mark.parametrize("copied", [False, True])
def test_everything_comes_back(copied):
    before = image()
    graph = planish.load(before)
    after = planish.to_model(clone(graph) if copied else graph)
    assert values(after.graph) == values(before.graph)
    assert annotations(after.graph) == annotations(before.graph)
    assert {t.name: normal(t) for t in after.graph.initializer} == {
        t.name: normal(t) for t in before.graph.initializer
    }
    assert list(map(normal, after.graph.node)) == list(map(normal, before.graph.node))


@pytest.mark.parametrize("portable", [False, True])
def test_exact_keeps_what_is_said_of_the_interface(portable):
    before = image()
    after = planish.Pipeline.parse("exact").run(planish.load(before)).graph
    model = planish.to_model(after, portable=portable)
    expected = values(before.graph)
    found = values(model.graph)
    assert found["x"] == expected["x"]
    assert found["y"] == expected["y"]
    assert {"x", "y", "w"} <= set(annotations(model.graph))
    (weight,) = (t for t in model.graph.initializer if t.name == "w")
    assert weight.doc_string == "first weights"
    assert "a_scale" in {t.name for t in model.graph.initializer}


def test_an_annotation_goes_with_its_tensor():
    graph = planish.load(image())
    conv, relu = graph.nodes
    relu.outputs = []
    graph.outputs = [conv.outputs[0]]
    graph.nodes = [conv]
    found = annotations(planish.to_model(graph).graph)
    assert set(found) == {"x", "a", "w"}


def test_an_input_that_is_an_output_says_both():
    x, y = value("x", [2]), value("x", [2])
    x.doc_string, y.doc_string = "as it comes", "as it goes"
    before = model([], [x], [y])
    after = again(before)
    assert (after.graph.input[0].doc_string, after.graph.output[0].doc_string) == (
        "as it comes",
        "as it goes",
    )


def test_a_default_says_what_it_is_as_input_and_as_data():
    w = value("w", [2])
    w.doc_string = "may be overridden"
    data = numpy_helper.from_array(floats(2), "w")
    data.doc_string = "the default"
    node = helper.make_node("Add", ["x", "w"], ["y"], "add")
    before = model([node], [value("x", [2]), w], [value("y", [2])], [data])
    after = again(before)
    assert [info.doc_string for info in after.graph.input] == ["", "may be overridden"]
    assert after.graph.initializer[0].doc_string == "the default"


def test_values_of_a_function():
    imports = [helper.make_opsetid("", 20)]
    body = [helper.make_node("Relu", ["v"], ["t"], "r"), helper.make_node("Neg", ["t"], ["r"], "n")]
    function = helper.make_function("local", "f", ["v"], ["r"], body, imports)
    inner = value("t", [2])
    says(inner, "in between", {"k": "v"})
    function.value_info.append(inner)
    says(function, "a function", {"source": "f.py"})
    before = model(
        [helper.make_node("f", ["x"], ["y"], "call", domain="local")],
        [value("x", [2])],
        [value("y", [2])],
        imports=[("", 20), ("local", 1)],
        functions=[function],
    )
    assert normal(again(before).functions[0]) == normal(function)


def test_devices():
    before = model(
        [helper.make_node("Relu", ["x"], ["y"], "r")], [value("x", [2])], [value("y", [2])]
    )
    before.configuration.add(name="two", num_devices=2)
    placed = before.graph.node[0].device_configurations.add(configuration_id="two")
    placed.sharding_spec.add(tensor_name="x", device=[0, 1])
    after = again(before)
    assert after.configuration == before.configuration
    assert after.graph.node[0].device_configurations == before.graph.node[0].device_configurations


def test_training_information_is_refused():
    before = model(
        [helper.make_node("Relu", ["x"], ["y"], "r")], [value("x", [2])], [value("y", [2])]
    )
    before.training_info.add()
    with pytest.raises(planish.PlanishError, match="training information"):
        planish.load(before)


@st.composite
def described(draw):
    """Draw a model of two operators in which anything may say something."""
    before = image(batch=draw(st.sampled_from(["N", 2, None])))
    graph = before.graph
    del graph.quantization_annotation[:]
    said = [graph, before, *graph.node, *graph.input, *graph.output, *graph.initializer]
    for proto in (*said, *graph.value_info[:1]):
        proto.ClearField("metadata_props")
        says(proto, draw(TEXT), draw(WORDS))
    before.producer_name, before.producer_version = draw(TEXT), draw(TEXT)
    before.domain, before.model_version = draw(TEXT), draw(st.integers(0, 1 << 40))
    for info in (*graph.input, *graph.output, *graph.value_info[:1]):
        info.type.denotation = draw(TEXT)
        for dim in info.type.tensor_type.shape.dim:
            dim.denotation = draw(TEXT)
    return before


@settings(max_examples=examples(100))
@given(described())
def test_whatever_is_said_comes_back(before):
    after = planish.to_model(clone(planish.load(before)))
    unread = {"a_scale"}
    kept = [t for t in before.graph.initializer if t.name not in unread]
    del before.graph.initializer[:]
    before.graph.initializer.extend(kept)
    assert normal(after) == normal(before)


def test_external_data_says_what_it_said(tmp_path):
    before = image()
    onnx.save(
        before, tmp_path / "a.onnx", save_as_external_data=True, location="a.data", size_threshold=0
    )
    planish.save(planish.load(tmp_path / "a.onnx"), tmp_path / "b.onnx", external=True)
    after = onnx.load(tmp_path / "b.onnx")
    said = {
        t.name: (t.doc_string, [(p.key, p.value) for p in t.metadata_props])
        for t in after.graph.initializer
    }
    assert said["w"] == ("first weights", [("trained", "yes")])
    assert after.graph.initializer[0].data_type == FLOAT == TensorProto.FLOAT
