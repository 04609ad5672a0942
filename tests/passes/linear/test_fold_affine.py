"""fold-affine: chains into the operator before them, chains on their own, and what stays."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings

import planish

from tests.effort import examples
from tests.helpers import (
    assert_left_alone,
    assert_same_function,
    graph_of,
    model_of,
    ops,
    reasons,
    run_pass,
)
from tests.passes.test_properties import _SETTINGS, _check
from tests.strategies import networks
from tests.strategies.affine import STEPS
from tests.work import calls_in

GENERATOR = np.random.default_rng(5)
PASS = "fold-affine"


def normal(*shape, dtype=np.float32):
    return GENERATOR.standard_normal(shape).astype(dtype)


def weights(channels=4, dtype=np.float32):
    return {
        "w": normal(channels, 3, 3, 3, dtype=dtype),
        "cb": normal(channels, dtype=dtype),
        "s": normal(channels, 1, 1, dtype=dtype),
        "t": normal(1, channels, 1, 1, dtype=dtype),
        "k": np.array(0.7, dtype),
        "one": np.array([-1.3], dtype),
        "gain": normal(channels, dtype=dtype),
        "bias": normal(channels, dtype=dtype),
        "mean": normal(channels, dtype=dtype),
        "var": GENERATOR.uniform(0.1, 2, channels).astype(dtype),
    }


X = "float[N, 3, 6, 5] x"
BN = "BatchNormalization({}, gain, bias, mean, var)"

CHAINS = {
    "x * s": "y = Mul(c, s)",
    "s * x": "y = Mul(s, c)",
    "x / s": "y = Div(c, s)",
    "x + t": "y = Add(c, t)",
    "t + x": "y = Add(t, c)",
    "x - t": "y = Sub(c, t)",
    "t - x": "y = Sub(t, c)",
    "-x": "y = Neg(c)",
    "scalar": "y = Mul(c, k)",
    "one value": "d = Add(c, one) y = Div(d, one)",
    "PaddleOCR": f"d = Mul(c, s) e = Add(d, t) f = Mul(e, k) h = Add(f, one) y = {BN.format('h')}",
    "BatchNormalization first": f"d = {BN.format('c')} e = Sub(k, d) y = Div(e, s)",
    "BatchNormalization between": f"d = Neg(c) e = {BN.format('d')} y = Mul(k, e)",
}


@pytest.mark.parametrize("conv_bias", ["", ", cb"])
@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_chains_after_a_convolution(chain, conv_bias):
    model = model_of(
        f"g ({X}) => (float[] y) {{ c = Conv <pads = [1, 1, 1, 1]> (x, w{conv_bias}) {chain} }}",
        weights(),
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Conv"]
    assert result.edits == 1
    assert_same_function(model, result.graph, {"x": normal(2, 3, 6, 5)}, 1e-6)


def test_a_scale_adds_no_bias():
    graph = graph_of(f"g ({X}) => (float[] y) {{ c = Conv(x, w) y = Mul(c, s) }}", weights())
    assert len(run_pass(graph, PASS).graph.nodes[0].inputs) == 2


@pytest.mark.parametrize("group", [1, 2])
def test_chain_after_a_transposed_convolution(group):
    values = {"w": normal(4, 6 // group, 2, 3), "s": normal(6, 1, 1), "t": normal(6, 1, 1)}
    model = model_of(
        f"""g (float[N, 4, 5, 4] x) => (float[] y) {{
            c = ConvTranspose <group = {group}, strides = [2, 1]> (x, w)
            d = Sub(c, t) y = Div(d, s) }}""",
        values,
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["ConvTranspose"]
    assert_same_function(model, result.graph, {"x": normal(2, 4, 5, 4)}, 1e-6)


@pytest.mark.parametrize(
    ("attributes", "transposed", "bias"),
    [
        ("alpha = 1.0", False, ""),
        ("alpha = 0.5, beta = 2.0", False, ", c"),
        ("transB = 1", True, ", c"),
    ],
)
@pytest.mark.parametrize("body", ["y = Add(h, b)", "i = Mul(h, s) y = Sub(b, i)"])
def test_gemm(attributes, transposed, bias, body):
    values = {
        "w": normal(5, 4) if transposed else normal(4, 5),
        "c": normal(1, 5),
        "s": normal(5),
        "b": normal(1, 5),
    }
    model = model_of(
        f"g (float[N, 4] x) => (float[] y) {{ h = Gemm <{attributes}> (x, w{bias}) {body} }}",
        values,
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Gemm"]
    assert_same_function(model, result.graph, {"x": normal(3, 4)}, 1e-6)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = Add(h, b)", ["MatMul", "Add"]),
        ("y = Add(b, h)", ["MatMul", "Add"]),
        ("y = Mul(h, s)", ["MatMul"]),
        ("y = Sub(h, b)", ["MatMul", "Add"]),
        ("y = Sub(b, h)", ["MatMul", "Add"]),
        ("i = Add(h, b) y = Mul(i, s)", ["MatMul", "Add"]),
        ("i = Mul(h, s) y = Add(i, b)", ["MatMul", "Add"]),
        ("i = Add(h, b) j = Div(i, s) k = Sub(b, j) y = Neg(k)", ["MatMul", "Add"]),
    ],
)
def test_matmul_keeps_an_add_for_its_bias(body, expected):
    values = {"w": normal(4, 5), "s": normal(5), "b": normal(5)}
    model = model_of(f"g (float[N, 7, 4] x) => (float[] y) {{ h = MatMul(x, w) {body} }}", values)
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == expected
    assert_same_function(model, result.graph, {"x": normal(3, 7, 4)}, 1e-6)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("y = Add(h, b)", ["MatMul", "Add"]),
        ("y = Sub(h, b)", ["Gemm"]),
        ("i = Mul(h, s) y = Add(i, b)", ["Gemm"]),
        ("i = Add(h, b) y = Mul(i, s)", ["Gemm"]),
    ],
)
def test_matmul_of_matrices(body, expected):
    values = {"w": normal(4, 5), "s": normal(5), "b": normal(5)}
    model = model_of(f"g (float[N, 4] x) => (float[] y) {{ h = MatMul(x, w) {body} }}", values)
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == expected
    assert_same_function(model, result.graph, {"x": normal(3, 4)}, 1e-6)


def test_both_passes_fold_a_chain_around_batchnorm():
    model = model_of(
        f"""g ({X}) => (float[] y) {{
            c = Conv(x, w) d = Mul(c, s) e = Add(d, t) y = {BN.format("e")} }}""",
        weights(),
    )
    for pipeline in ("fold-batchnorm", "fold-affine", "fold-affine,fold-batchnorm"):
        result = run_pass(planish.load(model), pipeline)
        assert ops(result.graph) == ["Conv"]
        assert_same_function(model, result.graph, {"x": normal(2, 3, 6, 5)}, 2e-6)


def test_a_batchnorm_alone_is_left_to_its_own_pass():
    graph = graph_of(f"g ({X}) => (float[] y) {{ c = Conv(x, w) y = {BN.format('c')} }}", weights())
    assert run_pass(graph, PASS).edits == 0


def test_equal_maps_of_one_result_are_folded_once():
    values = weights()
    values["s2"] = values["s"].copy()
    model = model_of(
        f"""g ({X}) => (float[] y, float[] z) {{
            c = Conv(x, w) d = Mul(c, s) z = Mul(s2, c) y = Relu(d) }}""",
        values,
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Conv", "Relu"]
    assert_same_function(model, result.graph, {"x": normal(2, 3, 6, 5)}, 1e-6)


def test_half_precision_rounds_a_chain_once():
    values = weights(dtype=np.float16)
    values["big"], values["small"] = np.array(3e4, np.float16), np.array(2e-4, np.float16)
    model = model_of(
        """g (float16[1, 3, 6, 5] x) => (float16[] y) {
            c = Conv(x, w) d = Mul(c, small) e = Mul(d, big) y = Add(e, t) }""",
        values,
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Conv"]
    assert {t.dtype for t in result.graph.nodes[0].inputs[1:]} == {np.dtype(np.float16)}
    feeds = {"x": normal(1, 3, 6, 5, dtype=np.float16)}
    assert_same_function(model, result.graph, feeds, 2e-3)  # `small` has few digits before


def test_shared_weights_are_not_overwritten():
    model = model_of(
        f"g ({X}) => (float[] y, float[] z) {{ c = Conv(x, w) y = Mul(c, s) z = Conv(x, w) }}",
        weights(),
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Conv", "Conv"]
    assert_same_function(model, result.graph, {"x": normal(2, 3, 6, 5)}, 1e-6)


def test_inside_a_subgraph():
    model = model_of(
        f"""g ({X}, bool p) => (float[] y) {{
            y = If (p) <then_branch = a () => (float[] u) {{ c = Conv(x, w) u = Mul(c, s) }},
                        else_branch = e () => (float[] v) {{ v = Conv(x, w) }}> }}""",
        weights(),
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph.nodes[0].attrs["then_branch"]) == ["Conv"]
    for p in (True, False):
        feeds = {"x": normal(2, 3, 6, 5), "p": np.array(p)}
        assert_same_function(model, result.graph, feeds, 1e-6)


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 15, 17, 22])
def test_opsets(opset):
    model = model_of(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[2, 3, 6, 5] x) => (float[M, 4, 4, 3] y) {{
            c = Conv(x, w) d = Div(c, s) y = Sub(t, d) }}""",
        weights(),
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Conv"]
    assert_same_function(model, result.graph, {"x": normal(2, 3, 6, 5)}, 1e-6)


