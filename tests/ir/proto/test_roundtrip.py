"""Round trips of models: metadata, interfaces, custom operators; the same bytes twice."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import planish

from tests.helpers import model_of, run_ort
from tests.ir.proto.protos import (
    again,
    assert_same_proto,
    assert_same_run,
    floats,
    model,
    value,
)


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
    graph = planish.load(before)
    assert [t.name for t in graph.inputs] == ["x"]
    after = planish.to_model(graph)
    assert_same_proto(before, after)
    assert_same_run(before, after, {"x": floats(2)})
    assert planish.lower(graph)({"x": floats(2)})["y"].shape == (2,)


@pytest.mark.parametrize("version", [3, 4, 7])
def test_an_optimized_file_keeps_its_ir_version(version, tmp_path):
    """Of version 3 all initializers are inputs, which those of a branch cannot be.

    Sizes of a scalar's NonZero are inferred in more than one step.
    """
    text = f"""<ir_version: {version}, opset_import: ["" : 9]>
        g (float[2, 3] x, bool c) => (float[2, 3] y, int64[1, K] z)
            <float one = {{1.0}}, float two = {{2.0}}> {{
            a = Mul(x, two) b = Add(a, one) d = Mul(b, two) s = Sigmoid(d) e = Mul(d, s)
            y = If(c) <then_branch = t () => (float[2, 3] p) {{
                w = Constant <value = float[3] {{1.0, 2.0, 4.0}}> () p = Sub(e, w) }},
                else_branch = f () => (float[2, 3] q) {{ q = Neg(e) }}>
            m = ReduceMax <keepdims = 0> (y) z = NonZero(m) }}"""
    model = model_of(text)
    if version < 4:
        model.graph.input.extend(value(name, []) for name in ("one", "two"))
    graph = planish.Pipeline.parse("exact").run(planish.load(model)).graph
    path = tmp_path / "out.onnx"
    planish.save(graph, path, portable=True, external=version == 3)
    after = onnx.load(path)
    onnx.checker.check_model(path)
    assert after.ir_version == version
    names = [t.name for t in after.graph.initializer]
    assert names
    listed = names if version < 4 else []
    assert [t.name for t in after.graph.input] == ["x", "c", *listed]
    for condition in (True, False):
        assert_same_run(model, after, {"x": floats(2, 3), "c": np.array(condition)})


def test_before_ir_version_4_a_default_needs_a_higher_version():
    graph = planish.load(
        model_of("g (float[2] x) => (float[2] y) { y = Add(x, w) }", {"w": floats(2)})
    )
    graph.ir_version = 3
    assert planish.to_model(graph).ir_version == 3
    graph.inputs.append(graph.nodes[0].inputs[1])
    assert planish.to_model(graph).ir_version == 4


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
