"""Models are raised to a later opset exactly, whole or not at all."""

from __future__ import annotations

import itertools

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings

import planish
from planish.ir.core.errors import PassError

from tests.effort import examples
from tests.helpers import (
    assert_same_function,
    model_of,
    ops,
    reasons,
    relative_error,
    run_ort,
    run_pass,
)
from tests.strategies import networks

X = np.random.default_rng(0).standard_normal((2, 4, 6, 6)).astype(np.float32)
G = np.random.default_rng(1).uniform(-1.2, 1.2, (2, 5, 5, 2)).astype(np.float32)
WEIGHTS = {
    "scales": np.array([1, 1, 2, 2], np.float32),
    "grow": np.array([1, 1, 1.7, 2.4], np.float32),
    "part": np.array([1, 1, 0.5, 1.5], np.float32),
    "sizes": np.array([2, 4, 9, 5], np.int64),
    "nothing": np.zeros(0, np.float32),
    "s": np.array([1, 2, 0.5, 1], np.float32),
    "t": np.array([0, 1, 0.5, -1], np.float32),
    "m": np.array([0.1, 0.2, -0.5, 0], np.float32),
    "v": np.array([1, 2, 0.5, 1], np.float32),
    "at": np.array([[0], [2]], np.int64),
    "upd": np.array([[5], [6]], np.float32),
    "boxes": np.array([[0.3, 0.2, 3.1, 4.4]], np.float32),
    "which": np.array([1], np.int64),
}


def _old(body, opset, inputs="float[2, 4, 6, 6] x"):
    import re

    words = set(re.findall(r"\w+", body))
    return model_of(
        f'<ir_version: 8, opset_import: ["" : {opset}]>\ng ({inputs}) => (float[] y) {{ {body} }}',
        {k: v for k, v in WEIGHTS.items() if k in words},
    )


# (opset, body, operators at opset 21)
RISES = {
    "Relu": (7, "y = Relu(x)", ["Relu"]),
    "Clip": (7, "y = Clip <min = -0.25, max = 0.75> (x)", ["Clip"]),
    "Clip from below": (9, "y = Clip <min = -0.25> (x)", ["Clip"]),
    "Clip from above": (9, "y = Clip <max = 0.25> (x)", ["Clip"]),
    "Pad": (7, "y = Pad <pads = [0, 0, 1, 0, 0, 0, 2, 1], value = 0.5> (x)", ["Pad"]),
    "Pad by reflection": (
        10, 'y = Pad <mode = "reflect", pads = [0, 0, 1, 0, 0, 0, 2, 1]> (x)', ["Pad"]),
    "Dropout": (7, "y = Dropout <ratio = 0.4> (x)", ["Dropout"]),
    "Dropout, mask unread": (10, "y, mask = Dropout <ratio = 0.4> (x)", ["Dropout"]),
    "Slice": (7, "y = Slice <starts = [1, 0], ends = [3, 5], axes = [1, 3]> (x)", ["Slice"]),
    "Slice of the first axes": (9, "y = Slice <starts = [0, 1], ends = [1, 3]> (x)", ["Slice"]),
    "Squeeze and Unsqueeze": (
        11, "u = Unsqueeze <axes = [0, 3]> (x) y = Squeeze <axes = [0]> (u)",
        ["Unsqueeze", "Squeeze"]),
    "Split": (11, "a, y = Split <axis = 1, split = [1, 3]> (x)", ["Split"]),
    "Split evenly": (11, "a, y = Split <axis = 1> (x)", ["Split"]),
    "Split evenly, later": (13, "a, y = Split <axis = 1> (x)", ["Split"]),
    "ReduceMean": (7, "y = ReduceMean <axes = [2, 3], keepdims = 0> (x)", ["ReduceMean"]),
    "ReduceMean of all": (13, "y = ReduceMean(x)", ["ReduceMean"]),
    "ReduceSum": (11, "y = ReduceSum <axes = [-1]> (x)", ["ReduceSum"]),
    "ReduceL2": (13, "y = ReduceL2 <axes = [1]> (x)", ["ReduceL2"]),
    "ReduceMax": (13, "y = ReduceMax <axes = [1]> (x)", ["ReduceMax"]),
    "Softmax of axis 1": (9, "y = Softmax(x)", ["Shape", "Flatten", "Softmax", "Reshape"]),
    "Softmax of axis 2": (
        11, "y = Softmax <axis = 2> (x)", ["Shape", "Flatten", "Softmax", "Reshape"]),
    "LogSoftmax of the last": (11, "y = LogSoftmax <axis = 3> (x)", ["LogSoftmax"]),
    "TopK": (9, "y, i = TopK <k = 2> (x)", ["TopK"]),
    "Upsample": (7, "y = Upsample <scales = [1.0, 1.0, 2.0, 2.0]> (x)", ["Resize"]),
    "Upsample linearly": (9, 'y = Upsample <mode = "linear"> (x, scales)', ["Resize"]),
    "Upsample nearest": (9, "y = Upsample(x, scales)", ["Resize"]),
    "Resize 10": (10, "y = Resize(x, grow)", ["Resize"]),
    "Resize 10, linear": (10, 'y = Resize <mode = "linear"> (x, part)', ["Resize"]),
    "Resize 11": (11, "y = Resize(x, nothing, scales)", ["Resize"]),
    "Resize 11 to sizes": (
        11, 'y = Resize <mode = "cubic"> (x, nothing, nothing, sizes)', ["Resize"]),
    "BatchNormalization": (
        7, "y = BatchNormalization <epsilon = 0.01> (x, s, t, m, v)", ["BatchNormalization"]),
    "AveragePool": (
        9, "y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 0, 0]> (x)", ["AveragePool"]),
    "Scatter": (9, "r = ReduceMean <axes = [2, 3], keepdims = 0> (x) "
                   "y = Scatter <axis = 1> (r, at, upd)", ["ReduceMean", "ScatterElements"]),
    "RoiAlign": (10, "y = RoiAlign <output_height = 2, output_width = 2> (x, boxes, which)",
                 ["RoiAlign"]),
}  # fmt: skip


