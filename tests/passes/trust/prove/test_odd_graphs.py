"""Graphs of which proofs once made an error: what they do not know they leave open."""

from __future__ import annotations

import onnx
import pytest

import planish

GRAPHS = {
    "a rank that sizes decide": """<ir_version: 9, opset_import: ["": 13]>
        g (int64[N] i, bool[N] c) => (float[] y) <int64 k = {3}, int64[1] w = {-1}> {
            t = Where(c, k, i) u = Reshape(t, w) y = ConstantOfShape(u)
        }""",
    "tensors of a body": """<ir_version: 9, opset_import: ["": 9]>
        g (float[N,1] x) => (float[] y, int64 k) <int64 k = {1}> {
            t, u = Loop(k, "", x) <body = b (int64 i, bool c, float[] s)
                => (bool d, float[] r, float[] r) { r = Selu(s) d = Identity(c) }>
            y = Unsqueeze<axes = [2]>(t)
        }""",
    "a border beyond int64": """<ir_version: 9, opset_import: ["": 13]>
        g (uint64[1,1] x) => (uint64[] y)
        <uint64 v = {18446744073709551615}, int64[4] p = {2,0,0,1}> {
            t = Clip(x) y = Pad(t, p, v)
        }""",
}


@pytest.mark.parametrize("name", GRAPHS)
def test_what_is_not_known_is_no_error(name):
    graph = planish.load(onnx.parser.parse_model(GRAPHS[name]))
    result = planish.Pipeline.parse("exact").run(graph, verify="prove")
    assert result.certificate is not None
    assert planish.check_certificate(graph, result.graph, result.certificate) is not None
