"""Graphs in which a sweep found a fault, as they were reduced: none is one any more."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from .check import check
from .mutated import problem_of
from tests.strategies.random_graphs import Drawn
from tests.strategies.random_graphs.evaluate import run_session, session_of

ONE = np.ones((1, 1, 1, 1))
FOUND = {
    "keepdims of -1": (
        7,
        "g (double[1,1,1,1] x, double z) => (double[] y) "
        "{ t = ReduceMean <axes = [-3, -3, 1, 1], keepdims = -1> (x) y = Div(t, z) }",
        {"x": ONE, "z": np.array(2.0)},
    ),
    "keepdims of 3 beside a Transpose": (
        10,
        "g (float[1,0,1,1,1,1] x) => (float[] y, float[] z) "
        "{ y = Transpose(x) z = ReduceMin <keepdims = 3> (x) }",
        {"x": np.zeros((1, 0, 1, 1, 1, 1), np.float32)},
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_it_is_no_fault_any_more(name):
    opset, text, feed = FOUND[name]
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')
    outputs = run_session(session_of(model), feed)
    assert check(Drawn(model=model, feeds=[feed], outputs=[outputs])).fault is None


@pytest.mark.parametrize("kind", ["model", "feeds", "pipeline"])
def test_files_with_other_bytes(kind):
    found = {number: problem_of(kind, number)[1] for number in range(4)}
    assert {number: problem for number, problem in found.items() if problem} == {}
