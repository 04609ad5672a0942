"""`planish diff`: what it prints, and how it ends."""

import json

import numpy as np
import onnx
import pytest

from tests.cli.common import assert_refused
from tests.helpers import model_of

TEXT = "g (float[1, 4] x) => (float[1, 4] y) { a = Mul(x, w) [the_name] b = Relu(a) y = Neg(b) }"


@pytest.fixture
def pair(tmp_path):
    weights = {"w": np.arange(4, dtype=np.float32)}
    one = model_of(TEXT, weights)
    two = model_of(TEXT.replace("Relu", "Sigmoid"), {"w": weights["w"] + np.float32(0.5)})
    paths = tmp_path / "a.onnx", tmp_path / "b.onnx"
    for path, model in zip(paths, (one, two), strict=True):
        onnx.save(model, path)
    return paths


def test_a_difference_is_shown_and_ends_with_1(call, pair):
    code, shown, err = call("diff", *pair)
    assert (code, err) == (1, "")
    assert shown.splitlines()[1:] == [
        "3 nodes -> 3 nodes, 1 the same, 1 replaced, 1 changed",
        "~ Mul 'a'",
        "    weights at input 1: float32[4], at most 0.5 apart, 0.267 of the norm",
        "* Relu 'the_name' -> Sigmoid 'the_name'",
    ]


def test_no_difference_ends_with_0(call, pair):
    code, shown, err = call("diff", pair[0], pair[0])
    assert (code, err) == (0, "")
    assert shown.splitlines()[1:] == ["3 nodes -> 3 nodes, 3 the same"]


def test_json_has_all_of_it(call, pair):
    code, shown, _ = call("diff", *pair, "--json")
    assert code == 1
    found = json.loads(shown)
    assert found["counts"] == {"replaced": 1, "changed": 1}
    assert found["before"] == str(pair[0])
    (mul, relu) = found["changes"]
    assert mul["weights"][0]["max_abs"] == 0.5
    assert relu["after"][0]["op"] == "Sigmoid"


def test_what_is_no_model_is_refused_with_2(call, pair, tmp_path):
    assert_refused(call("diff", pair[0], tmp_path / "none.onnx"), "none.onnx")
    (tmp_path / "odd.onnx").write_bytes(b"not a model")
    assert_refused(call("diff", tmp_path / "odd.onnx", pair[0]), "odd.onnx")


def test_names_stay_in_their_lines_and_tell_the_terminal_nothing(call, tmp_path):
    model = model_of(TEXT, {"w": np.zeros(4, np.float32)})
    model.graph.node[1].name = "evil\x1b[31m\nname"
    onnx.save(model, tmp_path / "a.onnx")
    model.graph.node[1].op_type = "Abs"
    onnx.save(model, tmp_path / "b.onnx")
    _, shown, _ = call("diff", tmp_path / "a.onnx", tmp_path / "b.onnx")
    assert "\x1b" not in shown
    assert len(shown.splitlines()) == 3


def test_a_long_name_is_told_by_its_ends(call, tmp_path):
    long = "first" + 5000 * "L" + "last"
    model = model_of(TEXT.replace("the_name", long), {"w": np.arange(4, dtype=np.float32)})
    onnx.save(model, tmp_path / "a.onnx")
    model.graph.node[1].op_type = "Sigmoid"
    onnx.save(model, tmp_path / "b.onnx")
    shown = [call("diff", tmp_path / "a.onnx", tmp_path / "b.onnx")[1]]
    shown += [call("inspect", tmp_path / "a.onnx", name)[1] for name in (long, "a", "y")]
    for text in shown:
        assert "firstLL" in text
        assert "LLlast" in text
        assert len(text) < 2000
    assert long in call("inspect", tmp_path / "a.onnx", long, "--json")[1]