@pytest.mark.parametrize("to", [13, 18, 21, 22])
@pytest.mark.parametrize(("opset", "body", "expected"), RISES.values(), ids=RISES)
def test_rises(opset, body, expected, to):
    if to < opset or (to, body[:12]) == (22, "y = RoiAlign"):
        pytest.skip("not a rise, or one that the runtime has no kernel for")
    model = _old(body, opset)
    result = run_pass(planish.load(model), f"convert-opset{{to={to}}}")
    if to > opset:
        assert result.edits == 1
        assert result.records[0].remarks == (f"the model's opset was raised from {opset} to {to}",)
    assert ops(result.graph) == expected
    raised = planish.to_model(result.graph)
    assert [(e.domain, e.version) for e in raised.opset_import] == [("", to)]
    for size in run_ort(model, {"x": X})["y"].shape:
        raised.graph.output[0].type.tensor_type.shape.dim.add(dim_value=size)
    onnx.checker.check_model(raised, full_check=True)
    assert_same_function(model, result.graph, {"x": X}, 1e-6)


def test_grid_sample_names_its_modes_anew():
    model = _old(
        'y = GridSample <mode = "bicubic"> (x, g)', 16, "float[2, 4, 6, 6] x, float[2, 5, 5, 2] g"
    )
    result = run_pass(planish.load(model), "convert-opset{to=20}")
    assert result.graph.nodes[0].attrs["mode"] == "cubic"
    assert_same_function(model, result.graph, {"x": X, "g": G}, 1e-6)


STAYS = {
    "mask": (10, "y, mask = Dropout(x) k = Cast <to = 1> (mask) z = Add(y, k)",
             "its mask is read, which was of another type in older opsets"),
    "tf_half_pixel": (
        11, 'y = Resize <coordinate_transformation_mode = "tf_half_pixel_for_nn"> '
            "(x, nothing, scales)", "Resize has no mode tf_half_pixel_for_nn any more"),
    "shrinking": (10, "y = Resize(x, part)",
                  "which pixel is nearest when shrinking was not defined in opset 10"),
    "training": (
        9, "y, sm, sv, om, ov = BatchNormalization(x, s, t, m, v)", "it updates its statistics"),
    "GroupNormalization": (
        18, "y = GroupNormalization <num_groups = 4> (x, s, t)",
        "opset 21 has another GroupNormalization, which planish cannot write this one as"),
}  # fmt: skip


