"""It computes what another runtime does, refuses what it does not have, and reads what it wrote."""

import numpy as np
import onnx.parser
import pytest

import planish


def _graph():
    return planish.load(
        onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 20]>
        g (float[N, 4] x) => (float[] y, float[] z) { a = Softmax(x) y = Neg(a) z = Erf(x) }""")
    )


FEED = {"x": np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)}


def test_it_computes_what_onnx_runtime_does():
    ours = planish.lower(_graph(), backend="onnx-reference")(FEED)
    theirs = planish.lower(_graph(), backend="onnxruntime")(FEED)
    assert list(ours) == ["y", "z"]
    for name, wanted in theirs.items():
        np.testing.assert_allclose(ours[name], wanted, rtol=1e-5, atol=1e-6)


def test_it_reads_what_it_wrote(tmp_path):
    compiled = planish.lower(_graph(), backend="onnx-reference")
    compiled.save(tmp_path / "model.onnx")
    again = planish.load_compiled(tmp_path / "model.onnx", backend="onnx-reference")
    np.testing.assert_array_equal(again(FEED)["y"], compiled(FEED)["y"])


@pytest.mark.parametrize("target", ["cuda", "cpu{isa=avx2}"])
def test_other_targets_are_refused(target):
    with pytest.raises(planish.BackendError, match=r"onnx-reference|isa"):
        planish.lower(_graph(), backend="onnx-reference", target=target)


def test_unknown_options_are_refused():
    with pytest.raises(planish.BackendError, match="no option 'fast'"):
        planish.lower(_graph(), backend="onnx-reference", fast=True)


def test_a_feed_that_does_not_fit_is_an_error_of_planish():
    with pytest.raises(planish.ExecutionError, match="evaluator failed"):
        planish.lower(_graph(), backend="onnx-reference")({})
