"""`--json`: one object on standard output, and every key of it in the reference."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

import planish
from planish.cli.main import COMMANDS

from tests.cli.common import X

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "json.md"
# What lies below these is named by the model or the machine; options of a preset by its passes.
NAMED = ("operators", "peaks", "lacking", "inputs", "versions", "attributes")


def documented(command):
    page = PAGE.read_text("utf-8")
    (section,) = re.findall(rf"^## {command}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    return {word for text in re.findall(r"`([^`]+)`", section) for word in text.split(", ")}


def keys(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key not in NAMED and not (key == "options" and isinstance(inner, dict)):
                yield from keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys(inner)


COMMAND_LINES = (
    "optimize {m} -p fold-batchnorm,prune{{amount=0.5}}",
    "compile {m}",
    "bench {m} --rounds 1 --warmup 0",
    "bench {m} --rounds 1 --per-layer",
    "compare {m} {m}",
    "inspect {m} --peak-gflops 100 --bandwidth-gbs 10",
    "passes",
    "passes prune",
    "passes int8",
    "backends",
    "bisect {m}",
    "diff {m} {m}",
    "doctor {m}",
    "report {m} --no-times",
)


def assert_documented(call, text, **files):
    command, *words = text.format(**files).split()
    code, shown, _ = call(command, *words, "--json")
    assert code == 0
    found = json.loads(shown)
    assert isinstance(found, dict)
    known = documented(command) | documented("compare")  # to which others refer
    assert set(keys(found)) - known == set()


@pytest.mark.parametrize("text", COMMAND_LINES)
def test_every_key_is_in_the_reference(call, model, text):
    assert_documented(call, text, m=model)


@pytest.mark.slow
def test_every_key_of_an_explanation_is_in_the_reference(call, model, tmp_path):
    graph = planish.load(model)
    pipeline = planish.Pipeline.parse("fold-batchnorm,quantize{measure=false}")
    planish.save(pipeline.run(graph, [{"x": X}], "off").graph, tmp_path / "i8.onnx")
    assert_documented(call, "explain-int8 {m}", m=tmp_path / "i8.onnx")


def test_every_command_is_asked():
    asked = {text.split()[0] for text in COMMAND_LINES}
    apart = {"check_certificate", "explain_int8", "reduce", "search", "sweep"}
    assert asked | apart == set(COMMANDS)


def test_what_is_told_beside_it_goes_elsewhere(call, model):
    code, shown, err = call("optimize", model, "--json", "--input-shape", "x=5,3,9,9")
    assert code == 0
    assert json.loads(shown)["models"][0]["output"] is None
    assert "5" in err


@pytest.mark.parametrize("command", ["optimize", "compile"])
def test_random_inputs_are_said(call, model, tmp_path, command):
    _, shown, _ = call(command, model, "--json")
    assert json.loads(shown)["models"][0]["inputs"] == {"x": [2, 3, 9, 9]}
    np.savez(tmp_path / "f.npz", x=X)
    _, shown, _ = call(command, model, "--json", "--feeds", tmp_path / "f.npz")
    assert json.loads(shown)["models"][0]["inputs"] is None


def test_numbers_that_are_not_finite_are_texts(call, model):
    _, shown, _ = call("compare", model, model, "--json")
    assert json.loads(shown)["outputs"][0]["sqnr_db"] == "inf"


def test_quiet_leaves_json(call, model):
    _, shown, _ = call("optimize", model, "--json", "-q")
    assert json.loads(shown)["models"]


def test_exit_codes_are_those_of_the_text(call, tmp_path, model):
    other = onnx.load(model)
    other.graph.initializer[0].raw_data = bytes(len(other.graph.initializer[0].raw_data))
    onnx.save(other, tmp_path / "other.onnx")
    words = ("compare", model, tmp_path / "other.onnx", "--tolerance", 1e-6)
    assert call(*words, "--json")[0] == call(*words)[0] == 1
