"""The template plug-in, built as a wheel and installed: what a distribution of its own can do."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.helpers import model_of

TEMPLATE = Path(__file__).parents[1] / "examples" / "plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return what runs Python with the plug-in installed, and nothing of its sources in sight."""
    folder = tmp_path_factory.mktemp("plugin")
    source, place = folder / "source", folder / "place"
    leave = shutil.ignore_patterns("build", "*.egg-info", "__pycache__", "tests")
    shutil.copytree(TEMPLATE, source, ignore=leave)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    pip += ["--no-index", "--disable-pip-version-check", "--target", str(place), str(source)]
    subprocess.run(pip, check=True, capture_output=True)
    shutil.rmtree(source)
    path = os.pathsep.join([str(place), *filter(None, [os.environ.get("PYTHONPATH")])])

    def run(*words):
        found = subprocess.run(
            [sys.executable, *map(str, words)],
            env={**os.environ, "PYTHONPATH": path},
            cwd=folder,
            capture_output=True,
            text=True,
        )
        assert found.returncode == 0, found.stdout + found.stderr
        return found.stdout

    return run


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Return a file with one Neg to absorb and one whose operand a Relu reads too."""
    path = tmp_path_factory.mktemp("model") / "m.onnx"
    made = model_of(
        """g (float[3, 2] x) => (float[3, 2] y, float[3, 2] z) {
            a = MatMul(x, w)  b = Neg(a)
            c = MatMul(b, v)  y = Neg(c)  z = Relu(c) }""",
        {name: np.array([[1, -2], [0.5, 3]], np.float32) for name in ("w", "v")},
    )
    onnx.save(made, path)
    return path


# One process for all that is asked of the installed plug-in: it takes a second to start.
SESSION = """
import sys
sys.modules["tvm"] = None  # of the backends that are listed, slow to import
import numpy as np
import planish
import planish_example.absorb_negation as plugin
from planish import write_layer
from planish.cli.main import main

def command(*words):
    sys.argv[:] = ["planish", *words]
    try:
        main()
    except SystemExit as end:
        print("code", end.code)

model = sys.argv[1]
graph = planish.load(model)
pipeline = planish.Pipeline.parse("absorb-negation{largest=9},eliminate-dead-code")
assert type(pipeline.passes[0]) is plugin.AbsorbNegation
result = pipeline.run(graph, verify="each")
record = result.records[0]
print(record.text, record.edits, [d.reason for d in record.declined], result.verified)
print([node.op for node in result.graph.nodes], pipeline.run(result.graph).edits)
feed = {"x": np.arange(6, dtype=np.float32).reshape(3, 2)}
ours = planish.lower(result.graph, backend="onnx-reference")(feed)
theirs = planish.lower(graph, backend="onnxruntime")(feed)
print(all(np.allclose(ours[name], theirs[name], rtol=1e-6) for name in theirs))

class Forgets(plugin._Absorb):
    def rewrite(self, site, edit):
        result = site.negation.outputs[0]
        edit.remove(site.negation)
        write_layer(edit, site.layer, site.layer.kernel(), result=result)

for words in (["passes"], ["passes", "absorb-negation"], ["backends"]):
    print("= command")
    command(*words)
plugin._Absorb = Forgets
print("= command")
command("bisect", model, "-p", "absorb-negation")
"""


@pytest.fixture(scope="module")
def shown(installed, model):
    """Return what the session shows: the pipeline, then each command."""
    return installed("-c", SESSION, model).split("= command\n")


def test_its_pass_runs_in_a_pipeline_and_its_backend_lowers(shown):
    assert shown[0].splitlines() == [
        "absorb-negation{largest=9} 1 ['its operand has other readers'] True",
        "['MatMul', 'MatMul', 'Neg', 'Relu'] 0",
        "True",
    ]


def test_the_command_lists_and_describes_them(shown):
    listed, described, backends = shown[1:4]
    assert [text.endswith("code 0\n") for text in shown[1:4]] == [True] * 3
    assert "absorb-negation" in listed
    assert "-(W x + b) = (-W) x + (-b)" in described
    assert "its operand has other readers" in described
    assert "onnx-reference" in backends


def test_bisect_finds_an_edit_that_it_makes_wrongly(shown):
    assert "absorb-negation" in shown[4]
    assert shown[4].endswith("code 1\n")


def test_its_own_tests_pass_beside_the_installed_package(installed):
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", TEMPLATE]
    assert " passed" in installed(*words, TEMPLATE / "tests")


def test_everything_comes_from_planish_itself():
    for source in (TEMPLATE / "src").rglob("*.py"):
        for line in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            names = [line.module or ""] if isinstance(line, ast.ImportFrom) else []
            names += [each.name for each in line.names] if isinstance(line, ast.Import) else []
            assert not any(name.startswith("planish.") for name in names), (source, names)
