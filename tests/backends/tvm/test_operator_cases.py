"""Operators that ONNX Runtime runs are run, by its own kernel where there is no other."""

import re
import warnings

import ml_dtypes
import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, numpy_helper

import planish
from planish.ir.core.errors import BackendError, PlanishError

from tests.helpers import model_of, run_ort
from tests.operator_cases import operator_cases

pytest.importorskip("tvm")

X = np.array([0.3, -500, 7, 1e6, 0.01, np.inf], np.float32)
WEIGHTS = {"s": np.array(0.5, np.float32), "w": np.arange(-3, 3).astype(ml_dtypes.int4)}
# Between numbers that a program holds, such as it holds none of.
BETWEEN = {
    "eight bits": f"a = Cast <to = {TensorProto.FLOAT8E4M3FN}> (x)\n y = Cast <to = 1> (a)",
    "two readers": f"r = Relu(x)\n a = Cast <to = {TensorProto.FLOAT8E5M2}> (r)\n"
    "b = Identity(a)\n c = Cast <to = 1> (b)\n d = Cast <to = 1> (a)\n e = Add(c, d)\n y = Relu(e)",
    "a grid of eight bits": f"a = QuantizeLinear <output_dtype = {TensorProto.FLOAT8E4M3FN}> "
    "(x, s)\n y = DequantizeLinear(a, s)",
    "a grid of four bits": f"a = QuantizeLinear <output_dtype = {TensorProto.INT4}> (x, s)\n"
    "y = DequantizeLinear(a, s)",
    "weights of four bits": "a = DequantizeLinear(w, s)\n y = Mul(x, a)",
    "text": "a = Cast <to = 8> (x)\n y = Cast <to = 1> (a)",
    "one sign": "a = IsInf <detect_positive = 0> (x)\n b = Cast <to = 1> (a)\n y = Add(b, x)",
}
RANKS = {
    "a window": ("int64 n", {"n": np.array(7)}, "float[k] y", "y = HannWindow(n)"),
    "weights of a spectrum": (
        "int64 n", {"n": np.array(8)}, "float[k, l] y",
        "y = MelWeightMatrix(n, n, n, low, high)",
    ),
    "spectra": (
        "int64 n", {"n": np.array(4)}, "float[1, k, l, 2] y", "y = STFT(signal, n, , n)",
    ),
    "sizes before pooling": (
        "int64[3] n", {"n": np.array([1, 1, 5])}, "float[1, 1, k] y",
        "y = MaxUnpool <kernel_shape = [2], strides = [2]> (pooled, places, n)",
    ),
    "axes of a border": (
        "int64[1] n", {"n": np.array([-1])}, "float[1, k, l] y", "y = Pad(signal, border, , n)",
    ),
}  # fmt: skip
HELD = {
    "low": np.array(1, np.float32), "high": np.array(3, np.float32), "border": np.array([1, 2]),
    "signal": np.linspace(-1, 1, 16, dtype=np.float32).reshape(1, 16, 1),
    "pooled": np.array([[[3, 4]]], np.float32), "places": np.array([[[1, 2]]]),
}  # fmt: skip


def lowered(text, weights, feeds):
    model = model_of(f'<ir_version: 10, opset_import: ["": 21]>\n{text}', weights)
    return run_ort(model, feeds), planish.lower(planish.load(model), "tvm", threads=1)(feeds)


@pytest.mark.parametrize("name", BETWEEN)
def test_what_a_program_does_not_hold_lies_between_numbers(name):
    weights = {key: WEIGHTS[key] for key in re.findall(r"\b[sw]\b", BETWEEN[name])}
    text = f"g (float[6] x) => (float[6] y) {{ {BETWEEN[name]} }}"
    expected, found = lowered(text, weights, {"x": X})
    np.testing.assert_array_equal(found["y"], expected["y"])


@pytest.mark.parametrize("name", RANKS)
def test_a_rank_is_known_of_what_a_feed_decides(name):
    given, feeds, made, nodes = RANKS[name]
    weights = {key: value for key, value in HELD.items() if key in nodes}
    expected, found = lowered(f"g ({given}) => ({made}) {{ {nodes} }}", weights, feeds)
    np.testing.assert_allclose(found["y"], expected["y"], 1e-6, 1e-6)


