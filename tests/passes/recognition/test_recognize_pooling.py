"""Global pooling from reductions and windows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import planish

from tests.effort import examples
from tests.helpers import assert_left_alone, assert_same_function, model_of, ops, reasons, run_pass
from tests.passes.test_properties import _SETTINGS, _check
from tests.strategies import networks
from tests.strategies.recognition import pooling

PASS = "recognize-pooling"
X = np.random.default_rng(0).standard_normal((2, 3, 4, 5)).astype(np.float32)
AXES = {
    name: np.array(values, np.int64)
    for name, values in {
        "hw": [2, 3], "wh": [-1, -2], "h": [2], "w": [3], "c": [1], "chw": [1, 2, 3],
        "flat": [0, 3, -1], "flat_c": [-1, 3, 20], "other": [0, 5, 12],
    }.items()
}  # fmt: skip


def model(body, kind="float[N, 3, 4, 5]", opset=18):
    weights = {k: v for k, v in AXES.items() if f", {k})" in body}
    shape = "float[A, B]" if body.endswith(" ") else "float[A, B, C, D]"
    return model_of(
        f'<ir_version: 8, opset_import: ["" : {opset}]>\ng ({kind} x) => ({shape} y) {{ {body} }}',
        weights,
    )


DROP = "<keepdims = 0>"
FIRES = {
    "mean": (18, "y = ReduceMean(x, hw)", ["GlobalAveragePool"]),
    "mean, counted from the end": (18, "y = ReduceMean(x, wh)", ["GlobalAveragePool"]),
    "mean as attribute": (13, "y = ReduceMean <axes = [2, 3]> (x)", ["GlobalAveragePool"]),
    "one after the other": (18, "a = ReduceMean(x, h) y = ReduceMean(a, w)", ["GlobalAveragePool"]),
    "dropped": (18, f"y = ReduceMean {DROP} (x, hw) ", ["GlobalAveragePool", "Flatten"]),
    "dropped, width first": (
        18,
        f"a = ReduceMean {DROP} (x, w) y = ReduceMean {DROP} (a, h) ",
        ["GlobalAveragePool", "Flatten"],
    ),
    "dropped, height first": (
        18,
        f"a = ReduceMean {DROP} (x, h) y = ReduceMean {DROP} (a, h) ",
        ["GlobalAveragePool", "Flatten"],
    ),
    "of joined positions": (
        18,
        f"a = Reshape(x, flat) y = ReduceMean {DROP} (a, h) ",
        ["GlobalAveragePool", "Flatten"],
    ),
    "of joined positions, batch inferred": (
        18,
        f"a = Reshape(x, flat_c) y = ReduceMean {DROP} (a, h) ",
        ["GlobalAveragePool", "Flatten"],
    ),
    "average window": (18, "y = AveragePool <kernel_shape = [4, 5]> (x)", ["GlobalAveragePool"]),
    "maximum window": (
        18,
        "y = MaxPool <kernel_shape = [4, 5], strides = [4, 5], pads = [0, 0, 0, 0]> (x)",
        ["GlobalMaxPool"],
    ),
    "empty auto_pad": (
        18,
        'y = MaxPool <kernel_shape = [4, 5], auto_pad = ""> (x)',
        ["GlobalMaxPool"],
    ),
}


@pytest.mark.parametrize("kind", ["float[N, 3, 4, 5]", "float[2, 3, 4, 5]"])
@pytest.mark.parametrize(("opset", "body", "found"), FIRES.values(), ids=FIRES)
def test_fires(opset, body, found, kind):
    given_model = model(body, kind, opset)
    result = run_pass(planish.load(given_model), PASS)
    assert ops(result.graph) == found
    assert_same_function(given_model, result.graph, {"x": X}, 1e-6)


STAYS = {
    "of channels": ("y = ReduceMean(x, c)", None),
    "of one axis": ("y = ReduceMean(x, w)", None),
    "of channels too": ("y = ReduceMean(x, chw)", None),
    "maximum, which passes NaN on": ("y = ReduceMax(x, hw)", None),
    "maximum of means": ("a = ReduceMean(x, h) y = ReduceMax(a, w)", None),
    "mixed": (f"a = ReduceMean {DROP} (x, w) y = ReduceMean(a, h) ", None),
    "other positions": (f"a = Reshape(x, other) y = ReduceMean {DROP} (a, h) ", None),
    "smaller window": ("y = AveragePool <kernel_shape = [4, 4]> (x)", None),
    "padded window": (
        "y = AveragePool <kernel_shape = [4, 5], pads = [1, 1, 1, 1], count_include_pad = 1> (x)",
        "its window covers all of its input, but padding too",
    ),
    "same": (
        'y = MaxPool <kernel_shape = [4, 5], auto_pad = "SAME_UPPER"> (x)',
        "its window covers all of its input, but padding too",
    ),
}


@pytest.mark.parametrize(("body", "reason"), STAYS.values(), ids=STAYS)
def test_leaves_alone(body, reason):
    result = run_pass(planish.load(model(body)), PASS)
    assert result.edits == 0
    assert reasons(result) == ({reason} if reason else set())


def test_the_first_mean_is_read_elsewhere():
    given_model = model_of(
        """g (float[2, 3, 4, 5] x) => (float[2, 3, 1, 1] y, float[2, 3, 1, 5] a)
        { a = ReduceMean(x, h) y = ReduceMean(a, w) }""",
        {"h": AXES["h"], "w": AXES["w"]},
    )
    result = run_pass(planish.load(given_model), PASS)
    assert result.edits == 0
    assert reasons(result) == {"the result of ReduceMean inside it is read elsewhere too"}


def test_the_mean_of_features_of_tokens_stays():
    given_model = model_of(
        "g (float[2, 3, 4] x) => (float[2, 3, 1] y) { y = ReduceMean(x, h) }", {"h": AXES["h"]}
    )
    assert run_pass(planish.load(given_model), PASS).edits == 0


def test_integers_stay():
    given_model = model_of(
        "g (int32[2, 3, 4, 5] x) => (int32[2, 3, 1, 1] y) { y = ReduceMax(x, hw) }",
        {"hw": AXES["hw"]},
    )
    assert run_pass(planish.load(given_model), PASS).edits == 0


def test_the_indices_of_a_window_are_asked_for():
    given_model = model_of(
        """g (float[2, 3, 4, 5] x) => (float[2, 3, 1, 1] y, int64[2, 3, 1, 1] i)
        { y, i = MaxPool <kernel_shape = [4, 5]> (x) }"""
    )
    result = run_pass(planish.load(given_model), PASS)
    assert result.edits == 0
    assert reasons(result) == {"its indices are asked for"}


@given(case=networks(patterns=(pooling,)))
@settings(_SETTINGS, max_examples=examples(40))
def test_random_networks(case):
    _check(case, PASS)


@pytest.mark.parametrize("body", ["ReduceMean<axes = [2, 3]>", "MaxPool<kernel_shape = [4, 5]>"])
def test_float64_stays(body):
    given_model = model_of(
        f"""<ir_version: 8, opset_import: ["" : 17]>
        g (double[N, 3, 4, 5] x) => (double[N, 3, 1, 1] y) {{ y = {body}(x) }}"""
    )
    result = run_pass(planish.load(given_model), "recognize-pooling")
    assert result.edits == 0
    x = np.linspace(-1, 1, 120).reshape(2, 3, 4, 5)
    assert_same_function(given_model, result.graph, {"x": x}, 0)


def test_the_mean_of_no_elements_stays():
    model = model_of(
        "g (float[2, 4, 3, 0] x) => (float[] y) { y = ReduceMean <keepdims = 1> (x, a) }",
        {"a": np.array([2, 3])},
    )
    reason = "its input may have no elements, of which pooling has no mean"
    assert_left_alone(model, "recognize-pooling", reason)


def test_a_window_that_sizes_leave_without_pads_is_global():
    """A fused operator states its pads, and a portable file is read again."""
    model = model_of(
        """g (float[2, 2, 4, 4] x) => (float[] y) { c = Conv(x, w)
            y = MaxPool <kernel_shape = [2, 2], strides = [2, 2], auto_pad = "SAME_LOWER"> (c) }""",
        {"w": np.random.default_rng(0).standard_normal((2, 2, 3, 3)).astype(np.float32)},
    )
    graph = run_pass(planish.load(model), "exact").graph
    assert ops(graph) == ["ConvGlobalMaxPool"]
    portable = planish.to_model(graph, portable=True)
    assert not planish.Pipeline.parse("exact").run(planish.load(portable), verify="off").edits
    x = np.random.default_rng(1).standard_normal((2, 2, 4, 4)).astype(np.float32)
    assert_same_function(model, graph, {"x": x})


@pytest.mark.parametrize(("sizes", "edits"), [((2, 3, 4, 2, 3), 1), ((2, 3, 4, 2, 3, 2), 0)])
def test_no_more_axes_than_a_runtime_pools(sizes, edits):
    axes = {"k": np.arange(2, len(sizes))}
    source = model_of(
        f"g (float[{', '.join(map(str, sizes))}] x) => (float[] y) {{ y = ReduceMean(x, k) }}", axes
    )
    result = run_pass(planish.load(source), PASS)
    assert result.edits == edits
    x = np.random.default_rng(0).standard_normal(sizes).astype(np.float32)
    assert_same_function(source, result.graph, {"x": x}, 1e-6)
