"""fuse-squeeze-excite: the spellings, what is left alone, and the numbers."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

import planish

from tests.helpers import assert_same_function, graph_of, model_of, ops, reasons, run_pass

GENERATOR = np.random.default_rng(9)


def normal(*shape):
    return GENERATOR.standard_normal(shape).astype(np.float32)


WEIGHTS = {
    "w1": normal(3, 6, 1, 1),
    "b1": normal(3),
    "w2": normal(6, 3, 1, 1),
    "b2": normal(6),
    "m1": normal(6, 3),
    "m2": normal(3, 6),
    "t1": normal(3, 6),
    "t2": normal(6, 3),
    "w3": normal(3, 6, 3, 3),
    "g1": normal(3, 2, 1, 1),
    "axes": np.array([-1, 2]),
    "batch_axes": np.array([0, 1]),
    "column": np.array([-1, 6, 1, 1]),
    "mixed": np.array([-1, 3, 2, 1]),
    "tail": np.array([2, 3]),
    "low": np.float32(0),
    "high": np.float32(6),
    "one": np.float32(1),
}
CONV = {
    "pool": "p = GlobalAveragePool (x)",
    "first": "a = Conv (p, w1, b1)",
    "act": "r = Relu (a)",
    "second": "e = Conv (r, w2, b2)",
    "gate": "s = Sigmoid (e)",
    "scale": "y = Mul (x, s)",
}
MATRIX = {
    "pool": "p = GlobalAveragePool (x) f = Flatten (p)",
    "first": "a = Gemm <transB = 1> (f, t1, b1)",
    "act": "r = Relu (a)",
    "second": "e = Gemm (r, m2, b2)",
    "gate": "s = Sigmoid (e) q = Reshape (s, column)",
    "scale": "y = Mul (q, x)",
}
SPELLINGS = {
    "convolutions": (CONV, {}, "ReluSigmoid"),
    "no bias": (CONV, {"first": "a = Conv (p, w1)", "second": "e = Conv (r, w2)"}, "ReluSigmoid"),
    "mean": (CONV, {"pool": "p = ReduceMean <keepdims = 1> (x, axes)"}, "ReluSigmoid"),
    "gate first": (CONV, {"scale": "y = Mul (s, x)"}, "ReluSigmoid"),
    "SiLU": (CONV, {"act": "u = Sigmoid (a) r = Mul (a, u)"}, "SiluSigmoid"),
    "hard": (
        CONV,
        {"gate": "s = HardSigmoid <alpha = 0.3, beta = 0.4> (e)"},
        "ReluHardSigmoid",
    ),
    "two of one kind": (
        CONV,
        {
            "act": "r = HardSigmoid <alpha = 0.1, beta = 0.3> (a)",
            "gate": "s = HardSigmoid <alpha = 0.4> (e)",
        },
        "HardSigmoidHardSigmoid",
    ),
    "two gated": (
        CONV,
        {"act": "u = Sigmoid (a) r = Mul (a, u)", "gate": "v = Sigmoid (e) s = Mul (v, e)"},
        "SiluSilu",
    ),
    "leaky": (CONV, {"act": "r = LeakyRelu <alpha = 0.3> (a)"}, "LeakyReluSigmoid"),
    "Gemm": (MATRIX, {}, "GemmReluSigmoid"),
    "Gemm scaled": (
        MATRIX,
        {"first": "a = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (f, t1, b1)"},
        "GemmReluSigmoid",
    ),
    "Gemm without bias": (MATRIX, {"second": "e = Gemm (r, m2)"}, "GemmReluSigmoid"),
    "MatMul": (
        MATRIX,
        {"first": "a = MatMul (f, m1)", "second": "o = MatMul (r, m2) e = Add (b2, o)"},
        "GemmReluSigmoid",
    ),
    "mean without axes left": (
        MATRIX,
        {"pool": "f = ReduceMean <keepdims = 0> (x, axes)"},
        "GemmReluSigmoid",
    ),
    "Squeeze and Unsqueeze": (
        MATRIX,
        {
            "pool": "p = GlobalAveragePool (x) f = Squeeze (p, tail)",
            "gate": "s = HardSigmoid (e) q = Unsqueeze (s, tail)",
        },
        "GemmReluHardSigmoid",
    ),
}


def text_of(parts, changes, batch="2", sizes="5, 4", more=""):
    body = " ".join({**parts, **changes}.values())
    return f"g (float[{batch}, 6, {sizes}] x) => (float[B, 6, H, W] y{more}) {{ {body} }}"


@pytest.mark.parametrize("batch", ["2", "N"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_fuses(spelling, batch):
    parts, changes, suffix = SPELLINGS[spelling]
    model = model_of(text_of(parts, changes, batch), WEIGHTS)
    result = run_pass(planish.load(model), "fuse-squeeze-excite")
    assert ops(result.graph) == [f"SqueezeExcite{suffix}"], reasons(result)
    assert_same_function(model, result.graph, {"x": normal(2, 6, 5, 4)}, tolerance=1e-6)
    graph = planish.load(model)
    sizes = {"N": 1} if batch == "N" else {}
    assert planish.cost(result.graph).macs == planish.cost(graph, sizes).macs > 0
    later = run_pass(result.graph, "fuse-conv-activation,fuse-conv-pool")
    assert later.edits == 0


def test_other_ranks_and_dynamic_sizes():
    weights = {**WEIGHTS, "w1": normal(3, 6, 1), "w2": normal(6, 3, 1)}
    text = text_of(CONV, {}, "N", "L").replace("H, W", "L")
    result = run_pass(graph_of(text, weights), "fuse-squeeze-excite")
    assert ops(result.graph) == ["SqueezeExciteReluSigmoid"]
    for batch, length in ((1, 5), (3, 1)):
        feeds = {"x": normal(batch, 6, length)}
        assert_same_function(model_of(text, weights), result.graph, feeds, tolerance=1e-6)


@pytest.mark.parametrize("opset", [7, 11, 12, 13, 17])
@pytest.mark.parametrize("form", ["conv", "matrix"])
def test_every_opset(form, opset):
    parts = CONV if form == "conv" else MATRIX
    text = f'<ir_version: 4, opset_import: ["" : {opset}]>' + text_of(
        parts,
        {"pool": "p = ReduceMean <axes = [2, 3]> (x)" + (" f = Flatten (p)" * (form != "conv"))},
    )
    model = model_of(text, WEIGHTS)
    result = run_pass(planish.load(model), "fuse-squeeze-excite")
    assert [op.startswith("SqueezeExcite") for op in ops(result.graph)] == [True]
    assert_same_function(model, result.graph, {"x": normal(2, 6, 5, 4)}, tolerance=1e-6)
    onnx.checker.check_model(planish.to_model(result.graph))


def test_half_precision():
    weights = {
        name: values.astype(np.float16) if values.dtype == np.float32 else values
        for name, values in WEIGHTS.items()
    }
    for parts in (CONV, MATRIX):
        text = text_of(parts, {}).replace("float[", "float16[")
        model = model_of(text, weights)
        result = run_pass(planish.load(model), "fuse-squeeze-excite")
        assert len(ops(result.graph)) == 1
        feeds = {"x": normal(2, 6, 5, 4).astype(np.float16)}
        assert_same_function(model, result.graph, feeds, tolerance=1e-3)


DECLINED = {
    "the result of Conv in it has other readers": (CONV, {"scale": "z = Neg (a) y = Mul (x, s)"}),
    "the result of GlobalAveragePool in it has other readers": (
        CONV,
        {"scale": "z = Neg (p) y = Mul (x, s)"},
    ),
    "the result of Sigmoid in it has other readers": (
        CONV,
        {"scale": "z = Neg (s) y = Mul (x, s)"},
    ),
    "an activation in it has parameters of its own": (CONV, {"act": "r = Clip (a, low, high)"}),
    "its mean is over other axes": (
        CONV,
        {"pool": "p = ReduceMean <keepdims = 1> (x, batch_axes)", "first": "a = Conv (p, w1)"},
    ),
    "its mean becomes what pools its input elsewhere, and is not shared": (
        CONV,
        {
            "pool": "p = ReduceMean <keepdims = 1> (x, axes)",
            "scale": "z = GlobalAveragePool (x) y = Mul (x, s)",
        },
    ),
    "its convolutions are not 1x1": (
        CONV,
        {"first": "a = Conv <pads = [1, 1, 1, 1]> (p, w3, b1)"},
    ),
    "its Gemm transposes its input": (
        MATRIX,
        {"first": "a = Gemm <transA = 1, transB = 1> (f, t1, b1)"},
    ),
    "its gate is not one value a channel": (
        MATRIX,
        {"gate": "s = Sigmoid (e) q = Reshape (s, mixed)"},
    ),
    "the weight of Gemm is not constant": (
        MATRIX,
        {"first": "k = Identity (t1) a = Gemm <transB = 1> (f, k, b1)"},
    ),
}


@pytest.mark.parametrize("reason", DECLINED)
def test_leaves_alone(reason):
    parts, changes = DECLINED[reason]
    shown = ", float[] z" if "z =" in changes.get("scale", "") else ""
    graph = graph_of(text_of(parts, changes, more=shown), WEIGHTS)
    result = run_pass(graph, "fuse-squeeze-excite", verify="off")
    assert result.edits == 0
    assert reason in reasons(result)


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": "o = Neg (x) y = Mul (o, s)"},
        {"pool": "o = Neg (x) p = GlobalAveragePool (o)"},
        {"scale": "y = Add (x, s)"},
        {"act": "r = Neg (a)"},
        {"pool": "p = GlobalMaxPool (x)"},
    ],
)
def test_no_candidate(changes):
    graph = graph_of(text_of(CONV, changes), WEIGHTS)
    result = run_pass(graph, "fuse-squeeze-excite")
    assert result.edits == 0
    assert not reasons(result)


class Linear(torch.nn.Module):
    """The block as most PyTorch code has it: mean or pooling, view, Linear, view."""

    def __init__(self, pooled):
        super().__init__()
        self.fc = torch.nn.Sequential(
            torch.nn.Linear(6, 3), torch.nn.ReLU(), torch.nn.Linear(3, 6), torch.nn.Sigmoid()
        )
        self.pool = torch.nn.AdaptiveAvgPool2d(1) if pooled else None

    def forward(self, x):
        y = x.mean([2, 3], keepdim=True) if self.pool is None else self.pool(x)
        return x * self.fc(y.flatten(1)).view(x.shape[0], x.shape[1], 1, 1)


@pytest.mark.parametrize("pooled", [True, False])
def test_from_pytorch(pooled):
    torch.manual_seed(0)
    module = Linear(pooled).eval()
    x = torch.randn(2, 6, 5, 4)
    graph = planish.trace(module, (x,))
    result = planish.Pipeline.parse("cleanup,fuse-squeeze-excite").run(graph, verify="each")
    assert ops(result.graph) == ["SqueezeExciteGemmReluSigmoid"]
    feeds = {graph.inputs[0].name: x.numpy()}
    (found,) = planish.lower(result.graph)(feeds).values()
    np.testing.assert_allclose(found, module(x).detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("foreign", ["Relu", "Sigmoid"])
def test_activations_of_other_domains_are_no_candidates(foreign):
    text = """<ir_version: 9, opset_import: ["" : 17, "my.domain" : 1]>
        g (float[N, 4, 5, 5] x) => (float[N, 4, 5, 5] y) {
            p = GlobalAveragePool(x)
            a = Conv(p, w1)
            b = Relu(a)
            c = Conv(b, w2)
            d = Sigmoid(c)
            y = Mul(x, d)
        }""".replace(f"= {foreign}(", f"= my.domain.{foreign}(")
    text += f"""
        <domain: "my.domain", opset_import: ["" : 17]> {foreign} (X) => (Y) {{ Y = Neg(X) }}"""
    given_model = model_of(text, {"w1": normal(2, 4, 1, 1), "w2": normal(4, 2, 1, 1)})
    result = run_pass(planish.load(given_model), "fuse-squeeze-excite")
    assert result.edits == 0
    assert_same_function(given_model, result.graph, {"x": normal(2, 4, 5, 5)}, 0)


def test_a_mean_of_float64_stays():
    given_model = model_of(
        """<ir_version: 9, opset_import: ["" : 17]>
        g (double[2, 4, 5, 5] x) => (double[2, 4, 5, 5] y) {
            p = ReduceMean <axes = [2, 3], keepdims = 0> (x)
            a = Gemm(p, w1, b1)
            b = Relu(a)
            c = Gemm(b, w2, b2)
            d = Sigmoid(c)
            s = Reshape(d, shape)
            y = Mul(x, s)
        }""",
        {
            "w1": normal(4, 2).astype(np.float64),
            "b1": normal(2).astype(np.float64),
            "w2": normal(2, 4).astype(np.float64),
            "b2": normal(4).astype(np.float64),
            "shape": np.array([2, 4, 1, 1]),
        },
    )
    result = run_pass(planish.load(given_model), "fuse-squeeze-excite")
    assert result.edits == 0
    assert reasons(result) == {"ONNX Runtime has no GlobalAveragePool of float64"}
