"""It fires, leaves alone with the reason, and runs again without an edit."""

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx.reference import ReferenceEvaluator

import planish

GENERATOR = np.random.default_rng(0)
WEIGHTS = {
    "k": GENERATOR.standard_normal((6, 2, 3, 3)).astype(np.float32),
    "t": GENERATOR.standard_normal((4, 6, 2, 2)).astype(np.float32),
    "m": GENERATOR.standard_normal((4, 6)).astype(np.float32),
    "b": GENERATOR.standard_normal(6).astype(np.float32),
}


def _model(body: str, kind: str, outputs: str = "float[] y") -> onnx.ModelProto:
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 20]> g ({kind} x) => ({outputs}) {{ {body} }}'
    )
    for name, values in WEIGHTS.items():
        if name in body:
            model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return model


def _run(model: onnx.ModelProto, options: str = "") -> planish.Result:
    pipeline = planish.Pipeline.parse(f"absorb-negation{options}")
    result = pipeline.run(planish.load(model), verify="each")
    assert pipeline.run(result.graph).edits == 0
    return result


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("a = Conv <group = 2> (x, k, b) y = Neg(a)", "float[1, 4, 8, 8]"),
        ("a = Conv <group = 2> (x, k) n = Neg(a) y = Relu(n)", "float[1, 4, 8, 8]"),
        ("a = ConvTranspose(x, t, b) y = Neg(a)", "float[1, 4, 8, 8]"),
        ("a = Gemm <alpha = 0.5, beta = 2.0> (x, m, b) y = Neg(a)", "float[3, 4]"),
        ("a = MatMul(x, m) c = Add(a, b) y = Neg(c)", "float[2, 3, 4]"),
    ],
)
def test_neg_goes_into_the_weights(body, kind):
    model = _model(body, kind)
    result = _run(model)
    assert "Neg" not in [node.op for node in result.graph.nodes]
    assert (result.edits, result.verified) == (1, True)
    sizes = [int(size) for size in kind.strip("float[]").split(",")]
    feed = {"x": np.random.default_rng(1).standard_normal(sizes).astype(np.float32)}
    wanted = ReferenceEvaluator(model).run(None, feed)[0]
    found = ReferenceEvaluator(planish.to_model(result.graph)).run(None, feed)[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("body", "outputs", "options", "reason"),
    [
        ("a = MatMul(x, m) y = Neg(a) z = Relu(a)", "float[] y, float[] z", "", "other readers"),
        ("a = MatMul(x, m) y = Neg(a)", "float[] y, float[] a", "", "other readers"),
        ("s = Transpose(x) a = MatMul(x, s) y = Neg(a)", "float[] y", "", "is not constant"),
        ("a = MatMul(x, m) y = Neg(a)", "float[] y", "{largest=23}", "24 weights, more than 23"),
    ],
)
def test_it_declines_with_the_reason(body, outputs, options, reason):
    result = _run(_model(body, "float[3, 4]", outputs), options)
    (decline,) = result.records[0].declined
    assert result.edits == 0
    assert reason in decline.reason


def test_what_is_no_candidate_is_left_without_a_word():
    result = _run(_model("a = Relu(x) y = Neg(a)", "float[3, 4]"))
    assert (result.edits, result.records[0].declined) == (0, ())
