"""Inferred shapes against those of what ONNX Runtime computes, and what passes may build on."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import planish
from planish.ir.ops.shapes.infer import infer_types

from tests.effort import examples
from tests.helpers import graph_of, model_of, run_ort
from tests.strategies.sizes import OPERATORS, sized_models


def shapes_of(model):
    """Return what is inferred for each result of `model`, by name."""
    graph = planish.load(model)
    types = infer_types(graph)
    made = {t.name: types.of(t) for node in graph.nodes for t in node.outputs}
    made |= {t.name: types.of(t) for t in graph.outputs}
    return {name: None if found is None else found.shape for name, found in made.items()}


def run(model, feeds):
    """Run a drawn model; not every one is valid."""
    try:
        return run_ort(model, feeds)
    except Exception:
        assume(False)


def assert_right(inferred, computed):
    for name, values in computed.items():
        shape = inferred.get(name)
        if shape is None:
            continue
        assert len(shape) == values.ndim, (shape, values.shape)
        pairs = list(zip(shape, values.shape, strict=True))
        assert all(a == b for a, b in pairs if isinstance(a, int)), (shape, values.shape)
        named = [(a, b) for a, b in pairs if isinstance(a, str) and not a.startswith("unk__")]
        assert all(a == f"size {b}" for a, b in named), (shape, values.shape)


@pytest.mark.parametrize("op", OPERATORS)
def test_sizes_are_those_of_the_runtime(op):
    @settings(max_examples=examples(40), suppress_health_check=[HealthCheck.filter_too_much])
    @given(sized_models((op,)))
    def check(case):
        computed = run(case.model, case.feeds)
        assert_right(shapes_of(case.model), computed)

    check()


WINDOWED = ("MaxPool", "AveragePool", "LpPool", "ConvTranspose", "Resize", "Upsample")


@pytest.mark.parametrize("op", WINDOWED)
def test_sizes_that_parameters_tell_are_known(op):
    @settings(max_examples=examples(40), suppress_health_check=[HealthCheck.filter_too_much])
    @given(sized_models((op,)))
    def check(case):
        sizes = [d.dim_value for t in case.model.graph.input for d in t.type.tensor_type.shape.dim]
        assume(all(sizes))  # none of them has a name
        text = case.model.SerializeToString()
        assume(b"tf_crop" not in text and b"keep_aspect" not in text)
        computed = run(case.model, case.feeds)
        inferred = shapes_of(case.model)
        assert {name: inferred[name] for name in computed} == {
            name: values.shape for name, values in computed.items()
        }

    check()


CEIL_POOL = """
g (float[1, 2, 5, 5] x, float[1, 2, 3, 3] z) => (float[] y) {
    a = MaxPool <kernel_shape = [2, 2], pads = [1, 1, 1, 1], strides = [2, 2], ceil_mode = 1> (x)
    b = Relu (a)
    y = Add (b, z)
}
"""


def test_inference_goes_on_from_the_right_sizes():
    # The window that ONNX's inference counts as the fourth starts in the pad.
    shapes = shapes_of(model_of(CEIL_POOL.replace("y = Add (b, z)", "y = Abs (b)")))
    assert shapes["a"] == shapes["b"] == shapes["y"] == (1, 2, 3, 3)


@pytest.mark.parametrize("declared", [(1, 2, 3, 3), (1, 2, 4, 4), (7, 7, 7)])
def test_declared_types_are_not_believed(declared):
    model = model_of(CEIL_POOL.replace("y = Add (b, z)", "y = Abs (b)"))
    for name in "ab":
        info = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, declared)
        model.graph.value_info.append(info)
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info("y", 1, declared))
    shapes = shapes_of(model)
    assert shapes["a"] == shapes["b"] == shapes["y"] == (1, 2, 3, 3)


def test_several_wrong_sizes_in_a_row_settle():
    pool = "MaxPool <kernel_shape = [2], pads = [1, 1], strides = [2], ceil_mode = 1>"
    steps = "".join(f"x{i + 1} = {pool} (x{i}) " for i in range(12))
    size = 4097
    model = model_of(f"g (float[1, 1, {size}] x0) => (float[] x12) {{ {steps} }}")
    computed = run_ort(model, {"x0": np.zeros((1, 1, size), np.float32)})
    assert shapes_of(model)["x12"] in (None, computed["x12"].shape)
    assert_right(shapes_of(model), computed)


FUNCTION = """
<ir_version: 10, opset_import: ["" : 20, "mine" : 1]>
g (float[1, 2, 5, 5] x) => (float[] y) {
    a = mine.Outer <ceil = 1> (x)
    y = Relu (a)
}
<domain: "mine", opset_import: ["" : 20, "mine" : 1]>
Outer <ceil> (x) => (y) {
    y = mine.Pool <ceil: int = @ceil> (x)
}
<domain: "mine", opset_import: ["" : 20]>
Pool <ceil> (x) => (y) {
    z = MaxPool <kernel_shape = [2, 2], pads = [1, 1, 1, 1], strides = [2, 2],
        ceil_mode: int = @ceil> (x)
    y = Abs (z)
}
"""


@pytest.mark.parametrize(("ceil", "side"), [(1, 3), (0, 3)])
def test_sizes_inside_functions(ceil, side):
    model = model_of(FUNCTION.replace("<ceil = 1>", f"<ceil = {ceil}>"))
    x = {"x": np.zeros((1, 2, 5, 5), np.float32)}
    assert shapes_of(model)["y"] == run_ort(model, x)["y"].shape == (1, 2, side, side)


def test_sizes_inside_branches():
    model = model_of("""
    g (float[1, 2, 5, 5] x, bool c) => (float[] y) {
        y = If (c) <
            then_branch = t () => (float[] p) {
                p = MaxPool <kernel_shape = [2, 2], pads = [1, 1, 1, 1], strides = [2, 2],
                    ceil_mode = 1> (x)
            },
            else_branch = e () => (float[] q) { q = AveragePool <kernel_shape = [3, 3]> (x) }
        >
    }
    """)
    assert shapes_of(model)["y"] == (1, 2, 3, 3)


@pytest.mark.parametrize("step", [2**31 - 1, -(2**31), 2**63 - 1, -(2**63)])
def test_steps_beyond_any_size_do_not_crash(step):
    # ONNX's inference, which steps through lists of sizes, reads out of bounds.
    model = model_of(
        "g (float[5] x) => (float[] y) { y = Slice (x, starts, ends, axes, steps) }",
        {
            name: np.array([v])
            for name, v in (("starts", 3), ("ends", 5), ("axes", 0), ("steps", step))
        },
    )
    computed = run_ort(model, {"x": np.arange(5, dtype=np.float32)})
    assert shapes_of(model)["y"] == computed["y"].shape


def test_steps_beyond_any_size_in_a_function():
    model = model_of(
        """
        <ir_version: 10, opset_import: ["" : 20, "mine" : 1]>
        g (float[5] x, int64[1] ends) => (float[] y) <int64[1] step = {2147483647}> {
            y = mine.Every (x, ends, step)
        }
        <domain: "mine", opset_import: ["" : 20]>
        Every (x, ends, step) => (y) {
            starts = Constant <value = int64[1] {1}> ()
            y = Slice (x, starts, ends, starts, step)
        }
        """
    )
    assert shapes_of(model)["y"] in (None, (None,))


def test_reversed_sizes_are_not_taken_for_others():
    # Of a Slice backwards ONNX's inference also has the elements wrong, where they are sizes.
    bounds = {"s": 1, "e": 2**63 - 1, "a": 0, "m": -1}
    model = model_of(
        """g (float[5, 2, a, b] x) => (float[] y) {
            s0 = Shape (x)
            s1 = Slice (s0, s, e, a, m)
            y = ConstantOfShape (s1)
        }""",
        {name: np.array([value]) for name, value in bounds.items()},
    )
    computed = run_ort(model, {"x": np.zeros((5, 2, 4, 1), np.float32)})
    assert computed["y"].shape == (2, 5)
    assert_right(shapes_of(model), computed)


@pytest.mark.parametrize(
    ("op", "axes", "shape"),
    [("Unsqueeze", [-2], (2, 3, 1, 5)), ("Unsqueeze", [-1, 0], (1, 2, 3, 5, 1)),
     ("Squeeze", [-2], (2, 3, 5)), ("Squeeze", [-4], (3, 1, 5))],
)  # fmt: skip
def test_axes_from_the_end_mean_what_runtimes_take_them_for(op, axes, shape):
    sizes = (2, 3, 5) if op == "Unsqueeze" else ((2, 3, 1, 5) if axes == [-2] else (1, 3, 1, 5))
    node = onnx.helper.make_node(op, ["x"], ["y"], axes=axes)
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, sizes)
    graph = onnx.helper.make_graph([node], "g", [x], [onnx.ValueInfoProto(name="y")])
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 9)], ir_version=8
    )
    computed = run_ort(model, {"x": np.zeros(sizes, np.float32)})["y"].shape
    assert shapes_of(model)["y"] == computed == shape


def test_an_axis_from_the_end_is_joined_before_onnx_had_it():
    text = """<ir_version: 8, opset_import: ["" : 9]>
        g (float[N, 2] x) => (float[] y) { y = Concat <axis = -1> (x, x) }"""
    assert shapes_of(model_of(text)) == {"y": ("N", 4)}


def test_a_constant_that_is_an_output_keeps_its_sizes():
    text = "g (float[N] x) => (float[] y, float[] c) { y = MatMul(x, c) }"
    assert shapes_of(model_of(text, {"c": np.zeros((2, 5), np.float32)}))["y"] == (5,)


def test_data_are_repeated_for_more_slopes():
    text = """g (float[N, 3] x, float[2, 1, 3] s, float[1, 3] t) => (float[] y, float[] z) {
        y = PRelu(x, s) z = PRelu(x, t) }"""
    assert shapes_of(model_of(text)) == {"y": (2, "N", 3), "z": ("N", 3)}


def test_a_letter_of_einsum_is_as_large_as_its_largest_size():
    model = model_of(
        """g (float[N, 2] x, float[3, 2] y) => (float[] a, float[] b, float[] c) {
            a = Einsum <equation = "bi,bi->b"> (x, y)
            b = Einsum <equation = "bi, ci -> bc"> (x, y)
            c = Einsum <equation = "ij->ji"> (x)
        }"""
    )
    found = shapes_of(model)
    assert found["a"] == (3,)
    assert found["b"] == ("N", 3)
    assert found["c"] == (2, "N")
    feeds = {"x": np.zeros((1, 2), np.float32), "y": np.zeros((3, 2), np.float32)}
    assert_right({"a": (3,), "b": (1, 3)}, run_ort(model, feeds))


def test_what_others_infer_wrong_is_not_built_on():
    graph = graph_of(CEIL_POOL)
    types = infer_types(graph)
    pooled = graph.nodes[0].outputs[0]
    assert types.of(pooled).shape == (1, 2, 3, 3)
    assert types.agreed(pooled).shape == (1, 2, None, None)
    assert types.agreed(graph.inputs[0]).shape == (1, 2, 5, 5)


@given(st.sampled_from(["Relu", "Sigmoid"]))
@settings(max_examples=examples(2))
def test_no_function_is_made_where_the_runtime_would_refuse_it(activation):
    # ONNX Runtime infers the inside of functions strictly: a sum of the right sizes is refused.
    model = model_of(
        f"""
        g (float[1, 2, 5, 5] x, float[1, 2, 3, 3] z) => (float[] y) {{
            a = MaxPool <kernel_shape = [2, 2], pads = [1, 1, 1, 1], strides = [2, 2],
                ceil_mode = 1> (x)
            b = Conv (a, w)
            c = Add (b, z)
            y = {activation} (c)
        }}
        """,
        {"w": np.ones((2, 2, 1, 1), np.float32)},
    )
    graph = planish.load(model)
    result = planish.Pipeline.parse("exact").run(graph, strict=True)
    assert not any(record.failures for record in result.records)


@pytest.mark.parametrize("opset", [9, 10, 11, 13])
def test_a_part_of_an_axis_has_not_the_name_of_the_whole(opset):
    """Inference of opset 10 repeats it."""
    sliced = "Slice <starts = [1], ends = [9223372036854775807], axes = [1]> (x)"
    bounds = {"start": [1], "end": [9223372036854775807], "axis": [1]}
    weights = {name: np.array(value, np.int64) for name, value in bounds.items()}
    if opset >= 10:
        sliced = "Slice(x, start, end, axis)"
    model = model_of(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[N, M] x) => (float[] y) {{ y = {sliced} }}""",
        weights if opset >= 10 else {},
    )
    first, second = shapes_of(model)["y"]
    assert first == "N"
    assert second != "M"
    result = planish.Pipeline.parse("exact").run(planish.load(model), verify="off")
    assert [node.op for node in result.graph.nodes] == ["Slice"]


