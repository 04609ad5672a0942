"""What breaks at the edges: sizes of 1 and 0, types, joins, indices and shapes at run time."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import planish
from planish.ir.core.errors import BackendError, ExecutionError

from tests.helpers import Array, graph_of, model_of, relative_error, run_ort

pytest.importorskip("tvm")


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def check(model: onnx.ModelProto, *cases: dict[str, Array], optimize: bool = True) -> None:
    """Compare with ONNX Runtime on each of `cases`, feeds all."""
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1, optimize=optimize)
    for feeds in cases:
        expected, found = run_ort(model, feeds), compiled(feeds)
        assert expected.keys() == found.keys()
        for name, values in expected.items():
            if values.dtype.kind in "iub":
                assert found[name].dtype == values.dtype, name
                assert np.array_equal(found[name], values), name
            else:
                assert relative_error(values, found[name]) <= 1e-4, name


@pytest.mark.parametrize(
    "size", [(1,), pytest.param((1, 1), marks=pytest.mark.slow), (7, 1), (2, 1, 1)], ids=str
)
def test_a_pad_beside_an_axis_of_one_position_is_zero(size) -> None:
    rank = len(size)
    ones, threes = [1] * rank, [3] * rank
    pads = f"pads = {[1] * (2 * rank)}"
    quantized = "q = QuantizeLinear(x, step, zero) d = DequantizeLinear(q, step, zero)"
    check(
        model_of(
            f"""g (float[2, 16, {", ".join(map(str, size))}] x) => (
                float[] a, float[] b, float[] c, float[] e, float[] f, float[] h, float[] i
            ) {{
                a = Conv <kernel_shape = {threes}, {pads}> (x, w)
                b = Conv <kernel_shape = {threes}, {pads}, group = 16> (x, v)
                c = Conv <kernel_shape = {ones}, {pads}> (x, u)
                e = ConvTranspose <kernel_shape = {threes}> (x, t)
                f = AveragePool <kernel_shape = {threes}, {pads}> (x)
                r = Relu(x)
                s = Conv <kernel_shape = {threes}, {pads}> (r, w)
                h = Add(s, x)
                {quantized}
                i = Conv <kernel_shape = {threes}, {pads}> (d, w)
            }}""",
            {
                "w": normal(16, 16, *threes),
                "v": normal(16, 1, *threes),
                "u": normal(8, 16, *ones),
                "t": normal(16, 5, *threes),
                "step": np.float32(0.05),
                "zero": np.uint8(120),
            },
        ),
        {"x": normal(2, 16, *size)},
    )


@pytest.mark.parametrize("opset", [13, 22])
@pytest.mark.parametrize("op", ["AveragePool", "MaxPool", "LpPool"])
def test_a_pool_of_more_than_there_is(op, opset) -> None:
    """ONNX Runtime takes one window, of which AveragePool counts all of it in old opsets."""
    counts = ", count_include_pad = 1" if op == "AveragePool" else ""
    header = f'<ir_version: 8, opset_import: ["" : {opset}]>'
    text = f"""{header} g (float[1, 8, 1, 8] x) => (float[] y) {{
        y = {op} <kernel_shape = [2, 2], strides = [4, 2]{counts}> (x) }}"""
    check(model_of(text), {"x": normal(1, 8, 1, 8)})


def test_winograd_pads_an_axis_of_one_position_with_zeros() -> None:
    check(
        model_of(
            """g (float[1, 32, 40, 1] x) => (float[] y) {
                a = Relu(x)
                y = Conv <kernel_shape = [3, 3], pads = [1, 2, 1, 2]> (a, w)
            }""",
            {"w": normal(32, 32, 3, 3)},
        ),
        {"x": normal(1, 32, 40, 1)},
    )


def test_constants_keep_their_type() -> None:
    check(
        model_of(
            """g (float[3, 4] x, int64[3] i, double[2] z) => (
                float[] a, float[] b, int64[] c, float[] e, double[] f, int64[] k, int64[] m
            ) {
                a = Slice(x, one, last, zero, one)
                b = Slice(x, far, first, zero, back)
                c = Add(i, k)
                e = GatherND(x, places)
                f = Mul(z, half)
                m = Max(i, k)
            }""",
            {
                "one": np.array([1]),
                "zero": np.array([0]),
                "last": np.array([2**63 - 1]),
                "far": np.array([1 << 62]),
                "first": np.array([-(2**63)]),
                "back": np.array([-1]),
                "k": np.array([5, 1 << 40, -7]),
                "places": np.array([[0, 1], [2, -1]]),
                "half": np.array([0.1, 1e300]),
            },
        ),
        {"x": normal(3, 4), "i": np.array([1, 2, 1 << 41]), "z": np.array([3.0, 1e-300])},
        optimize=False,
    )


@pytest.mark.parametrize(
    ("steps", "shape"),
    [
        ("a = GlobalMaxPool(x) b = Sigmoid(a) c = Cos(b) y = Mul(c, a)", (1, 5, 15, 4)),
        ("a = LogSoftmax(x) b = Cos(a) c = Sub(b, a) y = LogSoftmax(c)", (2, 7, 9)),
        ("a = ReduceLogSumExp(x) b = Erf(a) y = Sub(b, a)", (3, 11)),
        (
            "a = LayerNormalization(x, scale) b = Sin(a) c = LayerNormalization(b, scale) "
            "y = Sub(c, a)",
            (2, 5, 9),
        ),
        (  # a store that is overwritten later is dead, if nothing reads it in between
            "p = GlobalAveragePool(x) q = QuantizeLinear(x, step, low) "
            "a = DequantizeLinear(q, step, low) r = QuantizeLinear(x, step, high) "
            "b = DequantizeLinear(r, step, high) y = Concat <axis = 0> (a, b)",
            (1, 1, 1, 1, 2),
        ),
        ("p = GlobalMaxPool(x) b = Sigmoid(p) c = Cos(b) y = Mul(c, p)", (1, 5, 15, 4)),
    ],
)
def test_memory_that_is_used_again_is_written_and_read_in_order(steps, shape) -> None:
    values = {
        "scale": normal(9),
        "step": np.float32(0.02),
        "low": np.int8(3),
        "high": np.uint8(128),
    }
    weights = {name: held for name, held in values.items() if name in steps}
    sizes = ", ".join(map(str, shape))
    second = ", float[] p" if "p =" in steps else ""
    model = model_of(f"g (float[{sizes}] x) => (float[] y{second}) {{ {steps} }}", weights)
    check(model, {"x": normal(*shape)})


@pytest.mark.parametrize("other", ["int8", "uint8", "float", "input", "same"])
def test_quantized_tensors_are_joined_as_the_numbers_they_stand_for(other) -> None:
    second = {
        "int8": "r = QuantizeLinear(x, fine, low) b = DequantizeLinear(r, fine, low)",
        "uint8": "r = QuantizeLinear(x, step, high) b = DequantizeLinear(r, step, high)",
        "float": "b = Relu(x)",
        "input": "b = Identity(w)",
        "same": "b = Identity(a)",
    }[other]
    values = {
        "step": np.float32(0.0157),
        "fine": np.float32(0.01),
        "low": np.int8(0),
        "high": np.uint8(128),
    }
    names = {name for name in values if name in second} | {"step", "low"}
    check(
        model_of(
            f"""g (float[1, 3, 4, 5] x, float[1, 3, 4, 5] w) => (
                float[] y, float[] z, float[] k, float[] q8
            ) {{
                q = QuantizeLinear(x, step, low)
                a = DequantizeLinear(q, step, low)
                {second}
                y = Concat <axis = 1> (a, b)
                z = Concat <axis = 3> (b, a)
                s = Add(a, b)
                k = Relu(s)
                c = Concat <axis = 1> (b, x, a)
                t = QuantizeLinear(c, step, low)
                q8 = DequantizeLinear(t, step, low)
            }}""",
            {name: values[name] for name in names},
        ),
        {"x": normal(1, 3, 4, 5), "w": normal(1, 3, 4, 5, seed=1)},
    )


RESIZED = [
    ("x, , scales", "mode = 'linear', coordinate_transformation_mode = 'pytorch_half_pixel'", 1.5),
    ("x, , scales", "mode = 'linear', coordinate_transformation_mode = 'half_pixel'", 0.5),
    ("x, , , sizes", "mode = 'linear', coordinate_transformation_mode = 'align_corners'", 2.4),
    ("x, , scales", "mode = 'linear', antialias = 1", 0.4),
    ("x, , scales", "mode = 'cubic', exclude_outside = 1", 2.0),
    ("x, , sizes", "mode = 'cubic', antialias = 1", 0.3),
    ("x, , scales", "mode = 'nearest', nearest_mode = 'ceil'", 2.3),
    ("x, , scales", "nearest_mode = 'floor', coordinate_transformation_mode = 'asymmetric'", 2.3),
    ("x, , sizes", "coordinate_transformation_mode = 'half_pixel_symmetric'", 1.7),
    ("x, box, scales", "coordinate_transformation_mode = 'tf_crop_and_resize', mode = 'linear', "
     "extrapolation_value = 3.0", 1.5),
    ("x, , sizes", "keep_aspect_ratio_policy = 'not_larger', axes = [2, 3], mode = 'linear'", 1.4),
]  # fmt: skip


@pytest.mark.parametrize(("inputs", "attributes", "factor"), RESIZED)
def test_resize_is_what_onnx_says(inputs, attributes, factor) -> None:
    attributes = attributes.replace("'", '"')
    inputs = inputs if inputs.endswith("scales") else inputs.replace(" sizes", " , sizes", 1)
    inputs = inputs.replace(", , , , ", ", , , ")
    sizes = [(6, 15), (1, 8)]
    for height, width in sizes:
        wide = [round(height * factor) or 1, round(width * factor)]
        weights = {
            "scales": np.array([1, 1, factor, factor] if height > 1 else [1, 1, 1, factor], "f4"),
            "sizes": np.array(wide if "axes" in attributes else [2, 5, *wide], np.int64),
            "box": np.array([0, 0, 0.1, -0.2, 1, 1, 0.9, 1.3], np.float32),
        }
        used = {name: values for name, values in weights.items() if name in inputs}
        model = model_of(
            f"""g (float[2, 5, {height}, {width}] x) => (float[] y) {{
                r = Resize <{attributes}> ({inputs})
                y = Relu(r)
            }}""",
            used,
        )
        check(model, {"x": normal(2, 5, height, width)})


def test_indices_at_run_time_are_checked() -> None:
    model = model_of(
        """g (float[3, 4] x, int64[2] i, int64[1, 4] j) => (float[] y, float[] z) {
            y = Gather(x, i)
            z = GatherElements(x, j)
        }"""
    )
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1)
    feeds = {"x": normal(3, 4), "i": np.array([-1, -3]), "j": np.array([[0, 2, -1, 1]])}
    for name, values in run_ort(model, feeds).items():
        assert np.array_equal(compiled(feeds)[name], values)
    for outside in (3, -4, 1 << 40):
        with pytest.raises(ExecutionError, match="Gather"):
            compiled({**feeds, "i": np.array([0, outside])})


def test_scalars_and_empty_tensors_are_fed_and_returned() -> None:
    model = model_of(
        """g (float x, float[2, M, 3] e) => (float[] y, float[] z, float[] s) {
            y = Add(x, x)
            z = Concat <axis = 0> (e, e)
            s = ReduceSum <keepdims = 0> (e)
        }"""
    )
    feeds = {"x": np.array(3, np.float32), "e": np.zeros((2, 0, 3), np.float32)}
    check(model, feeds, {**feeds, "e": normal(2, 4, 3)})


NODES = {
    "ScatterND": "y = ScatterND(x, place, row)",
    "Split with an empty part": "y, z = Split <axis = 1> (x, parts)",
    "Slice of nothing": "y = Slice(x, two, one, zero, two)",
    "ConstantOfShape": "y = ConstantOfShape(i)",
    "no inputs": "y = RandomlessRange(zero)",
    "Shape of any size": "y = Shape(n)",
    "weights that are inputs": "y = MatMul(x, w)",
    "MaxPool with indices": "y, z = MaxPool <kernel_shape = [2]> (v)",
    "Col2Im": "y = Col2Im(columns, size, block)",
    "NonZero": "y = NonZero(n)",
}


@pytest.mark.parametrize("kind", NODES)
def test_what_tvm_has_no_kernel_for_runs_all_the_same(kind) -> None:
    step = NODES[kind].replace("RandomlessRange(zero)", "Shape(row)")
    constants = {
        "place": np.array([[1]]),
        "row": normal(1, 4),
        "parts": np.array([0, 4]),
        "two": np.array([2]),
        "one": np.array([1]),
        "zero": np.array([0]),
        "size": np.array([5, 5]),
        "block": np.array([1, 5]),
    }
    kinds = {
        "x": ("float[3, 4]", normal(3, 4)),
        "w": ("float[4, 2]", normal(4, 2)),
        "n": ("float[N, 2]", normal(3, 2)),
        "v": ("float[1, 4, 6]", normal(1, 4, 6)),
        "i": ("int64[1]", np.array([3])),
        "columns": ("float[1, 5, 5]", normal(1, 5, 5)),
    }
    read = [name.strip() for name in step.split("(")[1].rstrip(")").split(",")]
    first = "int64" if step.startswith(("y = Shape", "y = NonZero")) else "float"
    second = ", int64[] z" if "MaxPool" in step else ", float[] z" if " z " in step else ""
    model = model_of(
        f"g ({', '.join(f'{kinds[n][0]} {n}' for n in read if n in kinds)}) => "
        f"({first}[] y{second}) {{ {step} }}",
        {name: values for name, values in constants.items() if name in read},
    )
    check(model, {name: kinds[name][1] for name in read if name in kinds}, optimize=False)


def test_a_bound_that_is_absent_is_the_last_finite_number() -> None:
    model = model_of(
        """g (float[1, 1, 2, 4] x) => (
            float[] a, float[] b, float[] c, float[] e, float[] h, float[] i, float[] j
        ) {
            m = MaxPool <kernel_shape = [1, 1]> (x)
            a = Clip(m, one)
            b = Clip(m, , one)
            c = Clip(m)
            f = Flatten(x)
            e = Clip(f, , one)
            h = Clip(f, one)
            i = Clip(f)
            j = Clip(f, zero, one)
        }""",
        {"one": np.float32(1), "zero": np.float32(0)},
    )
    ends = [np.nan, np.inf, -np.inf, 0.0, -0.0, 2, -2, 1e38]
    check(model, {"x": np.array(ends, np.float32).reshape(1, 1, 2, 4)}, optimize=False)


_HAND_ON = [
    "Relu(x)", "Elu(x)", "Selu(x)", "HardSigmoid(x)", "HardSwish(x)", "Sigmoid(x)", "Tanh(x)",
    "Sign(x)", "ThresholdedRelu(x)", "LeakyRelu(x)", "Clip(x, low, high)",
    "ReduceMax <keepdims = 0> (x, last)", "ReduceMin(x, last)", "Max(x, y)", "Min(y, x)",
    "Max(x, y, z)", "PRelu(x, y)", "Add(x, y)", "Mul(x, y)", "Softmax(x)", "Abs(x)", "Sqrt(x)",
    "Exp(x)", "Erf(x)", "Gelu(x)", "Mish(x)", "Softplus(x)",
]  # fmt: skip


@pytest.mark.parametrize("sizes", [(10, 10), (1, 10, 10, 1)], ids=["matrix", "blocks"])
def test_what_is_no_number_is_handed_on(sizes) -> None:
    """On matrices, which lie as ONNX has them, as well as in blocks; all nodes in one network."""
    ends = np.array([np.nan, np.inf, -np.inf, 0.0, 2, -2, 0.5, 90, -90, 3e38], np.float32)
    x, y = (values.copy() for values in np.meshgrid(ends, ends))
    inputs = ", ".join(f"float[{', '.join(map(str, sizes))}] {name}" for name in "xyz")
    outputs = ", ".join(f"float[] r{i}" for i in range(len(_HAND_ON)))
    body = " ".join(f"r{i} = {node}" for i, node in enumerate(_HAND_ON))
    bounds = {"low": np.float32(-1), "high": np.float32(1), "last": np.array([-2])}
    model = model_of(f"g ({inputs}) => ({outputs}) {{ {body} }}", bounds)
    feeds = {"x": x, "y": y, "z": y[::-1].copy()}
    given = {name: feeds[name].reshape(sizes) for name in "xyz"}
    wanted = run_ort(model, given)
    found = planish.lower(planish.load(model), "tvm", threads=1, optimize=False)(given)
    for i, node in enumerate(_HAND_ON):
        one, other = wanted[f"r{i}"], found[f"r{i}"]
        assert np.array_equal(np.isnan(one), np.isnan(other)), node
        np.testing.assert_allclose(other, one, rtol=1e-5, atol=1e-6, err_msg=node)


def test_what_nothing_runs_is_refused_by_name() -> None:
    graph = graph_of("g (float[2] x) => (float[] y) { y = Frobnicate(x) }")
    graph.nodes[0].domain = "unheard.of"
    with pytest.raises(BackendError, match=r"Frobnicate.*'y'.*unheard\.of"):
        planish.lower(graph, backend="tvm", optimize=False)


def test_what_onnx_runtime_makes_of_constants_is_a_constant() -> None:
    model = model_of(
        """g (float[3, 3] x) => (float[] y) {
            places = Constant <value = int64[2, 1] {0, 2}> ()
            rows = ConstantOfShape <value = float[1] {2.5}> (wide)
            none = ScatterND(ones, places, rows)
            y = Add(x, none)
        }""",
        {"wide": np.array([2, 3]), "ones": np.ones((3, 3), np.float32)},
    )
    check(model, {"x": normal(3, 3)}, optimize=False)


def test_nothing_is_taken_of_an_axis_that_turns_out_short() -> None:
    model = model_of(
        """g (float[N, 6] x) => (float[] y, float[] z, float[] s) {
            y = Slice(x, one, minus, zero)
            z = Slice(x, two, far, zero)
            s = ReduceMax <keepdims = 0> (x, zero)
        }""",
        {
            "zero": np.array([0]),
            "one": np.array([1]),
            "two": np.array([2]),
            "minus": np.array([-1]),
            "far": np.array([2**63 - 1]),
        },
    )
    check(model, *({"x": normal(batch, 6)} for batch in (1, 2, 5)))


def test_numbers_halfway_between_two_are_quantized_to_the_even_one() -> None:
    scales = {"a": 0.02, "b": 1 / 3, "c": 3e-5}
    outputs = ", ".join(f"uint8[] {name}" for name in scales)
    body = " ".join(f"{name} = QuantizeLinear(x, s{name}, zero)" for name in scales)
    model = model_of(
        f"g (float[3, 16, 20, 10] x) => ({outputs}) {{ {body} }}",
        {"zero": np.uint8(100), **{f"s{name}": np.float32(v) for name, v in scales.items()}},
    )
    halves = np.random.default_rng(0).integers(-300, 300, (16, 20, 10)) * np.float32(0.5)
    x = np.stack([halves * np.float32(scale) for scale in scales.values()]).astype(np.float32)
    x.flat[:5] = [np.inf, -np.inf, 3e38, -3e38, 1e-42]
    check(model, {"x": x})


def test_an_input_that_is_an_output_keeps_its_sizes() -> None:
    model = model_of(
        """g (float[1, 17, 4, 2] x) => (float[] y, float[] z, float[] x) {
            y, z = Split <axis = -3> (x, parts)
        }""",
        {"parts": np.array([0, 17])},
    )
    check(model, {"x": normal(1, 17, 4, 2)})


def test_a_converter_with_another_shape_is_not_believed(monkeypatch) -> None:
    from planish.backends.tvm.program import emit_onnx

    monkeypatch.setattr(emit_onnx, "is_right", lambda node, view: True)
    model = model_of(
        "g (float[3, 5] x) => (float[] y) { y = Slice(x, last, far, zero, back) }",
        {
            "last": np.array([-1]),
            "far": np.array([2**63 - 1]),  # for ONNX Runtime the begin, going backwards
            "zero": np.array([0]),
            "back": np.array([-1]),
        },
    )
    check(model, {"x": normal(3, 5)}, optimize=False)


_LARGE = "LayerNorm", "InstanceNorm"
_WIDE = {
    "Softmax": "y = Softmax <axis = -1> (x)",
    "LogSoftmax": "y = LogSoftmax <axis = -1> (x)",
    "MatMul": "y = MatMul (x, w)",
    "Gemm": "f = Flatten <axis = 3> (x) y = Gemm (f, w, b)",
    "Conv": "y = Conv <pads = [1, 1, 1, 1]> (x, taps)",
    "LayerNorm": "y = LayerNormalization <axis = -1> (x, row, row)",
    "InstanceNorm": "y = InstanceNormalization (x, b3, b3)",
    "ReduceMean": "y = ReduceMean (x, axes)",
    "ReduceLogSumExp": "y = ReduceLogSumExp (x, axes)",
    "ReduceSum": "y = ReduceSum (x, axes)",
    "Softplus": "y = Softplus (x)",
    "Mish": "y = Mish (x)",
    "Gelu": "y = Gelu (x)",
}


@pytest.mark.parametrize("name", _WIDE)
def test_half_precision_is_summed_in_single(name) -> None:
    half = {
        "w": normal(512, 4),
        "b": normal(4),
        "taps": normal(4, 3, 3, 3),
        "row": normal(512),
        "b3": normal(3),
    }
    model = model_of(
        f"g (float16[1, 3, 8, 512] x) => (float16[] y) {{ {_WIDE[name]} }}",
        {name: values.astype(np.float16) for name, values in half.items()}
        | {"axes": np.array([3])},
    )
    scale, offset = (40, 300) if name in _LARGE else (4, 2)
    feeds = {"x": (normal(1, 3, 8, 512) * scale + offset).astype(np.float16)}
    found = planish.lower(planish.load(model), backend="tvm", threads=1)(feeds)["y"]
    expected = run_ort(model, feeds)["y"]
    assert found.dtype == np.float16
    assert np.isfinite(expected).all()
    wide = expected.astype(np.float64)
    # One rounding apart at most, and what cancels in float32.
    allowed = np.maximum(np.abs(wide) * 2**-10, np.abs(wide).max() * 2**-20)
    assert np.all(np.abs(found - wide) <= allowed)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [((2, 1), (3, 1, 4)), ((2, 1), (2, 1)), ((1, 3), (2, 1)), ((2, 3), (1, 1)), ((1, 1), (2, 3))],
    ids=str,
)
@pytest.mark.parametrize("how", ["fed", "computed", "of an open input"])
def test_expand_keeps_an_axis_that_is_asked_to_be_one(given, wanted, how) -> None:
    sizes = "n, m" if how == "of an open input" else ", ".join(map(str, given))
    target, made = f"int64[{len(wanted)}] t", "y = Expand (x, t)"
    feeds: dict[str, Array] = {"x": normal(*given), "t": np.array(wanted)}
    if how == "computed":
        names = "abc"[: len(wanted)]
        target, made = f"float[{', '.join(names)}] t", "s = Shape (t) y = Expand (x, s)"
        feeds["t"] = normal(*wanted)
    check(model_of(f"g (float[{sizes}] x, {target}) => (float[] y) {{ {made} }}"), feeds)


@pytest.mark.parametrize("sizes", ["2, 5", "n, m", "2, 6"])
def test_split_takes_parts_that_are_fed(sizes) -> None:
    whole = 6 if sizes == "2, 6" else 5
    model = model_of(
        f"""g (float[{sizes}] x, int64[2] parts) => (float[] a, float[] c) {{
            a, b = Split <axis = 1> (x, parts)
            c = Relu (b)
        }}"""
    )
    parts = [1, whole - 1], [0, whole]
    check(model, *({"x": normal(2, whole), "parts": np.array(part)} for part in parts))


@pytest.mark.parametrize("op", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("last", [0, 1])
def test_the_place_of_the_largest_beside_no_number(op, last) -> None:
    """At the first place it stays, elsewhere it is passed by; of equal ones the first or last."""
    ends = f"select_last_index = {last}"
    model = model_of(
        f"""g (float[6, 7, 5] x) => (int64[] y, int64[] z) {{
            y = {op} <axis = -1, {ends}> (x)
            z = {op} <axis = 1, keepdims = 0, {ends}> (x)
        }}"""
    )
    x = np.random.default_rng(last).integers(-2, 3, (6, 7, 5)).astype(np.float32)
    x[np.random.default_rng(5).random(x.shape) < 0.3] = np.nan
    x[0, :, 0] = x[1, 2] = -np.inf
    check(model, {"x": x})


@pytest.mark.parametrize("dtype", [np.int64, np.int32])
@pytest.mark.parametrize("op", ["Div", "Mod"])
def test_an_integer_divided_by_zero_does_not_end_the_process(op, dtype) -> None:
    model = model_of(
        f"g ({dtype.__name__}[3] a, {dtype.__name__}[3] b) => ({dtype.__name__}[3] y) "
        f"{{ y = {op}(a, b) }}"
    )
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1)
    assert compiled({"a": dtype([7, -7, 6]), "b": dtype([2, 2, -2])})["y"][2] == {"Div": -3}.get(
        op, 0
    )
    with pytest.raises(ExecutionError, match="by zero"):
        compiled({"a": dtype([7, -7, 6]), "b": dtype([2, 0, -2])})
    if op == "Mod":  # of the least by -1 ONNX Runtime's quotient ends the process as well
        least = np.iinfo(dtype).min
        found = compiled({"a": dtype([least, 1, 2]), "b": dtype([-1, 2, 2])})
        assert found["y"].tolist() == [0, 1, 0]


def test_a_range_of_no_step_does_not_end_the_process() -> None:
    model = model_of("g (int64 a, int64 b, int64 c) => (int64[M] y) { y = Range(a, b, c) }")
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1)
    feeds = {"a": np.array(1), "b": np.array(6), "c": np.array(2)}
    assert compiled(feeds)["y"].tolist() == [1, 3, 5]
    with pytest.raises(ExecutionError, match="delta"):
        compiled({**feeds, "c": np.array(0)})


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMax"])
def test_axes_at_run_time(op, keepdims) -> None:
    model = model_of(
        f"""<ir_version: 8, opset_import: ["" : 18]>
        g (float[2, 3, 5] x, int64[1] a) => (float[] y) {{
            r = Exp(x) s = {op} <keepdims = {keepdims}> (r, a) y = Relu(s) }}"""
    )
    check(model, {"x": normal(2, 3, 5), "a": np.array([-2])})


def test_constants_that_are_nodes_are_not_left_to_onnx_runtime() -> None:
    model = model_of(
        "g (float[4] x) => (float[4] y) { c = Constant <value_float = 2.5> () y = Mul(x, c) }"
    )
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1, optimize=False)
    assert not any("ONNX Runtime" in line for line in compiled.remarks)
    assert compiled({"x": np.ones(4, np.float32)})["y"].tolist() == [2.5] * 4
