"""Lowered without verification, an operator is computed as ONNX says, or refused by node."""

import itertools
import warnings

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

import planish
from planish.ir.core.errors import BackendError, PlanishError

from tests.helpers import model_of, relative_error, run_ort
from tests.operator_cases import operator_cases

BACKENDS = ("openvino", "ncnn")

# What is other, and said so in the guide: NaN and infinity, values on the border between two
# steps of a grid or two boxes, and what is drawn.
_OPENVINO = {
    "test_attention_causal_boolmask_nan_robustness_expanded",
    "test_attention_23_boolmask_fullymasked_row_nan_robustness_expanded",
    "test_attention_23_fullymasked_qk_matmul_output_mode3_zero_expanded",
    "test_attention_24_fullymasked_qk_matmul_output_mode3_zero_expanded",
    "test_attention_24_qk_matmul_output_mode3_softmax_precision_expanded",
    "test_reduce_max_empty_set",
    "test_dynamicquantizelinear",
    "test_dynamicquantizelinear_expanded",
    "test_quantizelinear_uint16",
    "test_nonmaxsuppression_iou_threshold_boundary",
    "test_bernoulli_seed_expanded",
}
_KNOWN = {"openvino": _OPENVINO, "ncnn": set()}
# How many were right with the releases that are installed; fewer are a refusal too many.
_RIGHT = {"openvino": 1200, "ncnn": 150}


def _installed(backend):
    pytest.importorskip(backend, reason=f"{backend} is not installed")


def _close(found, expected, tolerance):
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return False
    if expected.dtype.kind in "iubOUS":
        return bool(np.array_equal(found, expected))
    if not expected.size:
        return True
    a, b = expected.astype(np.float64), found.astype(np.float64)
    scale = np.abs(a[np.isfinite(a)]).max(initial=1e-6)
    with np.errstate(invalid="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b)) | (np.abs(a - b) <= tolerance * scale)
    return bool(same.all())


def _expected(case, feeds):
    """Return outputs by name and a tolerance: ONNX Runtime's, or the case's where it has none."""
    names = [value.name for value in case.model.graph.output]
    halves = any(np.asarray(x).dtype.itemsize == 2 for x in case.data_sets[0][1])
    try:
        return run_ort(case.model, feeds), 1e-2 if halves else 1e-5
    except Exception:  # it says so in many ways
        arrays = [_array(value) for value in case.data_sets[0][1]]
        return dict(zip(names, arrays, strict=True)), max(case.rtol, 1e-2 if halves else 1e-3)


def _array(value):
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BACKENDS)
def test_operator_cases_are_right_or_refused(backend):
    _installed(backend)
    ort.set_default_logger_severity(4)
    right, wrong = 0, []
    for case in operator_cases():
        names = [value.name for value in case.model.graph.input]
        inputs = case.data_sets[0][0]
        if any(isinstance(x, list) or x is None for x in inputs):
            continue
        feeds = dict(zip(names, map(_array, inputs), strict=False))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = planish.lower(planish.load(case.model), backend, threads=1)(feeds)
        except PlanishError:
            continue
        expected, tolerance = _expected(case, feeds)
        if all(_close(np.asarray(found[name]), e, tolerance) for name, e in expected.items()):
            right += 1
        else:
            wrong.append(case.name)
    assert set(wrong) <= _KNOWN[backend]
    assert right >= _RIGHT[backend]


def drawn(*shape):
    return np.random.default_rng([5, *shape]).standard_normal(shape).astype(np.float32)


def at(text, weights=None, *, opset=19):
    """Return the graph of `text` at an opset."""
    return planish.load(model_of(f'<ir_version: 9, opset_import: ["": {opset}]>\n{text}', weights))


def pool(op, size, attrs):
    head = f"g (float[1, 3, {size}] x) => (float[1, 3, n] y)"
    return at(f"{head} {{ y = {op} <{attrs}> (x) }}")