@pytest.mark.parametrize("opset", [9, 11, 12, 13, 20])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("size", ["1", "0"])
def test_a_branch_of_unknown_shape_leaves_the_result_unknown(opset, first, size):
    """Up to opset 12, inference gives it what the other branch gives."""
    known = "{0} = Flatten(x)" if size == "1" else "{0} = ReduceMax <keepdims = 0> (x)"
    bodies = [known, "{0} = Reshape(x, s)"][:: 1 if first else -1]
    one, other = (body.format(name) for body, name in zip(bodies, "pq", strict=True))
    model = model_of(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[1, 1, 4, 1] x, bool c, int64[K] s) => (float[] y, int64[] z) {{
            b = If(c) <then_branch = a () => (float[] p) {{ {one} }},
                       else_branch = e () => (float[] q) {{ {other} }}>
            y = Neg(b) z = Shape(b) }}"""
    )
    assert shapes_of(model)["b"] is None
    graph = planish.Pipeline.parse("exact").run(planish.load(model), verify="off").graph
    for condition in (True, False):
        feeds = {
            "x": np.zeros((1, 1, 4, 1), np.float32),
            "c": np.array(condition),
            "s": np.array([2, 1, 2], np.int64),
        }
        expected, found = run_ort(model, feeds), run_ort(planish.to_model(graph), feeds)
        np.testing.assert_array_equal(expected["z"], found["z"])


@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize("opset", [11, 13, 22])
@pytest.mark.parametrize("bounds", ["s, most, zero", "zero, s, zero", "zero, most, s"])
def test_a_list_of_sizes_cut_where_only_a_run_tells_is_not_the_whole(bounds, opset, default):
    """Inference takes it for that; where the bound is an input with a default as well."""
    weights = {"most": [2**63 - 1], "zero": [0], "k": [-1]}
    used = {name: np.array(v, np.int64) for name, v in weights.items() if name in f"{bounds}, k"}
    if default:
        used["s"] = np.array([1 if bounds.startswith(("s", "zero, s")) else 0], np.int64)
    model = model_of(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[1, 3, 4] x, int64[1] s) => (float[] y, int64[] z) {{
            h = Shape(x) p = Slice(h, {bounds}) c = Concat <axis = 0> (k, p)
            r = Reshape(x, c) z = Shape(r) y = Neg(r) }}""",
        used,
    )
    graph = planish.Pipeline.parse("exact").run(planish.load(model), verify="off").graph
    starts = [0] if bounds.endswith("s") else [1, 2]
    for start in starts:
        feeds = {"x": np.zeros((1, 3, 4), np.float32), "s": np.array([start], np.int64)}
        expected, found = run_ort(model, feeds), run_ort(planish.to_model(graph), feeds)
        np.testing.assert_array_equal(expected["z"], found["z"])


