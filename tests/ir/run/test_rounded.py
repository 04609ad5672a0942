"""Graphs on bfloat16 run on the reference runtime: PyTorch's bfloat16 is the oracle."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

import planish
from planish.ir.run.reference import Reference

from tests.helpers import model_of

torch = pytest.importorskip("torch")

TEXT = """<ir_version: 10, opset_import: ["" : 22]>
g (float[N, 6, 9, 8] x) => (float[] y) {
    b = Cast <to = 16> (x)
    c = Conv <pads = [1, 1, 1, 1]> (b, w)
    r = Relu (c)
    d = Conv (r, v)
    s = Add (d, d)
    y = Cast <to = 1> (s)
}"""


def normal(*shape: int, scale: float) -> np.ndarray:
    values = np.random.default_rng(shape).standard_normal(shape) * scale
    return values.astype(ml_dtypes.bfloat16)


def test_every_node_rounds_once_as_in_pytorch() -> None:
    weights = {"w": normal(20, 6, 3, 3, scale=0.1), "v": normal(12, 20, 1, 1, scale=0.2)}
    x = np.random.default_rng(0).standard_normal((2, 6, 9, 8)).astype(np.float32)
    graph = planish.load(model_of(TEXT, weights))
    found = Reference(graph)({"x": x})["y"]
    w, v = (torch.from_numpy(a.astype(np.float32)).bfloat16() for a in weights.values())
    inner = torch.relu(torch.conv2d(torch.from_numpy(x).bfloat16(), w, padding=1))
    expected = (2 * torch.conv2d(inner, v)).float().numpy()
    # Sums in another order round a few to the other neighbour, of which there are 2^8 a power of 2.
    differ = found != expected
    assert differ.mean() < 0.02
    np.testing.assert_allclose(found, expected, rtol=2.0**-7, atol=2.0**-7)
    assert (found == found.astype(ml_dtypes.bfloat16).astype(np.float32)).all()


def test_pipelines_that_end_in_it_are_verified() -> None:
    text = "g (float[N, 6] x) => (float[] y) { y = MatMul (x, w) }"
    weights = {"w": normal(6, 40, scale=1.0).astype(np.float32)}
    pipeline = planish.Pipeline.parse("convert-precision{to=bfloat16,compute=half}")
    feeds = [{"x": np.random.default_rng(1).standard_normal((2, 6)).astype(np.float32)}]
    result = pipeline.run(planish.load(model_of(text, weights)), feeds)
    assert result.records[0].error is not None
    assert 1e-4 < result.records[0].error < 1e-2
