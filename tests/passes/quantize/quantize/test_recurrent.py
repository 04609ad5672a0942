"""Recurrent layers stay float; a remark names them and what makes them smaller."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import model_of, ops, reasons, run_pass

R = np.random.default_rng(0)
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
PLAIN = "quantize{measure=false,guard=off}"


def _normal(*shape):
    return R.standard_normal(shape).astype(np.float32)


def _weights(op):
    rows = GATES[op] * 5
    return {"w": _normal(1, rows, 6), "r": _normal(1, rows, 5), "m": _normal(6, 6)}


def _model(op, body=None):
    call = f"r1, y = {op} <hidden_size = 5> (h, w, r)"
    body = body or f"h = MatMul (x, m) {call}"
    text = f"g (float[T, N, 6] x) => (float[D, N, 5] y) {{ {body} }}"
    return model_of('<ir_version: 8, opset_import: ["" : 17]> ' + text, _weights(op))


def _told(result):
    return [text for text in result.records[0].remarks if "recurrent" in text]


@pytest.mark.parametrize("op", GATES)
def test_they_are_named(op):
    feeds = [{"x": _normal(3, 2, 6)} for _ in range(2)]
    result = run_pass(planish.load(_model(op)), PLAIN, feeds=feeds)
    assert "QuantizeLinear" in ops(result.graph)
    assert _told(result) == [
        "1 recurrent layer stays float, as ONNX has no integer operator for them; quantize-weights "
        f"stores their weights as integers ({op} 'r1')"
    ]


def test_a_graph_of_nothing_else():
    body = "r1, y = LSTM <hidden_size = 5> (x, w, r)"
    result = run_pass(planish.load(_model("LSTM", body)), PLAIN, feeds=[{"x": _normal(3, 2, 6)}])
    assert result.edits == 0
    assert len(_told(result)) == 1
    assert "LSTM 'r1'" in _told(result)[0]


@pytest.mark.parametrize("option", ["exclude=[r1]", "operators=[MatMul]"])
def test_those_that_were_left_out_on_purpose_are_not(option):
    feeds = [{"x": _normal(3, 2, 6)}]
    text = f"quantize{{measure=false,guard=off,{option}}}"
    assert not _told(run_pass(planish.load(_model("GRU")), text, feeds=feeds))


def test_one_inside_a_body():
    body = """c = Constant <value_int = 1> () k = Cast <to = 9> (c) h = MatMul (x, m)
        y = If (k) <
            then_branch = a () => (float[D, N, 5] p) { r2, p = GRU <hidden_size = 5> (h, w, r) },
            else_branch = b () => (float[D, N, 5] q) { r3, q = GRU <hidden_size = 5> (x, w, r) }
        >"""
    result = run_pass(planish.load(_model("GRU", body)), PLAIN, feeds=[{"x": _normal(3, 2, 6)}])
    (told,) = _told(result)
    assert told.startswith("2 recurrent layers stay float")
    assert "GRU 'r2'" in told
    assert "GRU 'r3'" in told


@pytest.mark.parametrize("op", GATES)
def test_quantizing_dynamically_says_so_too(op):
    result = run_pass(planish.load(_model(op)), "quantize-dynamically")
    assert any("quantize-weights" in reason for reason in reasons(result))