@pytest.mark.parametrize("backend", BACKENDS)
def test_windows_that_are_counted_up_are_right_or_refused(backend):
    _installed(backend)
    outcomes = {"right": 0, "refused": 0}
    cases = itertools.product((9, 10), (2, 3), ("0, 0", "1, 1", "1, 0", "0, 1"))
    for size, stride, pads in cases:
        for op, more in (
            ("MaxPool", ""),
            ("AveragePool", ""),
            ("AveragePool", ", count_include_pad = 1"),
        ):
            attrs = f"kernel_shape = [3], strides = [{stride}], pads = [{pads}], ceil_mode = 1"
            attrs += more
            graph, x = pool(op, size, attrs), {"x": drawn(1, 3, size)}
            try:
                found = planish.lower(graph, backend, threads=1)(x)["y"]
            except BackendError as error:
                assert "last window" in str(error)  # noqa: PT017 - any other refusal is a fault
                outcomes["refused"] += 1
                continue
            expected = run_ort(planish.to_model(graph), x)["y"]
            assert relative_error(expected, found) <= 1e-5, (op, attrs)
            outcomes["right"] += 1
    assert min(outcomes.values()) >= 4


@pytest.mark.parametrize("size", ["H, W", "9, 8"])
def test_common_windows_that_are_counted_up_are_taken_at_open_sizes(size):
    _installed("openvino")
    text = f"g (float[N, 3, {size}] x) => (float[N, 3, I, J] y)"
    attrs = "kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], ceil_mode = 1"
    graph, x = at(f"{text} {{ y = MaxPool <{attrs}> (x) }}"), {"x": drawn(1, 3, 9, 8)}
    found = planish.lower(graph, "openvino", threads=1)(x)["y"]
    np.testing.assert_array_equal(found, run_ort(planish.to_model(graph), x)["y"])
    skips = attrs.replace("strides = [2, 2]", "strides = [3, 3]")
    if "H" in size:
        with pytest.raises(BackendError, match="'y' otherwise: its last window starts in the pads"):
            planish.lower(at(f"{text} {{ y = MaxPool <{skips}> (x) }}"), "openvino")


RESIZED = {
    "antialias": ("mode = 'linear', antialias = 1", [0.5, 0.4], "antialiased"),
    "outside": ("mode = 'cubic', exclude_outside = 1", [1.5, 2], "excluded|mode is cubic"),
    "corners": (
        "mode = 'nearest', nearest_mode = 'floor', "
        "coordinate_transformation_mode = 'align_corners'",
        [0.5, 3],
        "rounding",
    ),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("attrs", "scales", "message"), RESIZED.values(), ids=RESIZED)
def test_resizing_that_is_other_is_refused(backend, attrs, scales, message):
    _installed(backend)
    told = attrs.replace("'", '"')
    text = f"g (float[1, 3, 8, 9] x) => (float[1, 3, h, w] y) {{ y = Resize <{told}> (x, , s) }}"
    graph = at(text, {"s": np.array([1, 1, *scales], np.float32)})
    with pytest.raises(BackendError, match=message):
        planish.lower(graph, backend)


@pytest.mark.parametrize("backend", BACKENDS)
def test_sizes_that_keep_the_ratio_are_refused(backend):
    _installed(backend)
    text = (
        "g (float[1, 4, 6, 8] x) => (float[1, 4, h, w] y) { y = Resize "
        '<mode = "linear", keep_aspect_ratio_policy = "not_larger", axes = [2, 3]> (x, , , s) }'
    )
    with pytest.raises(BackendError, match="keep the ratio"):
        planish.lower(at(text, {"s": np.array([13, 11])}), backend)


@pytest.mark.parametrize(
    ("op", "opset", "scales", "message"),
    [
        ("Resize <mode = 'linear'> (x, , s)", 18, [1.5, 0.7], "factors differ"),
        ("Resize <mode = 'linear'> (x, s)", 10, [2, 3], "coordinates are asymmetric"),
        ("Upsample <mode = 'linear'> (x, s)", 9, [2, 3], "coordinates are asymmetric"),
        ("Upsample <mode = 'nearest'> (x, s)", 9, [2, 3], ""),
        ("Resize <mode = 'linear'> (x, , s)", 18, [1.5, 0.5], ""),
    ],
)
def test_positions_in_ncnn_go_by_opset_and_scales(op, opset, scales, message):
    _installed("ncnn")
    text = "g (float[1, 4, 6, 8] x) => (float[1, 4, h, w] y)" + " { y = " + op.replace("'", '"')
    weights = {"s": np.array([1, 1, scales[0], scales[1]], np.float32)}
    graph, x = at(text + " }", weights, opset=opset), {"x": drawn(1, 4, 6, 8)}
    if message:
        with pytest.raises(BackendError, match=message):
            planish.lower(graph, "ncnn")
        return
    found = planish.lower(graph, "ncnn", threads=1)(x)["y"]
    assert relative_error(run_ort(planish.to_model(graph), x)["y"], found) <= 1e-5


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax <axis = 2>", "Softmax <axis = 3>"])
def test_several_axes_of_an_old_softmax_are_joined_in_openvino(op):
    _installed("openvino")
    name, _, attrs = op.partition(" ")
    text = f"g (float[N, 3, 4, 5] x) => (float[N, 3, 4, 5] y) {{ y = {name} {attrs} (x) }}"
    graph, x = at(text, opset=11), {"x": drawn(2, 3, 4, 5)}
    found = planish.lower(graph, "openvino", threads=1)(x)["y"]
    assert relative_error(run_ort(planish.to_model(graph), x)["y"], found) <= 1e-5