DECLINED = {
    "the result of Conv has other readers": "y = Mul(c, s) z = Relu(c)",
    "the result of Conv has other readers, which scale and shift it otherwise": (
        "y = Mul(c, s) z = Mul(c, k)"
    ),
    "its constant is not one value per channel of Conv": "y = Mul(c, row) z = Relu(y)",
    "the folded weights are not finite": "y = Div(c, zero) z = Relu(y)",
    "the same map of the result of Conv is two graph outputs": "y = Mul(c, s) z = Mul(c, s)",
}


@pytest.mark.parametrize("reason", DECLINED)
def test_leaves_alone(reason):
    values = {**weights(), "row": normal(1, 3), "zero": np.zeros((4, 1, 1), np.float32)}
    text = f"g ({X}) => (float[] y, float[] z) {{ c = Conv(x, w) {DECLINED[reason]} }}"
    result = run_pass(graph_of(text, values), PASS, verify="off")
    assert result.edits == 0
    assert any(found.startswith(reason) for found in reasons(result)), reasons(result)


@pytest.mark.parametrize(
    "body",
    [
        "y = Mul(c, v)",  # not constant
        "y = Div(s, c)",  # not affine
        "y = Add(c, wide)",  # more axes than the convolution gives
    ],
)
def test_what_is_no_map_by_channel(body):
    text = f"g ({X}, float[4, 1, 1] v) => (float[] y) {{ c = Conv(x, w) {body} }}"
    graph = graph_of(text, {**weights(), "wide": normal(2, 1, 4, 1, 1)})
    assert run_pass(graph, PASS, verify="off").edits == 0


