"""fold-batchnorm: where it fires, what it leaves alone and why, and the numbers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import planish

from tests.helpers import (
    assert_same_function,
    conv_batchnorm,
    graph_of,
    model_of,
    ops,
    reasons,
    run_pass,
)

GENERATOR = np.random.default_rng(3)


def normal(*shape, dtype=np.float32):
    return GENERATOR.standard_normal(shape).astype(dtype)


def statistics(channels, dtype=np.float32):
    return {
        "s": normal(channels, dtype=dtype),
        "h": normal(channels, dtype=dtype),
        "m": normal(channels, dtype=dtype),
        "v": GENERATOR.uniform(0.01, 2, channels).astype(dtype),
    }


def check_folds(model, feeds, expected, tolerance=1e-5):
    result = run_pass(planish.load(model), "fold-batchnorm")
    assert ops(result.graph) == expected
    assert result.records[0].edits == 1
    assert_same_function(model, result.graph, feeds, tolerance)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("epsilon", [1e-5, 1e-3, 0.3])
def test_conv(bias, epsilon):
    model = conv_batchnorm(epsilon=epsilon, bias=bias)
    check_folds(model, {"x": normal(2, 3, 9, 9)}, ["Conv"], tolerance=1e-6)


def test_default_epsilon_is_1e_5():
    weights = {"w": normal(4, 3, 1), **statistics(4), "v": np.full(4, 1e-5, np.float32)}
    model = model_of(
        """g (float[2, 3, 5] x) => (float[2, 4, 5] y) {
            c = Conv (x, w)
            y = BatchNormalization (c, s, h, m, v)
        }""",
        weights,
    )
    check_folds(model, {"x": normal(2, 3, 5)}, ["Conv"], tolerance=1e-6)


@pytest.mark.parametrize("spatial", [(7,), (5, 6), (3, 4, 5)])
@pytest.mark.parametrize("group", [1, 2])
def test_conv_transpose_with_groups(spatial, group):
    kernel = ", ".join(["2"] * len(spatial))
    weights = {"w": normal(4, 6 // group, *[2] * len(spatial)), **statistics(6)}
    sizes = ", ".join(map(str, spatial))
    model = model_of(
        f"""g (float[2, 4, {sizes}] x) => (float[] y) {{
            c = ConvTranspose <group = {group}, strides = [{kernel}]> (x, w)
            y = BatchNormalization (c, s, h, m, v)
        }}""",
        weights,
    )
    check_folds(model, {"x": normal(2, 4, *spatial)}, ["ConvTranspose"])


@pytest.mark.parametrize("bias", ["", ", b"])
@pytest.mark.parametrize("attributes", ["alpha = 0.5, beta = 2.0", "transB = 1, beta = 3.0"])
def test_gemm(bias, attributes):
    shape = (5, 4) if "transB" in attributes else (4, 5)
    weights = {"w": normal(*shape), **statistics(5)}
    if bias:
        weights["b"] = normal(1, 5)
    model = model_of(
        f"""g (float[N, 4] x) => (float[N, 5] y) {{
            c = Gemm <{attributes}> (x, w{bias})
            y = BatchNormalization (c, s, h, m, v)
        }}""",
        weights,
    )
    check_folds(model, {"x": normal(3, 4)}, ["Gemm"])


@pytest.mark.parametrize("add", [None, "(c, b)", "(b, c)"])
def test_matmul(add):
    middle = f"d = Add {add}" if add else "d = Identity (c)"
    weights = {"w": normal(4, 5), **statistics(5)}
    if add:
        weights["b"] = normal(5)
    model = model_of(
        f"""g (float[N, 4] x) => (float[N, 5] y) {{
            c = MatMul (x, w)
            {middle}
            y = BatchNormalization (d, s, h, m, v)
        }}""",
        weights,
    )
    result = run_pass(planish.load(model), "eliminate-identities,fold-batchnorm")
    assert ops(result.graph) == ["Gemm"]
    assert_same_function(model, result.graph, {"x": normal(3, 4)})


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_stores_in_the_weights_own_type(dtype):
    kind = {np.float16: "float16", np.float32: "float"}[dtype]
    weights = {"w": normal(4, 3, 1, 1, dtype=dtype), **statistics(4, dtype)}
    model = model_of(
        f"""g ({kind}[1, 3, 4, 4] x) => ({kind}[1, 4, 4, 4] y) {{
            c = Conv (x, w)
            y = BatchNormalization (c, s, h, m, v)
        }}""",
        weights,
    )
    result = run_pass(planish.load(model), "fold-batchnorm")
    assert ops(result.graph) == ["Conv"]
    assert {t.dtype for t in result.graph.nodes[0].inputs[1:]} == {np.dtype(dtype)}
    assert_same_function(
        model,
        result.graph,
        {"x": normal(1, 3, 4, 4, dtype=dtype)},
        1e-3 if kind != "float" else 1e-6,
    )


@pytest.mark.parametrize("variance", [0.0, 1e-12, 1e-30])
def test_zero_and_tiny_variance(variance):
    weights = {"w": normal(4, 3, 1, 1), **statistics(4)}
    weights["v"][1:] = variance
    model = model_of(
        """g (float[1, 3, 4, 4] x) => (float[1, 4, 4, 4] y) {
            c = Conv (x, w)
            y = BatchNormalization (c, s, h, m, v)
        }""",
        weights,
    )
    check_folds(model, {"x": normal(1, 3, 4, 4)}, ["Conv"])


def test_shared_weight_is_not_overwritten():
    weights = {"w": normal(4, 3, 1, 1), **statistics(4)}
    model = model_of(
        """g (float[1, 3, 4, 4] x) => (float[1, 4, 4, 4] y, float[1, 4, 4, 4] z) {
            c = Conv (x, w)
            y = BatchNormalization (c, s, h, m, v)
            n = Neg (x)
            z = Conv (n, w)
        }""",
        weights,
    )
    check_folds(model, {"x": normal(1, 3, 4, 4)}, ["Conv", "Neg", "Conv"])


def test_zero_bias_of_any_shape_is_no_bias():
    weights = {"w": normal(4, 3, 1, 1), "b": np.zeros((4, 2), np.float32), **statistics(4)}
    body = "c = Conv (x, w{}) y = BatchNormalization (c, s, h, m, v)"
    odd, plain = (
        model_of(
            f"g (float[1, 3, 4, 4] x) => (float[1, 4, 4, 4] y) {{ {body.format(b)} }}", weights
        )
        for b in (", b", "")
    )
    result = run_pass(planish.load(odd), "fold-batchnorm", verify="off")
    assert ops(result.graph) == ["Conv"]
    assert_same_function(plain, result.graph, {"x": normal(1, 3, 4, 4)}, 1e-6)


def test_two_batchnorms_in_a_row():
    weights = {"w": normal(4, 3, 1, 1), **statistics(4)}
    model = model_of(
        """g (float[1, 3, 4, 4] x) => (float[1, 4, 4, 4] y) {
            c = Conv (x, w)
            d = BatchNormalization (c, s, h, m, v)
            y = BatchNormalization (d, s, h, m, v)
        }""",
        weights,
    )
    result = run_pass(planish.load(model), "fold-batchnorm")
    assert ops(result.graph) == ["Conv"]
    assert_same_function(model, result.graph, {"x": normal(1, 3, 4, 4)})


def test_inside_a_subgraph():
    weights = {"w": normal(4, 3, 1, 1), **statistics(4)}
    model = model_of(
        """g (bool p, float[1, 3, 4, 4] x) => (float[1, 4, 4, 4] y) {
            y = If (p) <
                then_branch = a () => (float[1, 4, 4, 4] t) {
                    c = Conv (x, w)
                    t = BatchNormalization (c, s, h, m, v)
                },
                else_branch = b () => (float[1, 4, 4, 4] e) { e = Conv (x, w) }
            >
        }""",
        weights,
    )
    result = run_pass(planish.load(model), "fold-batchnorm")
    branch = result.graph.nodes[0].attrs["then_branch"]
    assert ops(branch) == ["Conv"]
    for chosen in (True, False):
        feeds = {"p": np.array(chosen), "x": normal(1, 3, 4, 4)}
        assert_same_function(model, result.graph, feeds)


def test_does_not_reach_into_a_subgraph():
    weights = {"w": normal(4, 3, 1, 1), **statistics(4)}
    model = model_of(
        """g (bool p, float[1, 3, 4, 4] x) => (float[1, 4, 4, 4] y) {
            c = Conv (x, w)
            y = If (p) <
                then_branch = a () => (float[1, 4, 4, 4] t) {
                    t = BatchNormalization (c, s, h, m, v)
                },
                else_branch = b () => (float[1, 4, 4, 4] e) { e = Identity (c) }
            >
        }""",
        weights,
    )
    result = run_pass(planish.load(model), "fold-batchnorm")
    assert result.edits == 0
    assert len(reasons(result)) == 1


HEAD = "g (float[2, 4, 4, 4] x) => (float[] y)"
CONV = "c = Conv (x, w)"
NORM = "y = BatchNormalization (c, s, h, m, v)"

DECLINED = {
    "has other readers": (
        "g (float[2, 4, 4, 4] x) => (float[] y, float[] z)",
        f"{CONV} {NORM} z = Relu (c)",
    ),
    "the result of Conv has other readers": (
        "g (float[2, 4, 4, 4] x) => (float[] y, float[] c)",
        f"{CONV} {NORM}",
    ),
    "comes from Relu": (HEAD, "c = Relu (x) " + NORM),
    "is a graph input": (HEAD, "y = BatchNormalization (x, s, h, m, v)"),
    "weight of Conv is not constant": (
        "g (float[2, 4, 4, 4] x, float[4, 4, 1, 1] k) => (float[] y)",
        f"c = Conv (x, k) {NORM}",
    ),
    "bias of Conv is not constant": (
        "g (float[2, 4, 4, 4] x, float[4] k) => (float[] y)",
        f"c = Conv (x, w, k) {NORM}",
    ),
    "its mean is not constant": (
        "g (float[2, 4, 4, 4] x, float[4] k) => (float[] y)",
        f"{CONV} y = BatchNormalization (c, s, h, k, v)",
    ),
    "in training mode": (
        HEAD,
        f"{CONV} y, a, b = BatchNormalization <training_mode = 1> (c, s, h, m, v)",
    ),
    "comes from Add": (HEAD, f"d = Conv (x, w) c = Add (d, x) {NORM}"),
    "not finite": (HEAD, f"{CONV} y = BatchNormalization (c, s, h, m, negative)"),
    "MatMul gives no matrix": (HEAD, f"c = MatMul (x, square) {NORM}"),
    "the bias of Conv has shape [4, 2], not [4]": (HEAD, f"c = Conv (x, w, twice) {NORM}"),
    "differs from row to row": (
        "g (float[4, 4] x) => (float[] y)",
        f"c = Gemm (x, square, column) {NORM}",
    ),
}


@pytest.mark.parametrize("reason", DECLINED)
def test_leaves_alone(reason):
    head, body = DECLINED[reason]
    weights = {
        "w": normal(4, 4, 1, 1),
        "square": normal(4, 4),
        "column": normal(4, 1),
        "twice": normal(4, 2),
        "negative": np.full(4, -1.0, np.float32),
        **statistics(4),
    }
    result = run_pass(graph_of(f"{head} {{ {body} }}", weights), "fold-batchnorm", verify="off")
    assert result.edits == 0
    assert any(reason in found for found in reasons(result)), reasons(result)


def test_overridable_weight_is_not_constant():
    model = conv_batchnorm()
    model.graph.input.append(
        onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [8, 3, 3, 3])
    )
    result = run_pass(planish.load(model), "fold-batchnorm")
    assert result.edits == 0
    assert "the weight of Conv is not constant" in reasons(result)


def _mutants():
    """Ways to get the algebra wrong; verification must catch every one."""

    def epsilon(affine):
        return lambda s, b, m, v, e: affine(s, b, m, v, e + 1e-3)

    def sign(affine):
        def wrong(s, b, m, v, e):
            scale, shift = affine(s, b, m, v, e)
            return scale, 2 * np.asarray(b, np.float64) - shift

        return wrong

    def no_root(affine):
        return lambda s, b, m, v, e: affine(s, b, m, (np.asarray(v) + e) ** 2 - e, e)

    def single_precision(affine):
        def wrong(s, b, m, v, e):
            scale, shift = affine(s, b, m, v, e)
            return scale.astype(np.float16).astype(np.float64), shift

        return wrong

    def axis(affine):
        return lambda *a: tuple(np.roll(part, 1) for part in affine(*a))

    return [epsilon, sign, no_root, single_precision, axis]


@pytest.mark.parametrize("mutant", _mutants(), ids=lambda m: m.__name__)
@pytest.mark.parametrize("verify", ["each", "end"])
def test_verification_kills_mutants(monkeypatch, mutant, verify, tmp_path):
    from planish.ir.core.errors import VerificationError
    from planish.ir.ops.linear import affine as module

    monkeypatch.setattr(module, "batchnorm_affine", mutant(module.batchnorm_affine))
    with pytest.raises(VerificationError, match="fold-batchnorm"):
        planish.Pipeline.parse("fold-batchnorm").run(
            planish.load(conv_batchnorm()), verify=verify, reproducer=tmp_path
        )


@pytest.mark.parametrize("opset", [7, 9, 13])
def test_five_outputs_before_opset_14_are_training(opset):
    given_model = model_of(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[2, 4, 6, 6] x) => (float[2, 3, 6, 6] y) {{
            a = Conv(x, w)
            y, m1, v1, m2, v2 = BatchNormalization(a, s, h, m, v)
        }}""",
        {"w": normal(3, 4, 1, 1), **statistics(3)},
    )
    result = run_pass(planish.load(given_model), "exact")
    assert ops(result.graph) == ["Conv", "BatchNormalization"]
    assert "more outputs than one put it in training mode" in reasons(result)
    assert_same_function(given_model, result.graph, {"x": normal(2, 4, 6, 6)}, 0)