@pytest.mark.parametrize("kind", ["float16", "float", "double"])
@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin", "Max", "Clip"])
def test_infinity_and_nan_are_kept_in_every_precision(op, kind):
    nodes = f"y = {op}(x, x)" if op == "Max" else f"y = {op}(x)"
    if op.startswith("Reduce"):
        nodes = f"y = {op}(x, last)"
    values = np.repeat([[-np.inf], [np.inf], [np.nan], [2.0]], 2, axis=1)
    x = values.astype({"float16": np.float16, "float": np.float32, "double": np.float64}[kind])
    weights = {"last": np.array([1])} if "last" in nodes else {}
    text = f"g ({kind}[4, 2] x) => ({kind}[4, k] y) {{ {nodes} }}"
    expected, found = lowered(text, weights, {"x": x})
    np.testing.assert_array_equal(found["y"], expected["y"])


@pytest.mark.parametrize(
    ("kind", "told"), [("float8e5m2", "float8_e5m2"), ("int4", "int4"), ("string", "string")]
)
def test_inputs_and_outputs_are_numbers_or_refused(kind, told):
    elem_type = TensorProto.DataType.Value(kind.upper())
    made = f"g (float[6] x) => ({kind}[6] y) {{ y = Cast <to = {elem_type}> (x) }}"
    with pytest.raises(BackendError, match=f"output 'y' is {told}"):
        planish.lower(planish.load(model_of(made)), "tvm")
    given = f"g ({kind}[6] x) => (float[6] y) {{ y = Cast <to = 1> (x) }}"
    with pytest.raises(BackendError, match=f"input 'x' is {told}"):
        planish.lower(planish.load(model_of(given)), "tvm")


# Branches of two ranks, and bodies that declare none: refused by node, with what to do.
UNTOLD = {
    "test_affine_grid_2d_align_corners_expanded",
    "test_affine_grid_2d_expanded",
    "test_affine_grid_3d_align_corners_expanded",
    "test_range_float16_type_positive_delta_expanded",
    "test_range_float_type_positive_delta_expanded",
    "test_range_int32_type_negative_delta_expanded",
}


@pytest.mark.slow
def test_operator_cases_that_onnxruntime_runs_are_right():
    ort.set_default_logger_severity(4)
    ran, wrong = 0, []
    for case in operator_cases():
        inputs, expected = case.data_sets[0]
        names = [value.name for value in case.model.graph.input]
        values = list(map(_array, inputs))
        if not all(map(_is_held, (*values, *map(_array, expected)))):
            continue  # a program takes and gives numbers alone
        feeds = dict(zip(names, values, strict=False))
        try:
            expected = run_ort(case.model, feeds)
        except Exception:  # it says so in many ways
            continue
        ran += 1
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                network = planish.lower(
                    planish.load(case.model), "tvm", threads=1, check_kernels=False
                )
                found = network(feeds)
        except PlanishError as error:
            wrong.append(f"{case.name}: {error}")
            continue
        wrong += [case.name for name, e in expected.items() if not _close(found[name], e)]
    assert ran >= 1000
    assert [each for each in wrong if each.split(":")[0] not in UNTOLD] == []


def _array(value):
    is_proto = isinstance(value, TensorProto)
    held = isinstance(value, list) or value is None
    return value if held else numpy_helper.to_array(value) if is_proto else np.asarray(value)


def _is_held(value):
    return isinstance(value, np.ndarray) and value.dtype in HELD_TYPES


HELD_TYPES = [np.dtype(kind) for kind in "?bBhHiIlLefd"]


def _close(found, expected):
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    if expected.dtype.kind != "f":
        return np.array_equal(found, expected)
    scale = np.abs(expected[np.isfinite(expected)]).max(initial=1e-6).astype(np.float64)
    tolerance = 1e-2 if expected.dtype == np.float16 else 1e-5
    return np.allclose(found, expected, 0, tolerance * scale, equal_nan=True)