def test_one_channel_that_broadcasts_to_many_stays():
    model = model_of(
        f"g ({X}) => (float[] y) {{ c = Conv(x, w) y = Mul(c, s) }}",
        {"w": normal(1, 3, 3, 3), "s": normal(4, 1, 1)},
    )
    assert run_pass(planish.load(model), PASS).edits == 0


def test_overridable_constant_is_not_folded():
    text = f"g ({X}, float[4, 1, 1] s) => (float[] y) {{ c = Conv(x, w) y = Mul(c, s) }}"
    assert run_pass(graph_of(text, weights()), PASS).edits == 0


MERGED = {
    "Mul Add Mul Add": (
        "a = Mul(r, s) b = Add(a, t) c = Mul(k, b) y = Sub(one, c)",
        ["Mul", "Add"],
    ),
    "two scales": ("a = Mul(r, s) y = Div(a, k)", ["Mul"]),
    "two shifts": ("a = Add(r, t) y = Sub(a, k)", ["Add"]),
    "a scale undone": ("a = Mul(r, half) b = Add(a, t) y = Div(b, half)", ["Add"]),
    "a BatchNormalization takes the rest": (
        f"a = Mul(r, s) b = Sub(one, a) d = {BN.format('b')} y = Div(d, k)",
        ["BatchNormalization"],
    ),
    "two BatchNormalizations": (
        f"a = {BN.format('r')} y = {BN.format('a')}",
        ["BatchNormalization"],
    ),
    "already one Mul and one Add": ("a = Mul(r, s) y = Add(a, t)", ["Mul", "Add"]),
    "a mean and a deviation": ("a = Sub(r, t) y = Div(a, s)", ["Sub", "Div"]),
    "values by row and by channel": ("a = Mul(r, s) y = Mul(a, row)", ["Mul", "Mul"]),
}


