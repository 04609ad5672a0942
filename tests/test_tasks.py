"""The scripts of `examples/tasks` run as a person runs them: from elsewhere, on files, in order."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.docs.test_snippets import network
from tests.helpers import model_of, run_ort

TASKS = Path(__file__).parents[1] / "examples" / "tasks"

pytestmark = pytest.mark.slow

LEAN = """
import runpy, sys
sys.argv = ["run_artifact.py", sys.argv[1]]
runpy.run_path({script!r}, run_name="__main__")
unwanted = {{"onnx", "onnxruntime", "onnx_graphsurgeon", "torch"}} & sys.modules.keys()
assert not unwanted, unwanted
"""


@pytest.fixture
def folder(tmp_path):
    """Return a folder with `model.onnx`, photographs, and the command `planish` in `bin`."""
    image = pytest.importorskip("PIL.Image")
    onnx.save(network(), tmp_path / "model.onnx")
    (tmp_path / "photographs").mkdir()
    generator = np.random.default_rng(1)
    for index in range(4):
        pixels = generator.integers(0, 256, (40, 48, 3), np.uint8)
        image.fromarray(pixels).save(tmp_path / "photographs" / f"{index}.png")
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "planish"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m planish "$@"\n')
    command.chmod(0o755)
    return tmp_path


def run(folder, script, *arguments, **environment):
    """Run a script in `folder`, which must end well; return what it printed."""
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", str(TASKS / script), *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PATH": path, "ROUNDS": "2", "PYTHON": sys.executable, "NO_COLOR": "1"}
        | environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    return done.stdout


def test_other_sizes(folder):
    shown = run(folder, "fix_shapes.sh", "model.onnx", "x=2,3,48,48", "fixed.onnx")
    assert "[2,3,48,48]" in shown
    feed = {"x": np.ones((2, 3, 48, 48), np.float32)}
    model = onnx.load(folder / "model.onnx")
    for size in model.graph.input[0].type.tensor_type.shape.dim:
        size.dim_param = f"any{size.dim_value}"
    expected = run_ort(model, feed)["logits"]
    found = run_ort(onnx.load(folder / "fixed.onnx"), feed)["logits"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_faster(folder):
    shown = run(folder, "optimize.sh", "model.onnx", "fast.onnx")
    assert "\nverified: " in shown
    nodes = [len(onnx.load(folder / name).graph.node) for name in ("model.onnx", "fast.onnx")]
    assert nodes[1] < nodes[0]


def test_why_not_more(folder):
    model = model_of(
        "g (float[1,3,8,8] x) => (float[1,4,6,6] y) "
        "{ c = Conv(x, w) a = Sigmoid(c) y = Add(a, c) }",
        {"w": np.ones((4, 3, 3, 3), np.float32)},
    )
    onnx.save(model, folder / "kept.onnx")
    shown = run(folder, "why_not_more.sh", "kept.onnx")
    for words in ("left alone because", "roofline", "operator", "nothing was written"):
        assert words in shown


def test_integers_and_why_they_are_worse(folder):
    shown = run(folder, "int8_photographs.sh", "model.onnx", "photographs", "int8.onnx")
    (highest,) = re.findall(r"^4 images -> x .*values [\d.]+\.\.([\d.]+)$", shown, re.MULTILINE)
    assert 128 < float(highest) <= 255
    assert "\nmeasured: SQNR " in shown
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(folder / "int8.onnx").graph.node}
    shown = run(folder, "why_worse.sh", "int8.onnx", "model.onnx", "photographs", "better.onnx")
    assert "own SQNR" in shown
    assert (folder / "better.onnx").exists()


def test_channels_go_and_what_they_did_is_learned_again(folder):
    pytest.importorskip("torch")
    options = {"STEPS": "2", "MEASURE": "false"}  # whether it pays here is not the question
    shown = run(folder, "prune_recover.sh", "model.onnx", "photographs", "small.onnx", **options)
    assert re.search(r"^recover\{steps=2\} ", shown, re.MULTILINE)
    assert "samples/s" in shown
    sizes = [
        sum(np.prod(tensor.dims) for tensor in onnx.load(folder / name).graph.initializer)
        for name in ("model.onnx", "small.onnx")
    ]
    assert sizes[1] < 0.9 * sizes[0]


def test_an_artifact_runs_in_a_lean_process(folder):
    pytest.importorskip("tvm")
    shown = run(folder, "tvm_artifact.sh", "model.onnx", "model.planish")
    assert "lowered: verified" in shown
    assert "logits float32 (1, 10)" in shown
    code = LEAN.format(script=str(TASKS / "run_artifact.py"))
    lean = [sys.executable, "-c", code, str(folder / "model.planish")]
    done = subprocess.run(lean, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "logits float32 (1, 10)" in done.stdout


def test_a_pass_of_ones_own(folder):
    scales = {"a": np.float32(3), "b": np.float32(5)}
    model = model_of("g (float[2] x) => (float[2] y) { m = Mul(x, a) n = Relu(m) p = Mul(n, a) "
                     "y = Mul(p, b) }", scales)  # fmt: skip
    onnx.save(model, folder / "scales.onnx")
    shown = run(folder, "custom_pass.sh", "scales.onnx", "out.onnx")
    assert re.search(r"^merge-scales +4 -> 3 +1 ", shown, re.MULTILINE)
    feed = {"x": np.array([2, -1], np.float32)}
    np.testing.assert_array_equal(
        run_ort(onnx.load(folder / "out.onnx"), feed)["y"], run_ort(model, feed)["y"]
    )


@pytest.mark.parametrize("path", sorted(TASKS.glob("*.py")), ids=lambda path: path.name)
def test_no_private_module_is_imported(path):
    text = path.read_text("utf-8")
    assert re.findall(r"^\s*(?:from|import) planish\.", text, re.MULTILINE) == []


def test_every_task_is_listed_and_says_what_it_takes():
    page = (TASKS / "README.md").read_text("utf-8")
    scripts = sorted(path.name for path in TASKS.iterdir() if path.suffix in (".sh", ".py"))
    assert sorted(set(re.findall(r"\]\((\w+\.(?:sh|py))\)", page))) == scripts
    for path in TASKS.glob("*.sh"):
        assert f"#     {path.name} " in path.read_text("utf-8")
    assert shutil.which("sh")
