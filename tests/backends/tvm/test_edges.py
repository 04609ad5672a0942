"""Where sizes and axes end: empty, of one position, known at run time alone, outside."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.ir.core.errors import ExecutionError

from tests.helpers import Array, model_of, run_ort

pytest.importorskip("tvm")

from tests.backends.tvm.compared import check, normal


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


def test_an_input_that_is_an_output_keeps_its_sizes() -> None:
    model = model_of(
        """g (float[1, 17, 4, 2] x) => (float[] y, float[] z, float[] x) {
            y, z = Split <axis = -3> (x, parts)
        }""",
        {"parts": np.array([0, 17])},
    )
    check(model, {"x": normal(1, 17, 4, 2)})


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


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("op", ["ReduceSum", "ReduceMax"])
def test_axes_at_run_time(op, keepdims) -> None:
    model = model_of(
        f"""<ir_version: 8, opset_import: ["" : 18]>
        g (float[2, 3, 5] x, int64[1] a) => (float[] y) {{
            r = Exp(x) s = {op} <keepdims = {keepdims}> (r, a) y = Relu(s) }}"""
    )
    check(model, {"x": normal(2, 3, 5), "a": np.array([-2])})
