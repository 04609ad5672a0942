"""push-affine: maps into the operators after them, borders, what stays, and the numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

import planish

from tests.effort import examples
from tests.helpers import assert_same_function, graph_of, model_of, ops, reasons, run_pass
from tests.passes.linear.push_affine.common import (
    BN,
    NORMALIZED,
    PASS,
    C,
    check,
    normal,
    weights,
)
from tests.passes.test_properties import _SETTINGS, _check
from tests.strategies import networks
from tests.strategies.affine import STEPS

ABSORBED = {
    "Conv": ("y = Conv(z, w)", ["Conv"]),
    "Conv with bias": ("y = Conv(z, w, cb)", ["Conv"]),
    "Conv without padding": ('y = Conv <auto_pad = "VALID"> (z, w)', ["Conv"]),
    "1x1 in place": ('y = Conv <auto_pad = "SAME_UPPER"> (z, w1)', ["Conv"]),
    "depthwise": ("y = Conv <group = 6, strides = [2, 1]> (z, depthwise)", ["Conv"]),
    "grouped": ("y = Conv <group = 2, dilations = [2, 1]> (z, grouped, cb)", ["Conv"]),
    "Flatten and Gemm": ("f = Flatten(z) y = Gemm(f, flat, mb)", ["Flatten", "Gemm"]),
    "Reshape and transposed Gemm": (
        "f = Reshape(z, shape) y = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (f, flat_t, mb)",
        ["Reshape", "Gemm"],
    ),
    "Flatten and MatMul": ("f = Flatten(z) y = MatMul(f, flat)", ["Flatten", "Gemm"]),
    "pooled head": (
        "p = GlobalAveragePool(z) f = Flatten(p) h = MatMul(f, m) y = Add(mb, h)",
        ["GlobalAveragePool", "Flatten", "Gemm"],
    ),
    "mean head": (
        "p = ReduceMean <keepdims = 0> (z, axes) y = Gemm(p, m)",
        ["ReduceMean", "Gemm"],
    ),
    "AveragePool that leaves pads out": (
        "p = AveragePool <kernel_shape = [2, 2], pads = [1, 1, 1, 1]> (z) y = Conv(p, w)",
        ["AveragePool", "Conv"],
    ),
    "AveragePool without pads": (
        "p = AveragePool <kernel_shape = [2, 2], count_include_pad = 1> (z) y = Conv(p, w)",
        ["AveragePool", "Conv"],
    ),
    "two convolutions": (
        "p = Conv(z, w) q = Conv(z, w, cb) y = Add(p, q)",
        ["Conv", "Conv", "Add"],
    ),
    "last axis": (
        "u = Transpose <perm = [0, 2, 3, 1]> (z) h = MatMul(u, m) y = Add(h, mb)",
        ["Transpose", "MatMul", "Add"],
    ),
}


@pytest.mark.parametrize("before", [BN, NORMALIZED], ids=["BatchNormalization", "Sub Div"])
@pytest.mark.parametrize(("body", "expected"), ABSORBED.values(), ids=ABSORBED)
@pytest.mark.parametrize("batch", ["N", "1"])
def test_every_output_sees_every_tap(before, body, expected, batch):
    result = check(f"{before} {body}", expected, size=f"{batch}, 6, 7, 5")
    assert result.edits == 1


def test_the_operator_before_is_preferred():
    values = {**weights(), "w0": normal(6, 6, 1, 1)}
    text = f"g (float[N, 6, 7, 5] x0) => (float[] y) {{ x = Conv(x0, w0) {BN} y = Conv(z, w) }}"
    result = run_pass(graph_of(text, values), PASS)
    assert result.edits == 0
    assert reasons(result) == {"the linear operator before it can take it in"}
    assert ops(run_pass(graph_of(text, values), f"fold-batchnorm,{PASS}").graph) == ["Conv", "Conv"]


def test_a_shared_result_before_goes_forward():
    model = model_of(
        f"""g (float[N, 6, 7, 5] x0) => (float[] y, float[] r) {{
            x = Conv(x0, w0) {BN} y = Conv(z, w) r = Relu(x) }}""",
        {**weights(), "w0": normal(6, 6, 1, 1)},
    )
    result = run_pass(planish.load(model), f"fold-batchnorm,fold-affine,{PASS}")
    assert sorted(ops(result.graph)) == ["Conv", "Conv", "Relu"]
    assert_same_function(model, result.graph, {"x0": normal(2, 6, 7, 5)}, 3e-6)


def test_a_chain_read_in_the_middle_is_pushed_from_there_on():
    model = model_of(
        "g (float[N, 6, 7, 5] x) => (float[] y, float[] o) { a = Sub(x, t) z = Div(a, s) "
        "y = Conv(z, w) o = Relu(a) }",
        weights(),
    )
    result = run_pass(planish.load(model), PASS)
    assert sorted(ops(result.graph)) == ["Conv", "Relu", "Sub"]
    assert_same_function(model, result.graph, {"x": normal(2, 6, 7, 5)}, 3e-6)


def test_channels_last_input():
    check(
        "c = Sub(x, v) z = Mul(c, v) u = Transpose <perm = [0, 3, 1, 2]> (z) y = Conv(u, w)",
        ["Transpose", "Conv"],
        size="N, 7, 5, 6",
        v=normal(6),
    )


def test_matmul_of_sequences():
    values = {"v": normal(6), "u": normal(1, 1, 6)}
    chain = "a = Sub(x, v) b = Mul(a, u) z = Add(b, v)"
    check(f"{chain} y = MatMul(z, m)", ["MatMul", "Add"], size="N, 7, 6", **values)
    check(f"{chain} h = MatMul(z, m) y = Add(h, mb)", ["MatMul", "Add"], size="N, 7, 6", **values)
    check("z = Mul(x, v) y = MatMul(z, m)", ["MatMul"], size="N, 7, 6", **values)
    check("z = Add(x, v) y = MatMul(z, m)", ["MatMul", "Add"], size="N, 7, 6", **values)
    wide = normal(6, 20)
    check("z = Add(x, v) y = MatMul(z, wide)", ["Add", "MatMul"], "N, 7, 6", wide=wide, **values)


def test_maxpool_needs_positive_scales():
    pooled = "p = MaxPool <kernel_shape = [2, 2], pads = [1, 0, 0, 1]> (z) y = Conv(p, w)"
    check(f"{BN} {pooled}", ["MaxPool", "Conv"], gain=np.abs(normal(C)) + 0.1)
    gain = np.abs(normal(C)) + 0.1
    gain[3] *= -1
    result = check(f"{BN} {pooled}", ["BatchNormalization", "MaxPool", "Conv"], gain=gain)
    assert reasons(result) == {"MaxPool reads it, and a scale is not positive"}


def test_half_precision():
    model = model_of(
        "g (float16[1, 6, 15, 13] x) => (float16[] y) { c = Sub(x, t) z = Div(c, s) "
        "y = Conv <strides = [2, 2], pads = [1, 1, 1, 1]> (z, w) }",
        weights(np.float16),
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Conv", "Add"]
    feeds = {"x": normal(1, 6, 15, 13, dtype=np.float16)}
    assert_same_function(model, result.graph, feeds, 2e-3)


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 15, 17, 22])
def test_opsets(opset):
    model = model_of(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[2, 6, 7, 5] x) => (float[2, 5] y) {{
            c = Div(x, s) z = Sub(k, c) p = GlobalAveragePool(z) f = Flatten(p)
            y = Gemm(f, m, mb) }}""",
        weights(),
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["GlobalAveragePool", "Flatten", "Gemm"]
    assert_same_function(model, result.graph, {"x": normal(2, 6, 7, 5)}, 3e-6)


