"""Metrics on the command line: what is asked for, and what is told."""

import numpy as np
import pytest

import planish

from tests.cli.common import assert_refused
from tests.helpers import graph_of

WORDS = "g (float[N, 6, 8] x) => (float[N, 6, 5] y) { m = MatMul(x, w) y = Softmax<axis = 2>(m) }"


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture
def files(tmp_path):
    """A classifier of steps, another like it, and feeds with labels."""
    weights = normal(8, 5)
    for name, noise in (("a", 0), ("b", 0.2)):
        graph = graph_of(WORDS, {"w": weights + np.float32(noise) * normal(8, 5, seed=1)})
        planish.save(graph, tmp_path / f"{name}.onnx")
    x = normal(32, 6, 8, seed=2)
    np.savez(tmp_path / "f.npz", x=x, label=(x @ weights).argmax(2)[:, 0])
    np.savez(tmp_path / "g.npz", x=x)
    return tmp_path


def test_compare_says_which_metric_along_which_axis(call, files):
    code, shown, _ = call("compare", files / "a.onnx", files / "b.onnx", "--feeds", files / "g.npz")
    assert code == 0
    assert "axis 2" in shown
    assert "top-1 agreement along axis 2 of output 'y'" in shown
    assert "with 95 % confidence" in shown
    asked = ("--metric", "embedding", "--class-axis", 1)
    _, shown, _ = call("compare", files / "a.onnx", files / "b.onnx", *asked)
    assert "cosine along axis 1 of output 'y'" in shown


def test_compare_takes_a_function_and_labels(call, files):
    judge = files / "judge.py"
    judge.write_text(
        "def evaluate(compiled, feeds):\n"
        "    return [float(compiled(f)['y'][0, 0].argmax() == f['label'][0]) for f in feeds]\n",
        encoding="utf-8",
    )
    code, shown, _ = call(
        "compare",
        files / "a.onnx",
        files / "b.onnx",
        *("--feeds", files / "f.npz", "--labels", "label", "--metric", f"{judge}:evaluate"),
    )
    assert code == 0
    assert "evaluate of" in shown


def test_optimize_takes_a_drop_in_percent(call, files):
    code, shown, _ = call(
        "optimize",
        files / "a.onnx",
        *("-o", files / "c.onnx", "-p", "quantize{measure=false}", "--feeds", files / "g.npz"),
        *("--max-drop", "20%"),
    )
    assert code == 0
    assert "for max-drop=0.2" in shown
    assert "top-1 agreement along axis 2 of output 'y'" in shown
    assert "32 samples show a drop of at most" in shown


@pytest.mark.parametrize(
    ("pipeline", "options", "words"),
    [
        ("quantize", ("--max-drop", "much"), ("--max-drop is 'much'", "1%")),
        ("quantize", ("--max-drop", "200%"), ("max-drop is 2.0",)),
        ("exact", ("--max-drop", "1%"), ("no pass of the pipeline takes max-drop",)),
        ("quantize", ("--metric", "colour"), ("metric is 'colour'",)),
    ],
)
def test_what_cannot_be_meant_is_refused(call, files, pipeline, options, words):
    target = files / "c.onnx"
    asked = ("-p", pipeline, "--feeds", files / "g.npz", *options)
    assert_refused(call("optimize", files / "a.onnx", "-o", target, *asked), *words)
    assert not target.exists()
