"""fuse-conv-pool: every pooling after every kind of convolution, what is left alone, numbers."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest

import planish

from tests.helpers import assert_same_function, graph_of, model_of, ops, reasons, run_pass

FUSE = "fuse-conv-activation,fuse-conv-pool"
GENERATOR = np.random.default_rng(8)


def normal(*shape):
    return GENERATOR.standard_normal(shape).astype(np.float32)


WEIGHTS = {
    "w": normal(4, 4, 3, 3),
    "t": normal(4, 2, 3, 3),
    "b": normal(4),
    "low": np.float32(-0.5),
    "high": np.float32(0.5),
}
POOLS = {
    "MaxPool<kernel_shape = [2, 2], strides = [2, 2]>": "MaxPool",
    "MaxPool<kernel_shape = [3, 2], strides = [2, 1], pads = [1, 0, 1, 1], ceil_mode = 1>": (
        "MaxPool"
    ),
    "MaxPool<kernel_shape = [2, 2], dilations = [2, 1]>": "MaxPool",
    'MaxPool<kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_UPPER">': "MaxPool",
    'MaxPool<kernel_shape = [2, 2], strides = [3, 3], auto_pad = "VALID">': "MaxPool",
    "AveragePool<kernel_shape = [2, 3], pads = [1, 1, 0, 1]>": "AveragePool",
    "AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1>": "AveragePool",
    'AveragePool<kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_LOWER">': "AveragePool",
    "GlobalAveragePool": "GlobalAveragePool",
    "GlobalMaxPool": "GlobalMaxPool",
}
BEFORE = {
    "c = Conv <pads = [1, 1, 1, 1]> (x, w, b)": "Conv",
    "c = Conv (x, w)": "Conv",
    "l = Conv <pads = [1, 1, 1, 1]> (x, w, b) c = Relu (l)": "ConvRelu",
    "l = Conv (x, w, b) c = Clip (l, low, high)": "ConvClip",
    "l = Conv (x, w, b) s = Sigmoid (l) c = Mul (l, s)": "ConvSilu",
    "l = Conv <pads = [1, 1, 1, 1]> (x, w) c = Add (x, l)": "ConvAdd",
    "l = Conv <pads = [1, 1, 1, 1]> (x, w) s = Add (x, l) c = LeakyRelu <alpha = 0.3> (s)": (
        "ConvAddLeakyRelu"
    ),
    "l = ConvTranspose <strides = [2, 2], output_padding = [1, 0]> (x, t) c = Elu (l)": (
        "ConvTransposeElu"
    ),
}


def network(before, pool, batch="2"):
    return model_of(
        f"g (float[{batch}, 4, 9, 8] x) => (float[B, N, H, W] y) {{ {before} y = {pool} (c) }}",
        WEIGHTS,
    )


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("before", BEFORE)
def test_fuses(before, pool):
    model = network(before, pool)
    result = run_pass(planish.load(model), FUSE)
    assert ops(result.graph) == [BEFORE[before] + POOLS[pool]]
    assert_same_function(model, result.graph, {"x": normal(2, 4, 9, 8)}, tolerance=1e-6)
    portable = planish.to_model(result.graph, portable=True)
    kinds = Counter(node.op_type for node in portable.graph.node)
    assert kinds == Counter(node.op_type for node in model.graph.node)


def test_dynamic_batch_and_no_activation_pass_before():
    model = network("c = Conv <pads = [1, 1, 1, 1]> (x, w, b)", "GlobalAveragePool", batch="N")
    result = run_pass(planish.load(model), "fuse-conv-pool")
    assert ops(result.graph) == ["ConvGlobalAveragePool"]
    for batch in (1, 3):
        assert_same_function(model, result.graph, {"x": normal(batch, 4, 9, 8)}, tolerance=1e-6)


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11, 13, 18, 19, 22])
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
def test_every_opset(op, opset):
    text = f"""<ir_version: 4, opset_import: ["" : {opset}]>
        g (float[2, 4, 9, 8] x) => (float[2, 4, 4, 4] y) {{
            l = Conv <pads = [1, 1, 1, 1]> (x, w, b) c = Relu (l)
            y = {op} <kernel_shape = [2, 2], strides = [2, 2]> (c) }}"""
    model = model_of(text, WEIGHTS)
    result = run_pass(planish.load(model), FUSE)
    assert ops(result.graph) == [f"ConvRelu{op}"]
    assert_same_function(model, result.graph, {"x": normal(2, 4, 9, 8)}, tolerance=1e-6)
    onnx.checker.check_model(planish.to_model(result.graph))


DECLINED = {
    "the value before MaxPool has other readers": (
        "c = Conv (x, w) y = MaxPool <kernel_shape = [2, 2]> (c) z = Neg (c)",
        "float[N, 4, H, W] z",
    ),
    "the places of the maxima are read": (
        "c = Conv (x, w) y, z = MaxPool <kernel_shape = [2, 2]> (c)",
        "int64[N, 4, H, W] z",
    ),
    "auto_pad=SAME_UPPER on a dynamic size": (
        "c = Conv (x, w) z = Neg (x) "
        'y = MaxPool <kernel_shape = [2, 2], auto_pad = "SAME_UPPER"> (c)',
        "float[N, 4, H, W] z",
    ),
    "auto_pad=VALID together with ceil_mode": (
        "c = Conv (x, w) z = Neg (x) "
        'y = MaxPool <kernel_shape = [2, 2], auto_pad = "VALID", ceil_mode = 1> (c)',
        "float[N, 4, H, W] z",
    ),
}  # fmt: skip


@pytest.mark.parametrize("reason", DECLINED)
def test_leaves_alone(reason):
    body, other = DECLINED[reason]
    text = f"g (float[2, 4, H, W] x) => (float[N, 4, P, Q] y, {other}) {{ {body} }}"
    result = run_pass(graph_of(text, WEIGHTS), "fuse-conv-pool", verify="off")
    assert result.edits == 0
    assert reason in reasons(result)


def test_pools_once_and_not_after_gemm_or_others():
    text = """g (float[2, 4, 9, 8] x) => (float[2, 4, H, W] y) {
        c = Conv (x, w) a = MaxPool <kernel_shape = [2, 2]> (c)
        b2 = AveragePool <kernel_shape = [2, 2]> (a) n = Neg (b2)
        y = MaxPool <kernel_shape = [2, 2]> (n) }"""
    result = run_pass(graph_of(text, WEIGHTS), FUSE)
    assert ops(result.graph) == ["ConvMaxPool", "AveragePool", "Neg", "MaxPool"]


def test_costs_are_those_of_the_parts():
    for before in BEFORE:
        graph = planish.load(network(before, "MaxPool<kernel_shape = [2, 2], strides = [2, 2]>"))
        fused = run_pass(graph, FUSE).graph
        assert planish.cost(fused).macs == planish.cost(graph).macs > 0
        (node,) = fused.nodes
        bias = node.inputs[2].values
        explicit_bias = 0 if bias.any() else bias.size
        assert planish.cost(fused).parameters == planish.cost(graph).parameters + explicit_bias


def test_zeros_of_a_bias_that_the_model_has_elsewhere_are_no_edit_when_loaded_again():
    """The bias that fusing writes, and the mean of a normalization, are the same constant."""
    model = model_of(
        """g (float[2, 2, 6, 4] x) => (float[2, 3, 1, 1] p, float[2, 3, 1, 1] y) {
            c = ConvTranspose(x, w) p = GlobalAveragePool(c)
            n = BatchNormalization(p, s, b, zeros, v) y = Softsign(n) }""",
        {
            "w": np.ones((2, 3, 2, 3), np.float32),
            "s": np.full(3, 0.3, np.float32),
            "b": np.full(3, 0.2, np.float32),
            "zeros": np.zeros(3, np.float32),
            "v": np.full(3, 0.7, np.float32),
        },
    )
    steps = planish.Pipeline.parse("fuse-conv-pool,deduplicate-constants")
    first = steps.run(planish.load(model), verify="off")
    written = planish.to_model(first.graph, portable=True)
    assert steps.run(planish.load(written), verify="off").edits == 0
