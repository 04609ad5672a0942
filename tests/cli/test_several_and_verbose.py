"""Several models to a command, what -v adds to each, and what --strict asks."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

from tests.cli.common import X, assert_refused
from tests.helpers import model_of

ROOF = ("--peak-gflops", 1, "--bandwidth-gbs", 1)


@pytest.fixture
def other(tmp_path):
    onnx.save(model_of("g (float[2] x) => (float[2] y) { y = Relu(x) }"), tmp_path / "other.onnx")
    return tmp_path / "other.onnx"


@pytest.mark.parametrize(("command", "options"), [("inspect", ROOF), ("bisect", ())])
def test_several_models_are_shown_one_after_the_other(call, model, other, command, options):
    alone = [call(command, path, *options)[1] for path in (model, other)]
    code, shown, _ = call(command, model, other, *options)
    assert code == 0
    paths = (model, other)
    assert shown == "".join(f"{p}:\n{text}" for p, text in zip(paths, alone, strict=True))
    found = json.loads(call(command, model, other, *options, "--json")[1])["models"]
    assert [each["model"] for each in found] == [str(model), str(other)]
    assert found[0] == json.loads(call(command, model, *options, "--json")[1])


@pytest.mark.parametrize(("command", "options"), [("inspect", ROOF), ("bisect", ())])
def test_json_has_the_models_before_one_that_is_refused(call, model, command, options):
    code, shown, _ = call(command, model, "nowhere.onnx", *options, "--json")
    assert code == 2
    assert [each["model"] for each in json.loads(shown)["models"]] == [str(model)]


def test_bisect_of_several_ends_with_a_difference_where_one_has_it(call, model, other, tmp_path):
    plugin = tmp_path / "breaking.py"
    plugin.write_text(
        "import planish\n\n\n"
        "@planish.register_pass(name='breaking', exact=True)\n"
        "def breaking(graph):\n"
        '    "Take every Relu for its input."\n'
        "    for node in graph.nodes:\n"
        "        if node.op == 'Relu':\n"
        "            node.op = 'Neg'\n"
    )
    words = ("-p", "breaking", "--plugin", plugin)
    code, shown, _ = call("bisect", model, other, *words)
    assert code == 1
    kept, broken = shown.split(f"{other}:")
    assert "every edit keeps the result" in kept
    assert "of pass 1, 'breaking'" in broken


@pytest.mark.parametrize(
    ("words", "more"),
    [
        (("optimize", "{m}"), "operator "),
        (("compile", "{m}"), "operator "),
        (("compare", "{m}", "{m}"), "judged by"),
        (("inspect", "{m}", *ROOF), "opset 20, Conv, BatchNormalization"),
        (("bisect", "{m}"), ""),
        (("bench", "{m}", "--rounds", 1, "--warmup", 0), "onnxruntime "),
        (("passes",), "map-limit"),
        pytest.param(("backends",), "options of a target", marks=pytest.mark.slow),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_verbose_says_more_and_nothing_less(call, model, words, more):
    words = [model if word == "{m}" else word for word in words]
    code, usual, _ = call(*words)
    assert code == 0
    code, shown, _ = call(*words, "-v")
    assert code == 0
    assert len(shown) >= len(usual) * 0.8  # times have fewer digits now and then
    assert more in shown
    assert not more or more not in usual


@pytest.fixture
def untold(tmp_path):
    """A model that passes edit, and whose output is NaN whatever goes in."""
    text = """g (float[1] x) => (float[1] y) {
        i = Identity(x) a = Abs(i) n = Neg(a) b = Add(n, c) y = Sqrt(b) }"""
    onnx.save(model_of(text, {"c": np.array([-1], np.float32)}), tmp_path / "untold.onnx")
    return tmp_path / "untold.onnx"


@pytest.mark.parametrize("command", ["optimize", "compile"])
def test_strict_refuses_what_was_edited_and_not_verified(call, untold, out, command):
    code, shown, _ = call(command, untold, out)
    assert code == 0
    assert "NOT verified" in shown
    out.unlink()
    result = call(command, untold, out, "--strict")
    assert_refused(result, "not verified", "nothing was written", as_=3)
    assert not out.exists()


@pytest.mark.parametrize("command", ["optimize", "compile"])
def test_strict_is_content_with_what_was_verified_and_with_what_nobody_edited(
    call, model, other, out, command
):
    assert call(command, model, out, "--strict")[0] == 0
    assert call(command, other, out, "--strict")[0] == 0


def test_strict_refuses_a_lowered_network_that_cannot_be_told(call, untold, out):
    """No pass edits here, and what the backend made of it is still not shown to be right."""
    result = call("compile", untold, out, "--strict", "-p", "eliminate-dead-code")
    assert_refused(result, "the lowered network is NOT verified", as_=3)
    assert not out.exists()


@pytest.mark.usefixtures("brief_bench")
def test_explain_int8_takes_in_and_out(call, model, tmp_path, out):
    np.savez(tmp_path / "f.npz", x=X)
    words = ("--feeds", tmp_path / "f.npz")
    int8 = tmp_path / "int8.onnx"
    pipeline = "fold-batchnorm,quantize{measure=false}"
    assert call("optimize", model, int8, "-p", pipeline, *words)[0] == 0
    words += ("--float", model, "--apply", "--threads", 1)
    result = call("explain-int8", int8, model, *words)
    assert_refused(result, "would be OUT and --float; name another file")
    code, shown, _ = call("explain-int8", int8, out, *words, "--top", 1)
    assert code == 0
    assert out.exists()
    assert "own SQNR" in shown
    found = json.loads(call("explain-int8", int8, "--top", 1, "--json", *words[:2])[1])
    assert len(found["layers"]) == 1
