"""Operators written for every opset: read back, and run on ONNX Runtime, they do what was asked."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planish
from planish.ir.core.decline import DeclinedError
from planish.ir.graph.edit import Edit
from planish.ir.ops.build import (
    build,
    build_clip,
    build_reshape,
    build_resize,
    build_slice,
    build_split,
    build_unsqueeze,
    even_split,
    needs_bias,
    slice_parameters,
)
from planish.ir.ops.parameters import Parameter, need_parameter, read_parameter, spell
from planish.ir.ops.slices import TO_THE_END, read_slice, takes_all

from tests.effort import examples
from tests.helpers import model_of, run_ort, view_of

OPSETS = (7, 9, 10, 11, 13, 18, 22)
X = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5) - 50


def written(opset, write, outputs=1):
    """Return the graph in which `write(edit, x, results, at)` stands for an Identity of x."""
    names = ["y", *(f"y{i}" for i in range(1, outputs))]
    shown = ", ".join(f"float[] {name}" for name in names)
    body = " ".join(f"{name} = Identity(x)" for name in names)
    model = model_of(
        f'<ir_version: 8, opset_import: ["" : {opset}]>\n'
        f"g (float[2, 3, 4, 5] x) => ({shown}) {{ {body} }}"
    )
    graph = planish.load(model)
    edit = Edit(graph)
    for node in list(graph.nodes):
        edit.remove(node)
    write(edit, graph.inputs[0], list(graph.outputs), node)
    edit.commit()
    return graph


def results(graph):
    return list(run_ort(planish.to_model(graph), {"x": X}).values())


def _slice(edit, x, ys, at):
    build_slice(edit, x, ys[0], {1: (1, TO_THE_END, 1), 3: (-4, -1, 1)}, at=at)


def _split(edit, x, ys, at):
    build_split(edit, x, ys, 2, [1, 3], at=at)


def _unsqueeze(edit, x, ys, at):
    build_unsqueeze(edit, x, ys[0], [0, 3], at=at)


def _reshape(edit, x, ys, at):
    build_reshape(edit, x, ys[0], [0, -1, 10], at=at)


def _clip(edit, x, ys, at):
    build_clip(edit, x, ys[0], -3.5, 7.25, np.float32, at=at)


def _above(edit, x, ys, at):
    build_clip(edit, x, ys[0], None, 7.25, np.float32, at=at)


def _squeeze(edit, x, ys, at):
    wide = edit.variable("wide")
    build_unsqueeze(edit, x, wide, [2], at=at)
    build(edit, "Squeeze", [wide], ys, {"axes": [2]}, at=at)


def _mean(edit, x, ys, at):
    build(edit, "ReduceMean", [x], ys, {"axes": [2, 3]}, {"keepdims": 0}, at=at)


def _sum(edit, x, ys, at):
    build(edit, "ReduceSum", [x], ys, {"axes": [1]}, {"keepdims": 1}, at=at)


def _pad(edit, x, ys, at):
    parameters = {"pads": [0, 1, 0, 0, 0, 0, 2, 0], "value": np.float32(1.5)}
    build(edit, "Pad", [x], ys, parameters, {"mode": "constant"}, at=at)


WRITTEN = {
    "Slice": (_slice, [X[:, 1:, :, 1:4]]),
    "Split": (_split, [X[:, :, :1], X[:, :, 1:]]),
    "Unsqueeze": (_unsqueeze, [X.reshape(1, 2, 3, 1, 4, 5)]),
    "Squeeze": (_squeeze, [X]),
    "Reshape": (_reshape, [X.reshape(2, 6, 10)]),
    "Clip": (_clip, [X.clip(-3.5, 7.25)]),
    "Clip from above": (_above, [np.minimum(X, np.float32(7.25))]),
    "ReduceMean": (_mean, [X.mean((2, 3))]),
    "ReduceSum": (_sum, [X.sum(1, keepdims=True)]),
    "Pad": (_pad, [np.pad(X, ((0, 0), (1, 0), (0, 2), (0, 0)), constant_values=1.5)]),
}


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("kind", WRITTEN)
def test_every_opset_computes_what_was_asked(kind, opset):
    write, expected = WRITTEN[kind]
    found = results(written(opset, write, len(expected)))
    for array, wanted in zip(found, expected, strict=True):
        assert np.allclose(array, wanted, rtol=1e-6, atol=0)
        assert array.shape == wanted.shape


@pytest.mark.parametrize("opset", [10, 11, 12, 13, 22])
@pytest.mark.parametrize("by", ["scales", "sizes"])
def test_every_opset_resizes(by, opset):
    given = {"scales": np.float32([1, 1, 2, 3]), "sizes": np.array([2, 3, 8, 15])}
    if opset == 10 and by == "sizes":
        return  # it has no such input

    def write(edit, x, ys, at):
        values = {by: edit.constant(given[by], by)}
        build_resize(edit, x, ys[0], **values, attrs={"mode": "nearest"}, at=at)

    graph = written(opset, write)
    resize = next(node for node in graph.nodes if node.op == "Resize")
    absent = [t for t in resize.inputs[1:-1] if t.name]
    assert [t.values.size for t in absent] == [0] * (len(resize.inputs) - 2) * (opset in (11, 12))
    view = view_of(graph)
    for name in ("scales", "sizes"):
        values = read_parameter(resize, name, view).values
        assert (values is not None and values.size > 0) == (name == by)
    np.testing.assert_array_equal(results(graph)[0], X.repeat(2, axis=2).repeat(3, axis=3))


@pytest.mark.parametrize("opset", [11, 13, 22])
def test_a_resize_of_a_region_keeps_its_mode(opset):
    attrs = {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}

    def write(edit, x, ys, at):
        region = edit.constant(np.float32([0, 0, 0.25, 0, 1, 1, 0.75, 1]), "region")
        sizes = edit.constant(np.array([2, 3, 3, 5]), "sizes")
        build_resize(edit, x, ys[0], sizes=sizes, roi=region, attrs=attrs, at=at)

    graph = written(opset, write)
    (node,) = graph.nodes
    assert dict(node.attrs) == attrs
    rows = np.linspace(0.25 * 3, 0.75 * 3, 3)  # the region's, of four rows
    low = np.floor(rows).astype(int)
    part = (rows - low).astype(np.float32)[:, None]
    expected = X[:, :, low] * (1 - part) + X[:, :, low + 1] * part
    np.testing.assert_allclose(results(graph)[0], expected, rtol=1e-5)


# Operator, attribute's name, values, and since when it is an input.
MOVED = [
    ("Slice", "starts", [1, 0], 10),
    ("Slice", "axes", [1, 2], 10),
    ("Split", "split", [1, 2], 13),
    ("Squeeze", "axes", [1], 13),
    ("Unsqueeze", "axes", [0], 13),
    ("ReduceSum", "axes", [2], 13),
    ("ReduceMean", "axes", [2], 18),
    ("Pad", "pads", [0, 1, 2, 3], 11),
    ("Pad", "value", np.float32(2.5), 11),
    ("Clip", "max", np.float32(2.5), 11),
    ("Reshape", "shape", [2, -1], 5),
    ("TopK", "k", [3], 10),
    ("Upsample", "scales", np.array([1, 2], np.float32), 9),
]


@pytest.mark.parametrize(("op", "name", "values", "since"), MOVED)
def test_a_parameter_is_found_where_the_opset_has_it(op, name, values, since):
    for opset in {since - 1, since, since + 1, 22} - {21 if op == "Upsample" else 0}:
        attrs, constants = spell(op, opset, {name: values})
        assert bool(constants) == (opset >= since)
        assert bool(attrs) == (opset < since)
        node = gs.Node(op, attrs=attrs, inputs=[gs.Variable("x")], outputs=[gs.Variable("y")])
        for position, array in constants.items():
            node.inputs += [gs.Variable.empty() for _ in range(position - len(node.inputs))]
            node.inputs.append(gs.Constant(name, array))
        view = view_of(gs.Graph([node], [node.inputs[0]], list(node.outputs), opset=opset))
        found = read_parameter(node, name, view)
        assert (found.given, found.position is None) == (True, opset < since)
        assert np.array_equal(found.values, values)
        assert found.name == name
        assert found.known


# Upsample had no scales at first.
@pytest.mark.parametrize(("op", "name", "values"), [each[:3] for each in MOVED[:-1]])
@pytest.mark.parametrize("opset", [1, 2])
def test_the_first_opsets_have_names_of_their_own(op, name, values, opset):
    """Split had an input as well, which no exporter wrote."""
    schema = onnx.defs.get_schema(op, opset)
    attrs, constants = spell(op, opset, {name: values})
    assert attrs.keys() <= schema.attributes.keys()
    assert not constants
    node = gs.Node(op, attrs=attrs, inputs=[gs.Variable("x")], outputs=[gs.Variable("y")])
    view = view_of(gs.Graph([node], [node.inputs[0]], list(node.outputs), opset=opset))
    found = read_parameter(node, name, view)
    assert (found.name, found.position, found.given) == (name, None, True)
    assert np.array_equal(found.values, values)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([], np.int64),
        ([np.int32(1), np.int32(-1)], np.int64),
        ([0.5], np.float64),
        (np.array([0.5], np.float32), np.float32),
        (np.array([1], np.int32), np.int32),
        (np.float16(0.5), np.float16),
    ],
)
def test_lists_of_integers_are_of_int64_and_arrays_what_they_are(values, dtype):
    _, constants = spell("Reshape", 13, {"shape": values})
    assert constants[1].dtype == dtype
    assert constants[1].tolist() == np.asarray(values).tolist()


def test_an_attribute_that_is_empty_or_given_by_the_caller():
    """An empty list is held as a proto, whose type may be unknown."""
    node = gs.Node("ReduceSum", inputs=[gs.Variable("x")], outputs=[gs.Variable("y")])
    view = view_of(gs.Graph([node], [node.inputs[0]], list(node.outputs), opset=11))
    node.attrs["axes"] = onnx.AttributeProto(name="axes")
    empty = read_parameter(node, "axes", view)
    assert (empty.given, empty.known, empty.ints()) == (True, True, [])
    node.attrs["axes"] = gs.Node.AttributeRef("axes", list)
    asked = read_parameter(node, "axes", view)
    assert (asked.name, asked.given, asked.known, asked.ints()) == ("axes", True, False, None)


def test_integers_of_any_rank_are_a_list():
    for values in (np.array(3), np.array([3]), np.array([[3]])):
        assert Parameter("k", 1, True, values).ints() == [3]
    assert Parameter("k", 1, True, np.array([[3, 4]])).ints() == [3, 4]


def test_a_parameter_that_is_absent_empty_or_computed():
    node = gs.Node(
        "ReduceSum", inputs=[gs.Variable("x", np.float32, [2, 3])], outputs=[gs.Variable("y")]
    )
    graph = gs.Graph([node], [node.inputs[0]], list(node.outputs), opset=13)
    absent = read_parameter(node, "axes", view_of(graph))
    assert (absent.given, absent.known, absent.values, absent.ints()) == (False, True, None, None)
    node.inputs.append(gs.Variable.empty())
    assert not read_parameter(node, "axes", view_of(graph)).given
    node.inputs[1] = gs.Variable("axes", np.int64, [1])
    computed = read_parameter(node, "axes", view_of(graph))
    assert (computed.given, computed.known) == (True, False)
    with pytest.raises(DeclinedError, match="its axes are not constant"):
        need_parameter(node, "axes", view_of(graph))
    taken = read_parameter(node, "axes", view_of(graph), lambda tensor: np.array([1]))
    assert taken.ints() == [1]
    told = need_parameter(node, "axes", view_of(graph), lambda tensor: np.array([2]))
    assert told.tolist() == [2]


def test_what_is_not_constant_is_or_are_not():
    node = gs.Node("TopK", inputs=[gs.Variable("x"), gs.Variable("k", np.int64, [1])])
    node.outputs = [gs.Variable("y"), gs.Variable("i")]
    graph = gs.Graph([node], list(node.inputs), list(node.outputs), opset=13)
    with pytest.raises(DeclinedError, match=r"^its k is not constant$"):
        need_parameter(node, "k", view_of(graph))


@settings(max_examples=examples(80))
@given(st.data())
def test_slices_are_those_of_python(data):
    opset = data.draw(st.sampled_from([9, 10, 13]))
    axes = data.draw(st.lists(st.integers(0, 3), min_size=2, max_size=2, unique=True))
    far = [-(2**63), -(2**31), -9, -2, -1, 0, 1, 3, 9, TO_THE_END]
    low, high = ([data.draw(st.sampled_from(far)) for _ in axes] for _ in range(2))
    asked = {"starts": low, "ends": high, "axes": [axes[0], axes[1] - 4]}
    if opset > 9:
        asked["steps"] = [data.draw(st.sampled_from([1, 2, -1, -2])) for _ in axes]
    graph = written(
        opset, lambda edit, x, ys, at: build(edit, "Slice", [x], ys, asked, at=at) and None
    )
    cut = read_slice(graph.nodes[0], view_of(graph))
    steps = asked.get("steps", [1, 1])
    if any(step < 0 and end == TO_THE_END for step, end in zip(steps, high, strict=True)):
        assert cut is None  # ONNX Runtime takes it for the begin, Python for nothing
        return
    assert cut is not None
    assert set(cut) == set(axes)
    expected = X[tuple(cut.get(axis, slice(None)) for axis in range(4))]
    (found,) = results(graph)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("part", "size", "whole"),
    [
        ((0, 4, 1), 4, True),
        ((-4, 9, 1), 4, True),
        ((-9, 4, 1), 4, True),
        ((0, 3, 1), 4, False),
        ((1, 4, 1), 4, False),
        ((0, -1, 1), 4, False),
        ((0, 4, 2), 4, False),
        ((0, TO_THE_END, 1), "N", True),
        ((0, 2**31 - 1, 1), None, True),
        ((-(2**63), TO_THE_END, 1), None, True),
        ((0, 4, 1), "N", False),
        ((-4, TO_THE_END, 1), "N", False),
        ((0, -1, 1), None, False),
    ],
)
def test_slices_that_take_all_of_an_axis(part, size, whole):
    assert takes_all(slice(*part), size) == whole


def test_constants_are_named_after_result_and_parameter():
    graph = written(13, _slice)
    (node,) = graph.nodes
    assert [t.name for t in node.inputs] == ["x", "y_starts", "y_ends", "y_axes"]
    assert all(t.values.dtype == np.int64 for t in node.inputs[1:])
    assert slice_parameters({1: (0, 3, 1)}) == {"starts": [0], "ends": [3], "axes": [1]}
    assert slice_parameters({1: (0, 3, 1), 2: (4, 0, -2)})["steps"] == [1, -2]
    (node,) = written(13, _above).nodes
    assert (node.inputs[1].name, node.inputs[2].name) == ("", "y_max")
    assert node.inputs[2].values.dtype == np.float32


@pytest.mark.parametrize("target", [np.int32([6, 20]), [6, -1], []], ids=str)
def test_a_target_is_of_64_bits(target):
    graph = written(13, lambda edit, x, ys, at: build_reshape(edit, x, ys[0], target, at=at))
    assert graph.nodes[0].inputs[1].values.dtype == np.int64


def test_other_attributes_stay_beside_parameters():
    (node,) = written(9, _mean).nodes
    assert dict(node.attrs) == {"axes": [2, 3], "keepdims": 0}
    (node,) = written(18, _mean).nodes
    assert dict(node.attrs) == {"keepdims": 0}


def test_a_split_into_equal_parts_says_how_many_from_opset_18_on():
    assert [even_split(3, opset) for opset in (2, 13, 17)] == [{}] * 3
    assert even_split(3, 18) == {"num_outputs": 3}


def test_which_gemm_needs_a_bias():
    needed = {opset: needs_bias("Gemm", opset) for opset in (7, 9, 10, 11, 13, 22)}
    assert [opset for opset, needs in needed.items() if needs] == [7, 9, 10]
    assert not needs_bias("Conv", 7)
    assert not needs_bias("MatMul", 7)
