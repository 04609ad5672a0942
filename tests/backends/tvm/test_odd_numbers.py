"""Numbers that are none, ends of types, halves between two, and divisions by zero."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.ir.core.errors import ExecutionError

from tests.helpers import model_of, run_ort

pytest.importorskip("tvm")

from tests.backends.tvm.compared import check, normal


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