@pytest.mark.parametrize(
    "body",
    [
        "y = Unsqueeze(x, a)",
        "y = Squeeze(x, a)",
        "y = Slice(x, a, b)",
        "y = Expand(x, a)",
        "y = Tile(x, a)",
        "y = ReduceSum(x, a)",
        "y = Pad(x, b)",
        "y = Concat <axis = 0> (a, b)",
        "y = Range(c, c, c)",
        "y = Upsample(x, f)",
        "y = Resize(x, , f)",
    ],
)
def test_parameters_that_inputs_of_the_graph_give_are_read_as_not_known(body):
    opset = 9 if "Upsample" in body else 18
    model = model_of(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[1, 3] x, int64[1] a, int64[2] b, int64 c, float[2] f) => (float[] y)
        <int64[1] a = {{0}}, int64[2] b = {{0, 1}}, int64 c = {{1}}, float[2] f = {{1.0, 2.0}}>
        {{ {body} }}"""
    )
    numbers = {size for size in shapes_of(model)["y"] or () if isinstance(size, int)}
    assert numbers <= {1, 3}, "those of x"


def test_a_match_of_text_of_unknown_type_does_not_end_the_process():
    """Inference of RegexFullMatch reads the type of an input that has none."""
    model = model_of(
        """<ir_version: 8, opset_import: ["" : 21]>
        g (string[] x) => (bool[] y) {
            a, b = StringSplit <delimiter = " "> (x) c = RegexFullMatch <pattern = "[a-z]*"> (a)
            y = Identity(c) }"""
    )
    assert shapes_of(model)["c"] is None
    graph = planish.Pipeline.parse("exact").run(planish.load(model), verify="off").graph
    feeds = {"x": np.array(["ab 1", "c"], object)}
    expected, found = run_ort(model, feeds), run_ort(planish.to_model(graph), feeds)
    np.testing.assert_array_equal(expected["y"], found["y"])
    known = """<ir_version: 8, opset_import: ["" : 21]>
        g (string[N, 2] x) => (bool[] y) { y = RegexFullMatch <pattern = "[a-z]*"> (x) }"""
    assert shapes_of(model_of(known))["y"] == ("N", 2)


def test_a_batch_that_is_counted_from_behind_does_not_end_the_process():
    model = model_of(
        """g (float[2, 3, 4] x, int64[2, 1] i) => (float[] y) {
            a = GatherND <batch_dims = -2> (x, i) y = Relu(a) }"""
    )
    assert shapes_of(model) == {"a": None, "y": None}


@pytest.mark.parametrize("opset", [9, 13, 18, 21])
@pytest.mark.parametrize("axes", ["", "<axes = [0, 2]> "])
def test_a_normalization_without_axes_has_the_shape_of_its_input(opset, axes):
    """From opset 13 on inference does not find their default, and gives the whole graph up."""
    model = model_of(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[N, 3, 4, 5] x) => (float[] y) {{
            a = MeanVarianceNormalization {axes}(x) y = Transpose(a) }}"""
    )
    assert shapes_of(model) == {"a": ("N", 3, 4, 5), "y": (5, 4, 3, "N")}
    assert infer_types(planish.load(model)).problem is None