@pytest.mark.parametrize(("body", "expected"), MERGED.values(), ids=MERGED)
@pytest.mark.parametrize("batch", ["N", "2"])
def test_chains_without_a_linear_operator(body, expected, batch):
    values = {**weights(), "half": np.array(0.5, np.float32), "row": normal(1, 5)}
    model = model_of(
        f"g (float[{batch}, 4, 6, 5] x) => (float[] y) {{ r = Relu(x) {body} }}", values
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Relu", *expected]
    assert_same_function(model, result.graph, {"x": normal(2, 4, 6, 5)}, 1e-6)


def test_what_is_written_has_names_and_types():
    body, left = MERGED["Mul Add Mul Add"]
    text = f"g (float[2, 4, 6, 5] x) => (float[] y) {{ r = Relu(x) {body} }}"
    _, scaled, shifted = run_pass(graph_of(text, weights()), PASS).graph.nodes
    assert [scaled.op, shifted.op] == left
    between = scaled.outputs[0]
    assert (between.name, between.dtype, list(between.shape)) == (
        "y_scaled",
        np.float32,
        [2, 4, 6, 5],
    )
    assert [each.inputs[1].name for each in (scaled, shifted)] == ["y_mul", "y_add"]


def test_neutral_chain_disappears():
    model = model_of(
        "g (float[N, 4] x) => (float[] y) { a = Neg(x) b = Mul(a, two) c = Div(b, two) d = Neg(c) "
        "y = Relu(d) }",
        {"two": np.full(4, 2, np.float32)},
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Relu"]
    assert_same_function(model, result.graph, {"x": normal(3, 4)}, 0)


@pytest.mark.parametrize(
    ("body", "left"),
    [
        ("a = Mul(x, c) b = Div(a, c) y = Mul(b, k)", ["Mul"]),
        ("a = Add(x, c) b = Sub(a, k) y = Mul(b, k)", ["Mul", "Add"]),
    ],
)
def test_constants_that_widen_the_result_keep_its_shape(body, left):
    model = model_of(
        f"g (float[N, 1, 5] x) => (float[] y) {{ {body} }}",
        {"c": np.full((4, 1), 2, np.float32), "k": np.array(3, np.float32)},
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == left
    assert_same_function(model, result.graph, {"x": normal(2, 1, 5)}, 1e-6)


def test_a_huge_offset_is_subtracted_first():
    """(x - 1000) * 2 + 1 * 2: multiplied first, the difference would lose its digits."""
    model = model_of(
        """g (float[N, 4, 6] x) => (float[] y) {
            r = Relu(x) a = Sub(r, far) b = Mul(a, k) y = Mul(b, k) }""",
        {"far": np.array(1000, np.float32), "k": np.array(2, np.float32)},
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Relu", "Sub", "Mul", "Mul"]
    assert "rounding would show" in " ".join(reasons(result))


def test_chain_read_in_the_middle():
    model = model_of(
        """g (float[N, 4, 6, 5] x) => (float[] y, float[] b) {
            r = Relu(x) a = Mul(r, s) b = Div(a, k) c = Add(b, t) y = Add(c, k) }""",
        weights(),
    )
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == ["Relu", "Mul", "Add"]
    assert_same_function(model, result.graph, {"x": normal(2, 4, 6, 5)}, 1e-6)


def test_long_chains_take_linear_work():
    work = []
    for count in (200, 400):
        body = "".join(f"t{i + 1} = Add(t{i}, one) " for i in range(count))
        model = model_of(
            f"g (float[N, 4, 6, 5] t0) => (float[] y) {{ {body} y = Relu(t{count}) }}",
            {"one": np.array(0.001, np.float32)},
        )
        run = partial(run_pass, planish.load(model), PASS, verify="off")
        work.append(calls_in(run))
        assert ops(run().graph) == ["Add", "Relu"]
    assert work[1] < 2.5 * work[0]


@pytest.mark.parametrize(
    "pipeline", [PASS, "fold-batchnorm", "repeat(fold-affine,fold-batchnorm,push-affine)"]
)
@given(case=networks(patterns=STEPS))
@settings(_SETTINGS, max_examples=examples(40))
def test_random_networks(pipeline, case):
    _check(case, pipeline)


def test_a_normalization_of_a_channel_spread_to_many_stays():
    given_model = model_of(
        """g (float[N, 1, 4, 4] x) => (float[N, 3, 4, 4] y) {
            a = Mul(x, c)
            y = BatchNormalization(a, s, s, s, v)
        }""",
        {"c": normal(1, 3, 1, 1), "s": normal(3), "v": np.array([0.5, 1, 2], np.float32)},
    )
    result = run_pass(planish.load(given_model), "fold-affine")
    assert ops(result.graph) == ["Mul", "BatchNormalization"]
    assert_same_function(given_model, result.graph, {"x": normal(2, 1, 4, 4)}, 0)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_chain_on_a_single_number(dtype):
    kind = {"float64": "double", "float32": "float"}.get(np.dtype(dtype).name, "float16")
    model = model_of(
        f"g ({kind} x) => ({kind}[] y) {{ a = Mul(c, x) y = Mul(a, d) }}",
        {"c": np.array(0.3, dtype), "d": np.array(2, dtype)},
    )
    result = run_pass(graph := planish.load(model), PASS)
    assert len(ops(result.graph)) < len(ops(graph))
    assert_same_function(model, result.graph, {"x": np.array(0.7, dtype)}, 1e-3)


def test_a_convolution_without_channels_stays():
    model = model_of(
        "g (float[2, 0, 3, 3] x) => (float[] y) { c = Conv(x, w) y = Mul(c, s) }",
        {"w": normal(4, 0, 1, 1), "s": normal(4, 1, 1)},
    )
    assert_left_alone(model, PASS, "the weight of Conv has no elements")


SUBTRACTED = {
    "Conv": ("h = Conv(x, w, b) y = Sub(x, h)", ["Conv", "Add"]),
    "Conv, without bias": ("h = Conv(x, w) y = Sub(x, h)", ["Conv", "Add"]),
    "ConvTranspose": ("h = ConvTranspose(x, w, b) y = Sub(x, h)", ["ConvTranspose", "Add"]),
    "of two": ("g = Conv(x, v) h = Conv(x, w, b) y = Sub(g, h)", ["Conv", "Conv", "Add"]),
    "from one row": ("h = Conv(x, w, b) y = Sub(c, h)", ["Conv"]),
    "broadcast": ("g = ReduceMax(x) h = Conv(x, w, b) y = Sub(g, h)", ["ReduceMax", "Conv", "Add"]),
    "MatMul": ("h = MatMul(x, m) y = Sub(x, h)", ["MatMul", "Add"]),
    "MatMul and its bias": (
        "h = MatMul(x, m) i = Add(h, d) y = Sub(x, i)", ["MatMul", "Add", "Add"]),
    "chain": (
        "h = Conv(x, w, b) i = Sub(x, h) j = Conv(i, v) y = Sub(i, j)",
        ["Conv", "Add", "Conv", "Add"]),
}  # fmt: skip
NOT_SUBTRACTED = {
    "the minuend": ("h = Conv(x, w, b) y = Sub(h, x)", ["Conv", "Sub"]),
    "read elsewhere": ("h = Conv(x, w, b) i = Sub(x, h) y = Mul(i, h)", ["Conv", "Sub", "Mul"]),
    "from itself": ("h = Conv(x, w, b) y = Sub(h, h)", ["Conv", "Sub"]),
    "computed weights": (
        "u = Relu(w) k = Mul(u, x1) h = Conv(x, k) y = Sub(x, h)",
        ["Relu", "Mul", "Conv", "Sub"]),
}  # fmt: skip


def difference(body, inputs="float[N, 4, 4, 4] x"):
    values = {
        "w": normal(4, 4, 1, 1), "v": normal(4, 4, 1, 1), "b": normal(4), "c": normal(4, 1, 1),
        "m": normal(4, 4), "d": normal(4),
    }  # fmt: skip
    words = set(re.findall(r"\w+", body))
    return model_of(
        f'<ir_version: 8, opset_import: ["" : 17]> g ({inputs}) => (float[] y) {{ {body} }}',
        {name: held for name, held in values.items() if name in words},
    )


@pytest.mark.parametrize(("body", "left"), SUBTRACTED.values(), ids=SUBTRACTED)
def test_a_layer_that_is_subtracted_is_negated_and_added(body, left):
    model = difference(body)
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == left
    assert_same_function(model, result.graph, {"x": normal(2, 4, 4, 4)}, 1e-6)


@pytest.mark.parametrize(("body", "left"), NOT_SUBTRACTED.values(), ids=NOT_SUBTRACTED)
def test_a_difference_stays_one_otherwise(body, left):
    inputs = "float[N, 4, 4, 4] x" + (", float[1] x1" if "x1" in body else "")
    model = difference(body, inputs)
    result = run_pass(planish.load(model), PASS)
    assert [op for op in ops(result.graph) if op != "Relu"] == [op for op in left if op != "Relu"]
    feeds = {"x": normal(2, 4, 4, 4)} | ({"x1": normal(1)} if "x1" in body else {})
    assert_same_function(model, result.graph, feeds, 0)


@pytest.mark.parametrize(
    "body", ["h = Conv(x, w, b) s = Sub(x, h)", "h = Conv(x, w) s = Sum(x, h)"]
)
@pytest.mark.parametrize("order", ["as it is", "exchanged"])
def test_differences_and_sums_of_two_are_fused_as_residuals_are(body, order):
    if order == "exchanged" and "Sum" in body:
        body = body.replace("Sum(x, h)", "Sum(h, x)")
    if order == "exchanged" and "Sub" in body:
        body = "g = Conv(x, v) r = Relu(g) h = Conv(x, w, b) s = Sub(r, h)"
    model = difference(f"{body} y = Relu(s)")
    result = run_pass(planish.load(model), "fold-affine,fuse-conv-activation")
    assert "ConvAddRelu" in ops(result.graph)
    assert_same_function(model, result.graph, {"x": normal(2, 4, 4, 4)}, 1e-6)


@pytest.mark.parametrize("count", [1, 3])
def test_a_sum_of_two_alone_is_an_add(count):
    tensors = ", ".join(["x", "r", "q"][:count])
    model = difference(f"r = Relu(x) q = Neg(x) s = Sum({tensors}) t = Relu(s) y = Sub(t, r)")
    result = run_pass(planish.load(model), PASS)
    assert "Sum" in ops(result.graph)
    assert_same_function(model, result.graph, {"x": normal(2, 4, 4, 4)}, 0)


@pytest.mark.parametrize("body", ["i = Sub(h, d)", "i = Sub(d, h)"])
def test_what_a_matmul_is_subtracted_from_is_its_bias_to_all(body):
    body = f"h = MatMul(x, m) {body} y = MatMul(i, n)"
    values = {"m": normal(4, 8), "d": normal(8), "n": normal(8, 3)}
    model = model_of(f"g (float[N, 7, 4] x) => (float[] y) {{ {body} }}", values)
    result = run_pass(planish.load(model), "fold-affine,compose-linear")
    assert ops(result.graph) == ["MatMul", "Add"]
    assert_same_function(model, result.graph, {"x": normal(2, 7, 4)}, 1e-5)
