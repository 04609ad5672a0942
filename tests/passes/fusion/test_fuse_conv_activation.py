"""fuse-conv-activation: every activation and operator, what is left alone, and the numbers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

import planish

from tests.helpers import (
    assert_same_function,
    graph_of,
    model_of,
    ops,
    reasons,
    relative_error,
    run_pass,
)

GENERATOR = np.random.default_rng(4)

ACTIVATIONS = {
    "Relu": ("y = Relu (c)", "Relu"),
    "Clip": ("y = Clip (c, low, high)", "Clip"),
    "Clip without a lower bound": ("y = Clip (c, , high)", "Clip"),
    "Clip without an upper bound": ("y = Clip (c, low)", "Clip"),
    "LeakyRelu": ("y = LeakyRelu <alpha = 0.3> (c)", "LeakyRelu"),
    "LeakyRelu by default": ("y = LeakyRelu (c)", "LeakyRelu"),
    "Sigmoid": ("y = Sigmoid (c)", "Sigmoid"),
    "Tanh": ("y = Tanh (c)", "Tanh"),
    "HardSigmoid": ("y = HardSigmoid <alpha = 0.3, beta = 0.4> (c)", "HardSigmoid"),
    "HardSigmoid by default": ("y = HardSigmoid (c)", "HardSigmoid"),
    "HardSwish": ("y = HardSwish (c)", "HardSwish"),
    "Elu": ("y = Elu <alpha = 0.5> (c)", "Elu"),
    "Selu": ("y = Selu <alpha = 1.5, gamma = 1.2> (c)", "Selu"),
    "Selu by default": ("y = Selu (c)", "Selu"),
    "Softplus": ("y = Softplus (c)", "Softplus"),
    "Gelu": ("y = Gelu (c)", "Gelu"),
    "Gelu by tanh": ('y = Gelu <approximate = "tanh"> (c)', "Gelu"),
    "PRelu": ("y = PRelu (c, slope)", "PRelu"),
    "SiLU": ("a = Sigmoid (c) y = Mul (c, a)", "Silu"),
    "SiLU turned round": ("a = Sigmoid (c) y = Mul (a, c)", "Silu"),
    "hard SiLU": ("a = HardSigmoid <alpha = 0.3> (c) y = Mul (c, a)", "GatedHardSigmoid"),
}
LINEARS = {
    "Conv": "l = Conv <pads = [1, 1, 1, 1]> (x, w, b)",
    "Conv without bias": "l = Conv <group = 2, strides = [2, 1], dilations = [1, 2]> (x, g)",
    "ConvTranspose": "l = ConvTranspose <strides = [2, 1], output_padding = [1, 0]> (x, g, half)",
    "Gemm": "l = Gemm <alpha = 0.5, beta = 2.0, transB = 1> (x, k, b)",
    "Gemm without bias": "l = Gemm (x, k)",
}


def normal(*shape):
    return GENERATOR.standard_normal(shape).astype(np.float32)


WEIGHTS = {
    "w": normal(4, 4, 3, 3),
    "g": normal(4, 2, 3, 3),
    "k": normal(4, 4),
    "b": normal(4),
    "half": normal(2),
    "slope": normal(1),
    "low": np.array(-0.2, np.float32),
    "high": np.array(0.7, np.float32),
}


def network(linear: str, activation: str, residual: str = "c = Identity (l)") -> onnx.ModelProto:
    size, result = ("2, 4", "N, M") if "Gemm" in linear else ("2, 4, 7, 6", "N, M, H, W")
    return model_of(
        f"g (float[{size}] x) => (float[{result}] y) {{ {linear} {residual} {activation} }}",
        WEIGHTS,
    )


def feeds_of(model: onnx.ModelProto) -> dict:
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    return {"x": normal(*shape)}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("linear", LINEARS)
def test_fuses(linear, activation):
    text, suffix = ACTIVATIONS[activation]
    model = network(LINEARS[linear], text)
    result = run_pass(planish.load(model), "eliminate-identities,fuse-conv-activation")
    operator = linear.split()[0]
    assert ops(result.graph) == [operator + suffix]
    assert result.graph.nodes[0].domain == "planish"
    feeds = feeds_of(model)
    assert_same_function(model, result.graph, feeds, tolerance=1e-6)
    # onnx.reference cannot hand a function's attribute on to a unary operator.
    portable = any(name.startswith("activation_") for name in result.graph.nodes[0].attrs)
    fused = ReferenceEvaluator(planish.to_model(result.graph, portable=portable)).run(None, feeds)[
        0
    ]
    expected = ReferenceEvaluator(model).run(None, feeds)[0]
    assert relative_error(expected, fused) <= 1e-6


@pytest.mark.parametrize("activation", ["Relu", "Clip", "SiLU"])
@pytest.mark.parametrize("order", ["(l, r)", "(r, l)"])
def test_takes_the_residual_in(activation, order):
    text, suffix = ACTIVATIONS[activation]
    model = network("r = Neg (x) " + LINEARS["Conv"], text, f"c = Add {order}")
    result = run_pass(planish.load(model), "fuse-conv-activation")
    assert ops(result.graph) == ["Neg", f"ConvAdd{suffix}"]
    assert_same_function(model, result.graph, feeds_of(model), tolerance=1e-6)


def test_a_transposed_convolution_in_groups():
    """Apart from the others: onnx.reference cannot compute it."""
    model = network("l = ConvTranspose <group = 2, pads = [1, 0, 0, 1]> (x, g)", "y = Relu (c)")
    result = run_pass(planish.load(model), "eliminate-identities,fuse-conv-activation")
    assert ops(result.graph) == ["ConvTransposeRelu"]
    assert_same_function(model, result.graph, feeds_of(model), tolerance=1e-6)


SUMS = {
    "c = Conv <pads = [1, 1, 1, 1]> (x, w, b) y = Add (c, x)": ["ConvAdd"],
    "c = Conv <pads = [1, 1, 1, 1]> (x, w) y = Add (x, c)": ["ConvAdd"],
    "c = Conv (x, w) d = Conv (x, w, b) y = Add (d, c)": ["Conv", "ConvAdd"],
    "c = Conv (x, w) d = Conv (x, w, b) e = Add (c, d) y = Neg (e)": ["Conv", "ConvAdd", "Neg"],
    "c = ConvTranspose <pads = [1, 1, 1, 1]> (x, w, b) y = Add (c, x)": ["ConvTransposeAdd"],
    "c = Conv (x, w) d = Conv (x, w, b) e = Add (c, d) y = PRelu (e, slope)": [
        "Conv",
        "ConvAddPRelu",
    ],
}


@pytest.mark.parametrize("batch", ["2", "N"])
@pytest.mark.parametrize("body", SUMS)
def test_takes_the_residual_without_an_activation(body, batch):
    model = model_of(
        f"g (float[{batch}, 4, 7, 6] x) => (float[B, 4, H, W] y) {{ {body} }}", WEIGHTS
    )
    result = run_pass(planish.load(model), "fuse-conv-activation")
    assert ops(result.graph) == SUMS[body]
    assert_same_function(model, result.graph, {"x": normal(2, 4, 7, 6)}, tolerance=1e-6)
    portable = planish.to_model(result.graph, portable=True)
    assert sorted(n.op_type for n in portable.graph.node) == sorted(
        n.op_type for n in model.graph.node
    )


def test_of_two_linear_operators_the_second_operand_is_fused():
    body = "c = Conv (x, w) d = Conv (x, w, b) y = Add (d, c)"
    graph = graph_of(f"g (float[2, 4, 7, 6] x) => (float[2, 4, 5, 4] y) {{ {body} }}", WEIGHTS)
    result = run_pass(graph, "fuse-conv-activation")
    (fused,) = (node for node in result.graph.nodes if node.op == "ConvAdd")
    assert [t.name for t in fused.inputs] == ["x", "w", "w_bias", "d"]
    assert not fused.inputs[2].values.any()


RECOGNIZED = {
    "a = Softplus (c) t = Tanh (a) y = Mul (c, t)": "Mish",
    "a = Div (c, root) e = Erf (a) f = Add (e, one) g2 = Mul (c, f) y = Mul (g2, p5)": "Gelu",
    "a = Sigmoid (c) y = Mul (c, a)": "Silu",
    "a = HardSigmoid <alpha = 0.16666667, beta = 0.5> (c) y = Mul (a, c)": "HardSwish",
}


@pytest.mark.parametrize("opset", [11, 13, 17, 20, 22])
@pytest.mark.parametrize("residual", ["c = Identity (l)", "c = Add (l, x)"])
@pytest.mark.parametrize("activation", RECOGNIZED)
def test_recognized_activations(activation, residual, opset):
    text = f"""<ir_version: 4, opset_import: ["" : {opset}]>
        g (float[2, 4, 7, 6] x) => (float[2, 4, 7, 6] y) {{
            l = Conv <pads = [1, 1, 1, 1]> (x, w, b) {residual} {activation} }}"""
    weights = {
        **WEIGHTS,
        "root": np.float32(2**0.5),
        "one": np.float32(1),
        "p5": np.float32(0.5),
    }
    model = model_of(text, weights)
    pipeline = "eliminate-identities,recognize-activations,fuse-conv-activation"
    result = run_pass(planish.load(model), pipeline)
    between = "Add" if "Add" in residual else ""
    assert ops(result.graph) == [f"Conv{between}{RECOGNIZED[activation]}"]
    assert_same_function(model, result.graph, {"x": 3 * normal(2, 4, 7, 6)}, tolerance=1e-6)


def test_fused_model_is_valid_and_portable(tmp_path):
    model = network(LINEARS["Conv"], "y = Relu (c)", "c = Add (l, x)")
    graph = run_pass(planish.load(model), "fuse-conv-activation").graph
    onnx.checker.check_model(planish.to_model(graph), full_check=True)
    planish.save(graph, tmp_path / "fused.onnx")
    planish.save(graph, tmp_path / "portable.onnx", portable=True)
    fused = onnx.load(tmp_path / "fused.onnx")
    portable = onnx.load(tmp_path / "portable.onnx")
    assert [f.name for f in fused.functions] == ["ConvAddRelu"]
    assert not portable.functions
    assert {entry.domain for entry in portable.opset_import} == {""}
    assert [node.op_type for node in portable.graph.node] == ["Conv", "Add", "Relu"]
    onnx.checker.check_model(portable, full_check=True)
    assert_same_function(model, planish.load(tmp_path / "fused.onnx"), feeds_of(model), 1e-6)


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 17, 22])
def test_every_opset(opset):
    clip = "y = Clip (c, low, high)" if opset >= 11 else "y = Clip <min = -0.2, max = 0.7> (c)"
    text = f"""<ir_version: 4, opset_import: ["" : {opset}]>
        g (float[2, 4, 7, 6] x) => (float[] y) {{ c = Conv (x, w, b) {clip} }}"""
    model = model_of(text, WEIGHTS)
    result = run_pass(planish.load(model), "fuse-conv-activation")
    assert ops(result.graph) == ["ConvClip"]
    assert_same_function(model, result.graph, feeds_of(model), tolerance=1e-6)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_auto_pad_becomes_explicit(auto_pad, stride):
    conv = f'c = Conv <auto_pad = "{auto_pad}", strides = [{stride}, {stride}]> (x, w)'
    model = network(conv, "y = Relu (c)", "")
    result = run_pass(planish.load(model), "fuse-conv-activation")
    assert ops(result.graph) == ["ConvRelu"]
    assert_same_function(model, result.graph, feeds_of(model), tolerance=1e-6)


def test_inside_a_subgraph():
    model = model_of(
        """g (bool p, float[2, 4, 7, 6] x) => (float[] y) {
            y = If (p) <
                then_branch = a () => (float[] t) { c = Conv (x, w) t = Relu (c) },
                else_branch = o () => (float[] e) { e = Conv (x, w) }
            >
        }""",
        WEIGHTS,
    )
    result = run_pass(planish.load(model), "fuse-conv-activation")
    assert ops(result.graph.nodes[0].attrs["then_branch"]) == ["ConvRelu"]
    for chosen in (True, False):
        feeds = {"p": np.array(chosen), "x": normal(2, 4, 7, 6)}
        assert_same_function(model, result.graph, feeds, tolerance=1e-6)


DECLINED = {
    "the value before Relu has other readers": ("c = Conv (x, w) y = Relu (c) z = Neg (c)", "y, z"),
    "the gate has other readers": (
        "c = Conv (x, w) a = Sigmoid (c) y = Mul (c, a) z = Neg (a)",
        "y, z",
    ),
    "the residual is broadcast, or its shape is not known": (
        "c = Conv <kernel_shape = [1, 1]> (x, point) d = Add (c, low) y = Relu (d)",
        "y",
    ),
    "its pads follow from auto_pad=SAME_LOWER": (
        'c = ConvTranspose <auto_pad = "SAME_LOWER"> (x, w) y = Relu (c)',
        "y",
    ),
    "its pads follow from output_shape": (
        "c = ConvTranspose <output_shape = [9, 9], strides = [2, 2]> (x, w) y = Relu (c)",
        "y",
    ),
    "auto_pad=SAME_UPPER on a dynamic size": (
        'c = Conv <auto_pad = "SAME_UPPER"> (x, w) y = Relu (c)',
        "y",
    ),
}


@pytest.mark.parametrize("reason", DECLINED)
def test_leaves_alone(reason):
    body, outputs = DECLINED[reason]
    declared = ", ".join(f"float[] {name}" for name in outputs.split(", "))
    weights = {**WEIGHTS, "point": normal(4, 4, 1, 1)}
    graph = graph_of(f"g (float[2, 4, H, W] x) => ({declared}) {{ {body} }}", weights)
    result = run_pass(graph, "fuse-conv-activation")
    assert result.edits == 0
    assert reason in reasons(result)


def test_does_not_touch_other_domains():
    text = """<ir_version: 10, opset_import: ["" : 20, "custom" : 1]>
        g (float[2, 4, 7, 6] x) => (float[] y) { c = custom.Conv (x, w) y = Relu (c) }"""
    result = run_pass(graph_of(text, WEIGHTS), "fuse-conv-activation", verify="off")
    assert result.edits == 0
    assert ops(result.graph) == ["Conv", "Relu"]


def test_another_function_of_the_same_name_gets_another_name():
    text = """<ir_version: 10, opset_import: ["" : 20, "planish" : 1]>
        g (float[2, 4, 7, 6] x) => (float[2, 4, 7, 6] y) {
            c = Conv <pads = [1, 1, 1, 1]> (x, w, b) a = Relu (c) y = planish.ConvRelu (a)
        }
        <domain: "planish", opset_import: ["" : 20]>
        ConvRelu (X) => (Y) { Y = Neg (X) }"""
    model = model_of(text, WEIGHTS)
    result = run_pass(planish.load(model), "fuse-conv-activation")
    assert ops(result.graph) == ["ConvRelu", "ConvRelu_1"]
    assert_same_function(model, result.graph, {"x": normal(2, 4, 7, 6)}, 1e-6)


def test_editing_a_result_leaves_other_graphs_alone():
    model = network(LINEARS["Conv"], "y = Relu (c)", "c = Identity (l)")
    pipeline = planish.Pipeline.parse("eliminate-identities,fuse-conv-activation")
    first = pipeline.run(planish.load(model)).graph
    copy = planish.Pipeline.parse("eliminate-dead-code").run(first).graph
    copy.functions[0].nodes[-1].op = "Neg"
    assert first.functions[0].nodes[-1].op == "Relu"
    assert_same_function(model, pipeline.run(planish.load(model)).graph, feeds_of(model), 1e-6)


def test_an_absent_bias_becomes_zeros_so_that_the_runtime_lays_it_out_in_blocks():
    weights = {"w": normal(16, 16, 3, 3), "v": normal(16, 16, 1, 1)}
    text = """g (float[1, 16, 9, 9] x) => (float[1, 16, 7, 7] y) {
        c = Conv (x, w) r = Relu (c) d = Conv (r, v) y = Relu (d) }"""
    result = run_pass(graph_of(text, weights), "fuse-conv-activation")
    assert ops(result.graph) == ["ConvRelu", "ConvRelu"]
    assert [n.inputs[2].values.shape for n in result.graph.nodes] == [(16,), (16,)]
    assert all(not n.inputs[2].values.any() for n in result.graph.nodes)
