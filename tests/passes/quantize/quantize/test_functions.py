"""Local functions hide their layers, which is said with what opens them."""

import numpy as np
import pytest

import planish

from tests.helpers import model_of, ops

HEAD = """<ir_version: 10, opset_import: ["" : 20, "own" : 1]>
g (float[2, 8, 6, 6] x) => (float[2, 8, 6, 6] y) {{ {} }}
<domain: "own", opset_import: ["" : 20, "own" : 1]>
Layer (v, k) => (r) {{ c = Conv <pads = [1, 1, 1, 1]> (v, k) r = Relu (c) }}
<domain: "own", opset_import: ["" : 20, "own" : 1]>
Outer (v, k) => (r) {{ r = own.Layer (v, k) }}
<domain: "own", opset_import: ["" : 20, "own" : 1]>
Soft (v) => (r) {{ r = Softplus (v) }}"""
R = np.random.default_rng(0)
W = {"w": R.standard_normal((8, 8, 3, 3)).astype(np.float32)}
FEEDS = [{"x": R.standard_normal((2, 8, 6, 6)).astype(np.float32)} for _ in range(4)]


def quantized(body, before=""):
    graph = planish.load(model_of(HEAD.format(body), W))
    return planish.Pipeline.parse(f"{before}quantize{{measure=false}}").run(graph, FEEDS)


@pytest.mark.parametrize("name", ["Layer", "Outer"])
def test_functions_with_all_layers_are_the_reason_that_nothing_is_quantized(name):
    body = f"t = own.{name} (x, w) y = own.Soft (t)"
    result = quantized(body)
    assert result.edits == 0
    told = result.records[-1].remarks[-1]
    assert told.startswith("there is nothing to quantize: the layers in 1 local function of the")
    assert f"'{name}', are not seen through their calls; run exact or inline-functions" in told
    assert "QuantizeLinear" in ops(quantized(body, "inline-functions,").graph)


def test_functions_beside_layers_are_told():
    result = quantized("t = own.Layer (x, w) y = Conv <pads = [1, 1, 1, 1]> (t, w)")
    assert "QuantizeLinear" in ops(result.graph)
    assert any("1 local function of the model, 'Layer'" in r for r in result.records[-1].remarks)


def test_functions_without_layers_are_not():
    result = quantized("t = own.Soft (x) y = Conv <pads = [1, 1, 1, 1]> (t, w)")
    assert not any("local function" in r for r in result.records[-1].remarks)
