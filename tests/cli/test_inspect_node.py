"""`planish inspect MODEL NODE`: one node, what is around it, and its constants."""

import json

import numpy as np
import onnx
import pytest

from tests.cli.common import assert_refused
from tests.helpers import model_of

TEXT = """g (bool c, float[1, 4] x) => (float[1, 4] y) {
    [scale] a = Mul(x, w)
    [choice] y = If (c) <
        then_branch = t () => (float[1, 4] p) { [inner] p = Add(a, k) },
        else_branch = e () => (float[1, 4] q) { q = Neg(a) }> }"""


@pytest.fixture
def path(tmp_path):
    values = np.array([0, 0, -1, 3], np.float32)
    model = model_of(TEXT, {"w": values, "k": np.ones(4, np.float32)})
    onnx.save(model, tmp_path / "m.onnx")
    return tmp_path / "m.onnx"


def test_a_node_is_shown_with_its_neighbours_and_constants(call, path):
    code, shown, err = call("inspect", path, "scale")
    assert (code, err) == (0, "")
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert lines[0] == "Mul 'scale'"
    assert "input 0 x float32[1, 4] an input of the graph" in lines
    assert "input 1 w float32[4] a constant" in lines
    assert "output 0 a float32[1, 4] 'inner' (Add), Neg -> 'q'" in lines
    assert "input 1 float32[4] -1 3 0.5 50.0 %" in lines
    assert call("inspect", path, "--node", "a")[1] == shown  # by what it makes


def test_a_node_of_a_body_reads_from_outside(call, path):
    shown = call("inspect", path, "inner")[1]
    assert "'scale' (Mul)" in shown
    assert "an output of the graph" in shown


def test_json(call, path):
    found = json.loads(call("inspect", path, "scale", "--json")[1])
    assert (found["node"]["op"], found["cost"]["parameters"]) == ("Mul", 4)
    assert found["outputs"][0]["nodes"] == ["'inner' (Add)", "Neg -> 'q'"]
    assert json.loads(call("inspect", path, "inner", "--json")[1])["cost"] is None


def test_what_is_no_node_is_refused(call, path):
    assert_refused(call("inspect", path, "scal"), "has no node 'scal'", "'scale'")
    assert_refused(call("inspect", path, "other.onnx"), "cannot read 'other.onnx'")
    assert_refused(call("inspect", path, "scale", "--top", 3), "--top", "one node is shown")


def test_an_empty_name_is_said_to_be_empty(call, path):
    assert_refused(call("inspect", path, ""), "the name of the node is empty")
