"""Whole graphs through the TVM backend, against ONNX Runtime with its optimizations off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import planish
from planish.passes.trust.rounding import measure_rounding

from tests.effort import examples
from tests.helpers import Array, model_of, relative_error, run_ort
from tests.strategies import networks

pytest.importorskip("tvm")

TOLERANCE = 1e-4


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def check(text: str, weights: dict[str, Array], feeds: dict[str, Array], **options: bool) -> None:
    model = model_of(text, weights)
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1, **options)
    expected, found = run_ort(model, feeds), compiled(feeds)
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        assert relative_error(values, found[name]) <= TOLERANCE, name


@pytest.mark.parametrize(
    ("channels", "outputs", "group", "attributes", "size"),
    [
        (3, 17, 1, "kernel_shape = [7, 7], strides = [2, 2], pads = [3, 3, 3, 3]", (15, 13)),
        (32, 32, 1, "kernel_shape = [3, 3], pads = [1, 1, 1, 1]", (9, 31)),
        (33, 20, 1, "kernel_shape = [5, 3], dilations = [1, 2], pads = [0, 1, 3, 2]", (11, 10)),
        (20, 40, 1, "kernel_shape = [1, 1]", (7, 7)),
        (20, 40, 1, "kernel_shape = [1, 1], strides = [2, 3]", (8, 7)),
        (24, 36, 3, "kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 3", (6, 6)),
        (24, 24, 24, "kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 24", (6, 5)),
        (48, 48, 12, "kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 12", (6, 5)),
        (20, 20, 5, "kernel_shape = [3, 3], pads = [1, 1, 1, 1], group = 5", (6, 5)),
        (24, 36, 6, "kernel_shape = [1, 1], group = 6", (3, 5)),
        (24, 48, 24, "kernel_shape = [3, 3], strides = [2, 2], group = 24", (7, 9)),
        (18, 18, 18, "kernel_shape = [1, 1], group = 18", (3, 5)),
        (16, 16, 1, 'kernel_shape = [4, 4], strides = [3, 3], auto_pad = "SAME_LOWER"', (8, 8)),
        (16, 8, 1, "kernel_shape = [3], pads = [2, 0]", (19,)),
        (5, 18, 1, "kernel_shape = [3, 2, 2], pads = [1, 0, 1, 1, 1, 0]", (4, 5, 6)),
    ],
)
def test_a_convolution_of_every_kind(channels, outputs, group, attributes, size) -> None:
    kernel = [int(k) for k in attributes.split("[")[1].split("]")[0].split(",")]
    sizes = ", ".join(map(str, size))
    check(
        f"""g (float[N, {channels}, {sizes}] x) => (float[] y) {{
            c = Conv <{attributes}> (x, w, b)
            y = Relu(c)
        }}""",
        {"w": normal(outputs, channels // group, *kernel), "b": normal(outputs)},
        {"x": normal(2, channels, *size)},
        winograd=False,
    )


@pytest.mark.parametrize(
    ("attributes", "kernel"),
    [
        ("strides = [2, 2]", 2),
        ("strides = [2, 2], pads = [1, 1, 1, 1]", 4),
        ("strides = [3, 2]", 2),
        ("strides = [2, 2], pads = [1, 0, 1, 2], dilations = [2, 2], output_padding = [1, 0]", 3),
        ("pads = [1, 1, 1, 1], dilations = [2, 1]", 3),
    ],
)
def test_a_transposed_convolution_of_every_kind(attributes, kernel) -> None:
    check(
        f"""g (float[N, 20, 5, 6] x) => (float[] y) {{
            c = ConvTranspose <{attributes}, kernel_shape = [{kernel}, {kernel}]> (x, w, b)
            y = LeakyRelu <alpha = 0.2> (c)
        }}""",
        {"w": normal(20, 18, kernel, kernel), "b": normal(18)},
        {"x": normal(2, 20, 5, 6)},
    )


def test_other_spellings_of_the_pads_of_a_transposed_convolution() -> None:
    check(
        """g (float[2, 3, 5, 6] x) => (float[] a, float[] b, float[] c) {
            a = ConvTranspose <strides = [2, 2], auto_pad = "SAME_UPPER"> (x, w)
            b = ConvTranspose <strides = [2, 3], output_shape = [11, 16]> (x, w)
            c = ConvTranspose <strides = [2, 3], auto_pad = ""> (x, w)
        }""",
        {"w": normal(3, 5, 3, 3)},
        {"x": normal(2, 3, 5, 6)},
    )


@pytest.mark.parametrize(
    "pool",
    [
        "MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (c)",
        "MaxPool <kernel_shape = [2, 3], strides = [2, 2], ceil_mode = 1> (c)",
        "MaxPool <kernel_shape = [3, 3], dilations = [2, 2]> (c)",
        "AveragePool <kernel_shape = [3, 3], strides = [2, 1], pads = [1, 1, 1, 1]> (c)",
        "AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1> (c)",
        'AveragePool <kernel_shape = [3, 3], auto_pad = "", count_include_pad = 1> (c)',
        "AveragePool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (c)",
        "GlobalAveragePool (c)",
        "GlobalMaxPool (c)",
        'Resize <mode = "nearest"> (c, , scales)',
        "ReduceMean <axes = [2, 3], keepdims = 1> (c)",
        "Softmax <axis = 1> (c)",
        'Pad <mode = "reflect"> (c, border)',
    ],
)
def test_what_follows_a_convolution(pool) -> None:
    weights = {
        "w": normal(20, 6, 1, 1),
        "scales": np.array([1, 1, 2, 3], np.float32),
        "border": np.array([0, 0, 1, 2, 0, 0, 0, 1]),
    }
    used = {name: values for name, values in weights.items() if name == "w" or name in pool}
    check(
        f"""<ir_version: 8, opset_import: ["" : 13]>
        g (float[N, 6, 9, 8] x) => (float[] y) {{
            c = Conv <kernel_shape = [1, 1]> (x, w)
            y = {pool}
        }}""",
        used,
        {"x": normal(2, 6, 9, 8)},
    )


@pytest.mark.parametrize(
    "steps",
    [
        "s = Sigmoid(c) y = Mul(c, s)",
        "t = Tanh(c) y = Add(t, z)",
        "t = HardSwish(c) y = Mul(t, scale)",
        "t = PRelu(c, scale) u = Clip(t, low, high) y = Sub(u, z)",
        "t = Elu <alpha = 0.5> (c) y = Div(t, per_image)",
        "t = Add(c, z) y = Relu(t) u = Neg(t)",
        "t = Mul(z, c) y = Add(map, t)",
        "m = GlobalAveragePool(c) s = Sigmoid(m) y = Mul(c, s)",
        "t = Concat <axis = 1> (c, z, c) y = Relu(t)",
        "p, q = Split <axis = 1> (c, halves) t = Add(p, q) y = Concat <axis = 1> (q, t, p)",
        "t = Gather <axis = 1> (c, order) y = Conv <kernel_shape = [3, 3], group = 2> (t, v)",
        "t = Gather <axis = 2> (c, rows) y = Relu(t)",
        "t = Gather <axis = 1> (c, some) y = Relu(t)",
        "p = Slice(c, low_p, high_p, axes) q = Slice(c, low_q, high_q, axes) "
        "y = Concat <axis = 1> (p, q)",
        "p = Slice(c, low_p, high_p, axes) q = Slice(c, low_q, high_q, axes) s = Relu(q) "
        "t = Concat <axis = 1> (q, s, p, c) y = Conv <kernel_shape = [3, 3], group = 90> (t, lone)",
        "t = Flatten(c) y = Gemm <transB = 1> (t, matrix, bias)",
        "p = GlobalAveragePool(c) t = Flatten(p) y = MatMul(t, n)",
    ],
)
def test_chains_joins_and_views(steps) -> None:
    order = np.random.default_rng(3).permutation(36)
    weights = {
        "w": normal(36, 6, 3, 3),
        "scale": normal(36, 1, 1),
        "map": normal(36, 5, 6),
        "low": np.float32(-0.5),
        "high": np.float32(1.5),
        "halves": np.array([16, 20]),
        "order": order,
        "some": np.array([5, 30, -31, 17]),
        "axes": np.array([1]),
        **{f"low_{name}": np.array([at]) for name, at in (("p", 16), ("q", 3))},
        **{f"high_{name}": np.array([at]) for name, at in (("p", 30), ("q", 23))},
        "rows": np.array([3, 0, 1]),
        "lone": normal(90, 1, 3, 3),
        "v": normal(8, 18, 3, 3),
        "matrix": normal(10, 36 * 30),
        "bias": normal(10),
        "n": normal(36, 10),
    }
    if "Split" in steps:
        weights["halves"] = np.array([18, 18])
    names = set(steps.replace("(", " ").replace(")", " ").replace(",", " ").split())
    extra = ", float[] u" if "u = Neg" in steps else ""
    check(
        f"""g (float[N, 6, 5, 6] x, float[N, 36, 5, 6] z, float[N, 1, 1, 1] per_image)
            => (float[] y{extra}) {{
            c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)
            {steps}
        }}""",
        {key: values for key, values in weights.items() if key == "w" or key in names},
        {"x": normal(2, 6, 5, 6), "z": normal(2, 36, 5, 6), "per_image": normal(2, 1, 1, 1)},
    )


def test_nan_passes_through_activations() -> None:
    feeds = {"x": np.array([[[[np.nan, 1, -2, np.inf]]]], np.float32)}
    check(
        """g (float[1, 1, 1, 4] x) => (float[] y) {
            c = Conv <kernel_shape = [1, 1]> (x, w)
            y = Relu(c)
        }""",
        {"w": np.ones((16, 1, 1, 1), np.float32)},
        feeds,
    )


def test_sigmoid_makes_no_denormals() -> None:
    model = model_of(
        "g (float[1, 16, 2, 2] x) => (float[] y) { g = GlobalMaxPool(x) y = Sigmoid(g) }"
    )
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1)
    found = compiled({"x": np.full((1, 16, 2, 2), -95, np.float32)})["y"]
    assert (found > np.finfo(np.float32).tiny).all()
    assert (found < 1e-16).all()


def test_a_dynamic_batch_takes_any_size() -> None:
    model = model_of(
        """g (float[N, 3, 9, 9] x) => (float[N, 5] y) {
            c = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)
            r = Relu(c)
            d = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (r, v)
            p = GlobalAveragePool(d)
            y = Flatten(p)
        }""",
        {"w": normal(20, 3, 3, 3), "v": normal(5, 20, 3, 3)},
    )
    compiled = planish.lower(planish.load(model), backend="tvm", threads=2)
    for batch in (1, 3, 8):
        feeds = {"x": normal(batch, 3, 9, 9)}
        assert relative_error(run_ort(model, feeds)["y"], compiled(feeds)["y"]) <= TOLERANCE


@settings(max_examples=examples(8))
@given(case=networks())
def test_random_networks(case) -> None:
    _check_random(case)


@pytest.mark.slow
@settings(max_examples=examples(100))
@given(case=networks())
def test_random_networks_at_length(case) -> None:
    _check_random(case)


def _check_random(case) -> None:
    graph = planish.load(case.model)
    feeds = {  # what fused arithmetic makes of infinity is held in the tests of passes
        name: np.nan_to_num(values, nan=0.0, posinf=9.0, neginf=-9.0).astype(values.dtype)
        for name, values in case.feeds.items()
    }
    expected = run_ort(case.model, feeds)
    found = planish.lower(graph, backend="tvm", threads=1)(feeds)
    assert expected.keys() == found.keys()
    worst = max(relative_error(values, found[name]) for name, values in expected.items())
    if worst > TOLERANCE:
        assert worst <= 10 * measure_rounding(graph, [feeds], [expected], seed=0)
