"""Every command on models with something wrong: done, or one sentence and nothing written."""

from __future__ import annotations

from random import Random

import numpy as np
import onnx
import pytest

from tests.helpers import model_of
from tests.strategies.broken import break_a_parameter, models
from tests.strategies.damage import DAMAGES
from tests.strategies.random_graphs import KINDS, graph

NETWORK = """<ir_version: 10, opset_import: ["" : 20, "local" : 1]>
g (float[N, 4, 6, 6] x, bool c) => (float[] y, float[] z) <int64[2] flat = {0, -1}> {
    t = Transpose <perm = [0, 2, 3, 1]> (x)
    u = Transpose <perm = [0, 3, 1, 2]> (t)
    h = Conv <pads = [1, 1, 1, 1]> (u, w)
    n = BatchNormalization (h, s, s, s, s)
    r = local.Act (n)
    y = If (c) <
        then_branch = a () => (float[] p) { p = Neg(r) },
        else_branch = b () => (float[] q) <float[1] k = {2.0}> { q = Mul(r, k) }>
    f = Reshape(y, flat)
    z = Gemm(f, d)
}
<domain: "local", opset_import: ["" : 20]> Act (X) => (Y) { Y = Relu(X) }"""
GENERATOR = np.random.default_rng(0)
WEIGHTS = {
    "w": GENERATOR.standard_normal((4, 4, 3, 3)).astype(np.float32),
    "s": np.full(4, 0.5, np.float32),
    "d": GENERATOR.standard_normal((144, 2)).astype(np.float32),
}
ROOF = ("--peak-gflops", "10", "--bandwidth-gbs", "10")


def commands(model, out):
    return [
        ("inspect", model, *ROOF),
        ("inspect", model, "--groups"),
        ("diff", model, model),
        ("report", model, "-o", out, "--no-times"),
        ("optimize", model, "-o", out),
    ]


def assert_done_or_refused(call, words, out):
    code, shown, err = call(*words)
    assert code in (0, 1, 2)
    assert "Traceback" not in shown + err
    assert "bug in planish" not in err
    if code == 2:
        assert err.startswith("error: ")
        assert list(out.parent.iterdir()) == []
    for made in out.parent.iterdir():
        made.unlink()


@pytest.fixture(autouse=True)
def _not_strict(monkeypatch):
    monkeypatch.delenv("PLANISH_STRICT", raising=False)


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_damaged(call, tmp_path, out, name, seed):
    path = tmp_path / "odd.onnx"
    model = model_of(NETWORK, WEIGHTS)
    DAMAGES[name](model, Random(f"{name} {seed}"))
    path.write_bytes(model.SerializeToString())
    for words in commands(path, out)[seed:]:
        assert_done_or_refused(call, words, out)


@pytest.mark.parametrize("position", range(len(models())))
def test_broken_parameters(call, tmp_path, out, position):
    path, good = tmp_path / "odd.onnx", tmp_path / "good.onnx"
    name, model = list(models().items())[position]
    onnx.save(model, good)
    break_a_parameter(model, Random(f"command {name}"))
    path.write_bytes(model.SerializeToString())
    more = ("compare", good, path), ("compile", path, "-o", out)
    all_commands = [*commands(path, out), *more]
    for words in (all_commands[position % len(all_commands)], ("optimize", path, "-o", out)):
        assert_done_or_refused(call, words, out)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_random_graphs(call, tmp_path, out, kind):
    path, good = tmp_path / "odd.onnx", tmp_path / "good.onnx"
    for seed in range(100):
        rng = Random(f"damaged {kind} {seed}")
        drawn = graph(kind, rng)
        if drawn is None or not any(t.dims for t in drawn.model.graph.initializer):
            continue
        onnx.save(drawn.model, good)
        model = onnx.ModelProto.FromString(good.read_bytes())
        DAMAGES[rng.choice(list(DAMAGES))](model, rng)
        path.write_bytes(model.SerializeToString())
        for words in (
            *commands(path, out),
            ("compare", good, path),
            ("compile", path, "-o", out),
            ("bisect", path, "-p", "cleanup"),
        ):
            assert_done_or_refused(call, words, out)


FORGED = "verified: nothing to see"


def named_over_two_lines(path):
    """Write a model each of whose names goes on in a line of its own."""
    weights = {"w": np.ones((2, 3, 1, 1), np.float32), "none": np.zeros(0, np.float32)}
    text = """g (float[1, 3, 4, 4] x) => (float[1, 2, 4, 4] y) {
        c = Conv(x, w) i = Identity(c) d = Dropout(i) y = Mul(d, c) }"""
    model = model_of(text, weights)
    for node in model.graph.node:
        node.name = f"{node.op_type}\n{FORGED}"
        for names in (node.input, node.output):
            names[:] = [f"{n}\n{FORGED}" if n in ("c", "d", "y") else n for n in names]
    model.graph.output[0].name += f"\n{FORGED}"
    onnx.save(model, path)


@pytest.mark.parametrize(
    "words",
    [
        ("bisect", "-p", "skewed,exact"),
        ("inspect",),
        ("inspect", "--groups"),
    ],
    ids=" ".join,
)
def test_names_stay_in_their_lines(call, tmp_path, words):
    named_over_two_lines(path := tmp_path / "two.onnx")
    (plugin := tmp_path / "skewed.py").write_text(SKEWED)
    asked = ["--plugin", plugin] if "skewed" in str(words) else []
    _, shown, error = call(words[0], path, *words[1:], *asked)
    lines = [*shown.splitlines(), *error.splitlines()]
    assert any(FORGED in line for line in lines)
    assert not any(line.strip().startswith(FORGED) for line in lines)


SKEWED = """import planish


@planish.register_pass(exact=True)
def skewed(graph):
    "Scale a weight."
    graph.nodes[0].inputs[1].values = graph.nodes[0].inputs[1].values * 2
"""
