"""Metrics on the command line: what is asked for, and what is told."""

import json

import numpy as np
import pytest

import planish
from planish.ir.core.errors import FeedError, RefusedError

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


@pytest.mark.parametrize("command", ["compare", "explain-int8", "optimize", "search", "sweep"])
@pytest.mark.parametrize("metric", ["judge.py:missing", "colour"])
def test_a_metric_that_is_not_there_is_refused_before_models_are_read(
    call, tmp_path, monkeypatch, command, metric
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "judge.py").write_text("def evaluate(compiled, feeds): return 1.0\n")
    two = {"compare": ("none.onnx",), "search": ("-o", "o.onnx"), "sweep": ("-o", "o.parquet")}
    asked = (command, "none.onnx", *two.get(command, ()), "--metric", metric)
    assert_refused(call(*asked), metric.rpartition(":")[2])


@pytest.mark.parametrize("guard", ["on", "off"])
@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("--metric", "embedding", "--class-axis", 1), "cosine "),
        (("--metric", "{judge}:evaluate", "--labels", "label"), "evaluate 9"),
    ],
)
def test_the_verdict_is_of_the_metric_that_was_asked_for(call, files, asked, told, guard):
    """On all samples, whether or not the pass had to bound it."""
    judge = files / "judge.py"
    judge.write_text(
        "def evaluate(compiled, feeds):\n"
        "    return [90 + (compiled(f)['y'][0, 0].argmax() == f['label'][0]) for f in feeds]\n",
        encoding="utf-8",
    )
    code, shown, err = call(
        "optimize",
        files / "a.onnx",
        *("-p", f"quantize{{measure=false,guard={guard}}}"),
        *("--feeds", files / ("f.npz" if "--labels" in asked else "g.npz")),
        *(str(word).format(judge=judge) for word in asked),
    )
    assert code == 0, err
    (line,) = [each for each in shown.splitlines() if each.startswith("measured: ")]
    assert f"; {told}" in line
    assert line.startswith("measured: SQNR ")
    assert " dB on 8 of 32 feeds; " in line


def test_nothing_is_said_of_parts_where_all_was_compared(call, files):
    np.savez(files / "few.npz", x=normal(8, 6, 8, seed=2))
    words = ("-p", "quantize{measure=false}", "--feeds", files / "few.npz")
    shown = call("optimize", files / "a.onnx", *words)[1]
    assert "feeds" not in shown.rpartition("measured: ")[2].splitlines()[0]


def test_metrics_of_outputs_that_tell_nothing_have_no_value(call, tmp_path):
    """Equal outputs that are NaN are no 100 % and no infinite ratio."""
    text = """g (float[N, 3] x) => (float[N, 3] y, float[N, 3] z) {
        a = Abs(x) b = Neg(a) c = Sub(b, one) l = Log(c) y = Softmax(l) z = Relu(x) }"""
    planish.save(graph_of(text, {"one": np.float32(1)}), tmp_path / "m.onnx")
    words = ("compare", tmp_path / "m.onnx", tmp_path / "m.onnx")
    _, shown, _ = call(*words, "-v")
    assert "of output 'y'" not in shown
    metrics = json.loads(call(*words, "--json")[1])["metrics"]
    values = {each["subject"]: each["value"] for each in metrics}
    (untold,) = [value for subject, value in values.items() if "'y'" in subject]
    assert untold is None
    assert all(value is not None for subject, value in values.items() if "'z'" in subject)


@pytest.mark.parametrize("command", ["compare", "optimize", "explain-int8"])
def test_labels_that_nothing_reads_are_refused(call, files, command):
    int8 = files / "int8.onnx"
    pipeline = ("-p", "quantize{measure=false,guard=off}")
    assert call("optimize", files / "a.onnx", int8, *pipeline, "--feeds", files / "g.npz")[0] == 0
    words = {
        "compare": (files / "a.onnx", int8),
        "optimize": (files / "a.onnx", *pipeline),
        "explain-int8": (int8, "--float", files / "a.onnx"),
    }[command]
    result = call(command, *words, "--labels", "label")
    assert_refused(result, "'label' is to be read from the feeds, and inputs are drawn")
    result = call(command, *words, "--labels", "label", "--feeds", files / "g.npz")
    assert_refused(result, "no entry 'label'")
    asked = ("--labels", "label", "--feeds", files / "f.npz", "--metric", "embedding")
    result = call(command, *words, *asked)
    assert_refused(result, "nothing would read the labels 'label'", "judged by embedding")


def test_labels_in_python(files):
    pair = (files / "a.onnx", files / "b.onnx")
    with pytest.raises(FeedError, match="no entry 'label'"):
        planish.compare(*pair, labels=["label"])
    feeds = [{"x": normal(4, 6, 8), "label": np.zeros(4, np.int64)}]
    with pytest.raises(RefusedError, match="nothing would read"):
        planish.compare(*pair, feeds, labels=["label"], metric="image")
    judged = planish.compare(*pair, feeds, labels=["label"], metric=lambda run, given: len(given))
    assert judged.metrics[0].value == 1