@pytest.mark.parametrize("op", ["Softplus", "ReduceLogSumExp <axes = [2, 3]>"])
def test_exponentials_in_ncnn_do_not_overflow(op):
    _installed("ncnn")
    name, _, attrs = op.partition(" ")
    text = f"g (float[1, 2, 3, 4] x) => (float[1, 2, h, w] y) {{ y = {name} {attrs} (x) }}"
    graph = at(text, opset=13)
    x = {"x": np.linspace(-300, 300, 24, dtype=np.float32).reshape(1, 2, 3, 4)}
    found = planish.lower(graph, "ncnn", threads=1)(x)["y"]
    np.testing.assert_allclose(found, run_ort(planish.to_model(graph), x)["y"], 1e-5, 1e-6)


def test_what_ncnn_has_for_infinity_is_a_remark():
    _installed("ncnn")
    text = "g (float[1, 2] x) => (float[1, 2] y) { a = Log(x)\n y = Div(x, a) }"
    (told,) = planish.lower(at(text), "ncnn").remarks
    assert told == "NaN or a large number where ONNX has infinity: Log -> 'a', Div -> 'y'"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("float[1, 3, 4, 5] x) => (float[1, 3, 4, 5] y) { y = LRN <size = 3, bias = 1.5> (x)",
         "its bias 1.5 becomes 1"),
        ("float[2, 2, 2] x, int64[3] r) => (float[a, b, c] y) { y = Tile(x, r)",
         "repeated by numbers that are computed"),
        ("int32[2] x) => (float8e4m3fn[2] y) { y = Cast <to = 17> (x)", "no float8_e4m3fn here"),
    ],
)  # fmt: skip
def test_what_openvino_computes_otherwise_is_refused(text, message):
    _installed("openvino")
    with pytest.raises(BackendError, match=message):
        planish.lower(at(f"g ({text} }}"), "openvino")


def test_openvino_takes_the_first_of_equal_values():
    _installed("openvino")
    text = "g (float[4] x, int64[1] k) => (float[3] v, int64[3] i) { v, i = TopK(x, k) }"
    feeds = {"x": np.zeros(4, np.float32), "k": np.array([3])}
    found = planish.lower(at(text), "openvino", threads=1)(feeds)
    np.testing.assert_array_equal(found["i"], [0, 1, 2])


def test_groups_of_several_channels_in_bfloat16_are_refused_by_ncnn():
    _installed("ncnn")
    text = "g (float[1, 8, 9, 9] x) => (float[1, 6, 9, 9] y) { y = Conv <group = 2> (x, w) }"
    graph = at(text, {"w": drawn(6, 4, 1, 1)})
    with pytest.raises(BackendError, match="several channels wrong in bfloat16; take float16"):
        planish.lower(graph, "ncnn", precision="bfloat16")
    deep = at(text.replace("6, 9, 9] y", "8, 9, 9] y").replace("= 2", "= 8"),
                    {"w": drawn(8, 1, 1, 1)})  # fmt: skip
    planish.lower(deep, "ncnn", precision="bfloat16", verify=True)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_precision_that_was_asked_for_is_judged_as_such(backend, precision, tmp_path):
    _installed(backend)
    text = "g (float[1, 16, 9, 9] x) => (float[1, 8, 7, 7] y) { y = Conv(x, w) }"
    graph = at(text, {"w": drawn(8, 16, 3, 3)})
    found = planish.lower(graph, backend, precision=precision, verify=True, reproducer=tmp_path)
    assert found.precision == precision
    assert found.verdict.startswith("verified")