def test_reducemean_with_attribute_axes():
    model = model_of(
        f"""<ir_version: 8, opset_import: ["" : 13]>
        g (float[2, 6, 7, 5] x) => (float[2, 5] y) {{
            {BN} p = ReduceMean <axes = [-1, -2], keepdims = 0> (z) y = MatMul(p, m) }}""",
        weights(),
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["ReduceMean", "Gemm"]
    assert_same_function(model, result.graph, {"x": normal(2, 6, 7, 5)}, 3e-6)


def test_inside_a_subgraph_with_shared_weights():
    model = model_of(
        f"""g (float[N, 6, 7, 5] x, bool p) => (float[] y) {{
            y = If (p) <then_branch = a () => (float[] u) {{ {BN} u = Conv(z, w) }},
                        else_branch = e () => (float[] v) {{ v = Conv(x, w) }}> }}""",
        weights(),
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph.nodes[0].attrs["then_branch"]) == ["Conv"]
    for p in (True, False):
        feeds = {"x": normal(2, 6, 7, 5), "p": np.array(p)}
        assert_same_function(model, result.graph, feeds, 3e-6)


DECLINED = {
    "its result is a graph output": ("z = Mul(x, s) y = Conv(z, w)", "z"),
    "Relu reads it and cannot take it in": ("z = Mul(x, s) y = Conv(z, w) o = Relu(z)", "o"),
    "the result of GlobalAveragePool has other readers": (
        "z = Mul(x, s) y = Conv(z, w) p = GlobalAveragePool(z) q = Conv(p, w1) o = Relu(p)",
        "o, float[] q"),
    "a subgraph reads its result": (
        "z = Mul(x, s) y = Conv(z, w) o = If (flag) <then_branch = a () => (float[] u) "
        "{ u = Conv(z, w) }, else_branch = b () => (float[] v) { v = Conv(z, w) }>", "o"),
    "the weight of Conv is not constant": ("z = Mul(x, s) y = Conv(z, free) o = Relu(x)", "o"),
    "it is the weight or the bias of Conv": (
        "z = Mul(x, s) y = Conv(z, w) o = Conv(x, z)", "o"),
    "its constant is not one value per channel": (
        "z = Mul(x, row) y = Conv(z, w) o = Relu(x)", "o"),
    "its channels are not what the layers sum over": (
        "z = Mul(x, s) y = MatMul(z, n) o = Conv(z, w)", "o"),
    "Gemm reads it transposed": (
        "z = Mul(matrix, k) y = Gemm <transA = 1> (z, w2) o = Relu(x)", "o"),
    "a scale of zero keeps the shift": (
        "a = Mul(x, zero) z = Add(a, t) y = Conv <pads = [7, 7, 7, 7]> (z, w) o = Relu(x)", "o"),
    "rounding would show": ("z = Sub(x, far) y = Conv(z, w) o = Relu(x)", "o"),
    "the folded weights are not finite": ("z = Mul(x, huge) y = Conv(z, w) o = Relu(x)", "o"),
    "its running statistics are read": (
        "z, o, q = BatchNormalization (x, gain, bias, mean, var) y = Conv(z, w)", "o"),
}  # fmt: skip


@pytest.mark.parametrize("reason", DECLINED)
def test_leaves_alone(reason):
    body, output = DECLINED[reason]
    values = {
        **weights(),
        "row": normal(1, 5),
        "n": normal(5, 3),
        "w2": normal(4, 3),
        "zero": np.zeros((6, 1, 1), np.float32),
        "far": np.array(1e4, np.float32),
        "huge": np.array(3e38, np.float32),
    }
    values["w"] = 4 * values["w"]
    head = "float[N, 6, 7, 5] x, float[4, 6, 3, 3] free, bool flag, float[4, 4] matrix"
    result = run_pass(
        graph_of(f"g ({head}) => (float[] y, float[] {output}) {{ {body} }}", values),
        PASS,
        verify="off",
    )
    assert result.edits == 0
    assert any(reason in found for found in reasons(result)), reasons(result)


@pytest.mark.parametrize(
    "body",
    [
        "z = Mul(x, v) y = Conv(z, w)",  # not constant
        "z = Div(s, x) y = Conv(z, w)",  # not affine
        "z = Mul(x, s) y = Relu(z)",  # nothing to push into
    ],
)
def test_what_is_no_candidate(body):
    text = f"g (float[N, 6, 7, 5] x, float[6, 1, 1] v) => (float[] y) {{ {body} }}"
    result = run_pass(graph_of(text, weights()), PASS, verify="off")
    assert result.edits == 0
    assert not reasons(result)


@pytest.mark.parametrize("size", ["N, 1, 7, 5", "N, C, 7, 5"])
def test_one_channel_that_may_broadcast_to_many_stays(size):
    text = f"g (float[{size}] x) => (float[] y) {{ z = Mul(x, s) y = Conv(z, w) }}"
    assert run_pass(graph_of(text, weights()), PASS, verify="off").edits == 0


def test_average_that_includes_padding_stays():
    pool = "AveragePool <kernel_shape = [2, 2], pads = [1, 1, 1, 1], count_include_pad = 1>"
    text = (
        f"g (float[N, 6, 7, 5] x) => (float[] y) {{ z = Add(x, t) p = {pool} (z) y = Conv(p, w) }}"
    )
    assert run_pass(graph_of(text, weights()), PASS).edits == 0


@given(case=networks(patterns=STEPS))
@settings(_SETTINGS, max_examples=examples(60))
def test_random_networks(case):
    _check(case, PASS)


def test_a_constant_of_one_value_that_adds_an_axis_stays():
    given_model = model_of(
        """g (float[4] x) => (float[1, 2] y) {
            a = MatMul(x, w)
            b = Add(a, c)
            d = Mul(b, k)
            y = MatMul(d, v)
        }""",
        {"w": normal(4, 5), "c": normal(1, 1), "k": normal(5), "v": normal(5, 2)},
    )
    result = run_pass(planish.load(given_model), PASS)
    assert ops(result.graph) == ["MatMul", "Add", "MatMul"]
    assert_same_function(given_model, result.graph, {"x": normal(4)})