@pytest.mark.parametrize("opset", [9, 10, 11, 18])
@pytest.mark.parametrize(
    ("axis", "shape"), [("", (None,)), ("<axis = 1> ", ("N", None)), ("<axis = -2> ", (None, 4))]
)
def test_what_is_compressed_has_a_type_in_every_version(opset, axis, shape):
    """Below opset 11 ONNX has no inference of it, and nothing behind it would infer."""
    model = model_of(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[N, 4] x, bool[3] c) => (float[] y) {{ a = Compress {axis}(x, c) y = Neg(a) }}"""
    )
    found = infer_types(planish.load(model))
    assert found.problem is None
    sizes = shapes_of(model)["y"]
    assert tuple(None if str(size).startswith("unk__") else size for size in sizes) == shape


@pytest.mark.parametrize("opset", [18, 21])
def test_a_group_normalization_keeps_the_type_of_its_input(opset):
    shape = "2" if opset == 18 else "4"  # of groups, then of channels
    model = model_of(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[N, 4, 5] x, float[{shape}] s) => (float[] y) {{
            a = GroupNormalization <num_groups = 2> (x, s, s) y = Transpose(a) }}"""
    )
    assert shapes_of(model) == {"a": ("N", 4, 5), "y": (5, 4, "N")}
    assert infer_types(planish.load(model)).problem is None