@pytest.mark.parametrize(("opset", "body", "reason"), STAYS.values(), ids=STAYS)
def test_keeps_the_opset_whole(opset, body, reason):
    model = _old("u = Relu(x) " + body.replace("(x", "(u"), opset)
    graph = planish.load(model)
    result = run_pass(graph, "convert-opset")
    assert result.edits == 0
    assert result.graph.opset == opset
    assert reasons(result) == {f"it keeps the model at opset {opset}: {reason}"}


def test_names_metadata_and_inner_scopes_survive():
    model = _old(
        "c = ReduceMean <keepdims = 0> (x) z = Constant <value = float {0.0}> () "
        "b = Greater(c, z) "
        "y = If (b) <then_branch = t () => (float[] p) {p = Clip <min = 0.0> (x)},"
        " else_branch = e () => (float[] q) {q = Clip <max = 0.5> (x)}>",
        9,
    )
    for i, node in enumerate(model.graph.node):
        node.name = f"node{i}"
        node.doc_string = f"text {i}"
        node.metadata_props.add(key="source", value=f"line {i}")
    result = run_pass(planish.load(model), "convert-opset")
    raised = planish.to_model(result.graph)
    assert [(n.name, n.doc_string, n.metadata_props[0].value) for n in raised.graph.node] == [
        (f"node{i}", f"text {i}", f"line {i}") for i in range(4)
    ]
    assert raised.ir_version == 10
    for feed in (X, -np.abs(X), np.abs(X)):
        assert_same_function(model, result.graph, {"x": feed}, 0)


FUNCTION = """
<ir_version: 8, opset_import: ["" : 17, "mine" : 1]>
g (float[2, 4, 6, 6] x) => (float[] y) {{ y = mine.f(x) }}
<domain: "mine", opset_import: ["" : {opset}]>
f (a) => (b) {{ {body} }}
"""


def test_functions_rise_with_the_model():
    model = onnx.parser.parse_model(FUNCTION.format(opset=17, body="c = Relu(a) b = Softmax(c)"))
    result = run_pass(planish.load(model), "convert-opset")
    raised = planish.to_model(result.graph)
    assert [e.version for e in raised.functions[0].opset_import] == [21]
    assert_same_function(model, result.graph, {"x": X}, 0)


def test_a_function_in_the_old_form_keeps_the_opset():
    model = onnx.parser.parse_model(
        FUNCTION.format(opset=17, body="b = ReduceMean <axes = [1]> (a)")
    )
    result = run_pass(planish.load(model), "convert-opset")
    assert result.edits == 0
    assert reasons(result) == {
        "it keeps the model at opset 17: ReduceMean is written otherwise in opset 21, and stands "
        "in function 'f'"
    }


def test_fused_operators_rise():
    weights = {"w": np.random.default_rng(2).standard_normal((4, 4, 3, 3)).astype(np.float32)}
    model = model_of(
        '<ir_version: 8, opset_import: ["" : 17]> '
        "g (float[2, 4, 6, 6] x) => (float[2, 4, 4, 4] y) { c = Conv(x, w) y = Relu(c) }",
        weights,
    )
    result = run_pass(planish.load(model), "fuse-conv-activation,convert-opset")
    assert ops(result.graph) == ["ConvRelu"]
    assert_same_function(model, result.graph, {"x": X})


@pytest.mark.parametrize("to", [12, 99])
def test_refuses_what_is_no_target(to):
    with pytest.raises(PassError, match=f"to={to} is no opset to convert to; give 13 to"):
        run_pass(planish.load(_old("y = Relu(x)", 9)), f"convert-opset{{to={to}}}")


def test_never_lowers():
    result = run_pass(planish.load(_old("y = Relu(x)", 20)), "convert-opset{to=17}")
    assert (result.edits, result.graph.opset) == (0, 20)


@given(case=networks())
@settings(
    max_examples=examples(30),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_random_networks_compute_the_same_bits(case):
    graph = planish.load(case.model)
    result = planish.Pipeline.parse("convert-opset{to=23}").run(graph, verify="off")
    assert result.graph.opset == 23 or reasons(result)
    found = run_ort(planish.to_model(result.graph), case.feeds)
    for (name, array), other in itertools.zip_longest(
        run_ort(case.model, case.feeds).items(), found.values()
    ):
        assert relative_error(array, other) <= 1e-6, name
