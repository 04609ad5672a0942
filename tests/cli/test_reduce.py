"""`planish reduce`: what it writes and tells, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys

import onnx
import pytest

from planish.passes.pipeline.registry import REGISTERED

from tests.cli.common import assert_refused

CHECK = """
from __future__ import annotations

def shows(model):
    return any(node.op_type == "Conv" for node in model.graph.node)

def never(model):
    return False
"""


@pytest.fixture
def check(tmp_path):
    path = tmp_path / "check.py"
    path.write_text(CHECK)
    return path


def test_a_model_and_a_script_are_written(call, model, check, out):
    code, shown, err = call("reduce", model, "-o", out, "--check", f"{check}:shows")
    assert (code, err) == (0, "")
    assert "nothing of the model is left in it" in shown
    assert [node.op_type for node in onnx.load(out).graph.node] == ["Conv"]
    script = out.with_suffix(".py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "True\n")
    assert sorted(out.parent.iterdir()) == [out, script]


def test_json(call, model, check, out):
    code, shown, _ = call("reduce", model, "-o", out, "--check", f"{check}:shows", "--json")
    told = json.loads(shown)
    assert code == 0
    assert told["after"]["nodes"] == 1
    assert told["anonymous"] is True
    assert told["script"] == str(out.with_suffix(".py"))


def test_what_shows_nothing_is_refused_and_writes_nothing(call, model, check, out):
    words = ("reduce", model, "-o", out)
    assert_refused(call(*words, "--check", f"{check}:never"), "does not show")
    assert_refused(call(*words, "--wrong", "-p", "exact"), "does not show")
    assert_refused(call(*words), "--check, --wrong and --crash")
    assert_refused(call(*words, "--wrong"), "nobody is suspected")
    assert_refused(call(*words, "--check", f"{check}:shows", "-p", "exact"), "--pipeline")
    assert_refused(call(*words, "--crash", "-p", "exact", "--tolerance", "1"), "--tolerance")
    assert_refused(call("reduce", check, *words[2:], "--check", f"{check}:shows"), "no ONNX model")
    assert list(out.parent.iterdir()) == []


PLUGIN = """
import planish

@planish.register_pass(exact=True)
def leak(graph):
    \"\"\"Divide by too much.\"\"\"
    for node in graph.nodes:
        if node.op == "BatchNormalization":
            node.attrs["epsilon"] = 9.0
"""


def test_a_script_loads_the_plugin_of_its_pass_or_ends_otherwise(call, model, out, tmp_path):
    plugin = tmp_path / "leak.py"
    plugin.write_text(PLUGIN)
    before = dict(REGISTERED)
    try:
        words = ("--wrong", "-p", "leak", "--plugin", plugin)
        assert call("reduce", model, "-o", out, *words)[0] == 0
    finally:
        REGISTERED.clear()
        REGISTERED.update(before)

    def run(*more):
        words = [sys.executable, out.with_suffix(".py"), *more]
        return subprocess.run(words, capture_output=True, text=True)

    moved = plugin.rename(tmp_path / "moved.py")
    missing = run()
    assert (missing.returncode, missing.stderr) == (2, "")
    assert "leak.py' is no Python file" in missing.stdout
    assert "name the files that register it" in missing.stdout
    shown = run(moved)
    assert (shown.returncode, shown.stderr) == (1, "")
    assert "of its range" in shown.stdout