def test_elements_of_a_sequence_share_no_size():
    """The last part of a split may be smaller; a size that all have keeps its number."""
    graph = graph_of(
        """<ir_version: 9, opset_import: ["" : 18]>
        g (float[N, 6] x, int64 i) => (float[] a, float[] b) {
            two = Constant <value_int = 2> () s = SplitToSequence (x, two)
            a = SequenceAt (s, i) first = Constant <value_int = 0> () b = SequenceAt (s, first)
        }"""
    )
    types = infer_types(graph)
    assert [types.of(tensor).shape for tensor in graph.outputs] == [(None, 6), (None, 6)]


def test_types_of_slices_that_inference_is_not_to_see():
    """Axes that are computed leave the rank open, and bounds that are computed hide a Slice."""
    body = "m = ReduceMean <keepdims = 1> (x, axes) a = Add (x, m)"
    names = ["a"]
    for step in range(10):
        body += f" s{step} = Slice ({names[-1]}, start, start, axis) c{step} = Concat"
        body += f" <axis = 1> ({names[-1]}, s{step}) r{step} = Relu (c{step})"
        names += [f"s{step}", f"c{step}", f"r{step}"]
    text = f"""<ir_version: 9, opset_import: ["" : 20]>
        g (float[1, 4, 2, 2] x, int64 i) => (float[a, b, c, d] y) {{
            flat = Constant <value_ints = [-1]> () pair = Constant <value_ints = [2, 3]> ()
            axis = Constant <value_ints = [1]> () one = Constant <value = int64 {{1}}> ()
            axes = Reshape (pair, flat) long = Cast <to = 7> (one) start = Reshape (long, flat)
            {body} y = Relu ({names[-1]}) }}"""
    graph = planish.load(model_of(text))
    types = infer_types(graph)
    found = {t.name: types.of(t) for node in graph.nodes for t in node.outputs}
    assert [found[name].dtype for name in names] == [np.float32] * len(names)


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("kept", [0, 1, 2, -1])
def test_a_reduction_of_no_axes_keeps_them_where_it_says_1(kept, keepdims):
    model = model_of(
        f"""g (float[3, 2] x) => (float[] y) {{ a = ReduceL1
            <noop_with_empty_axes = {kept}, keepdims = {keepdims}> (x, none) y = Neg(a) }}""",
        {"none": np.zeros(0, np.int64)},
    )
    found = run_ort(model, {"x": np.ones((3, 2), np.float32)})["y"].shape
    assert shapes_of(model) == {"a": found, "y": found}
