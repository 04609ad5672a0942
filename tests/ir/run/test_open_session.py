"""Outputs that an optimizer of ONNX Runtime loses: the session is made without it."""

import numpy as np
import pytest

import planish
from planish.ir.run.reference import Reference

from tests.helpers import graph_of

LOSES = "ConvAddActivationFusion"


def two_convolutions(group, outputs, bias=("b",), width=6, order="c, d", tail="Relu"):
    """Conv -> two convolutions of `group` -> Add -> `tail`; `bias`: which of the two have one."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((6, 3, 3, 3)).astype(np.float32),
        "v": rng.standard_normal((width, 6 // group, 1, 1)).astype(np.float32),
        "u": rng.standard_normal((width, 6 // group, 1, 1)).astype(np.float32),
        "k": rng.standard_normal(width).astype(np.float32),
    }
    first, second = (", k" if name in bias else "" for name in "cd")
    shown = ", ".join(f"float[N, {width}, 5, 5] {name}" for name in outputs)
    return graph_of(
        f"""g (float[N, 3, 7, 7] x) => ({shown}) {{
            a = Conv(x, w)
            c = Conv<group={group}>(a, v{first})
            d = Conv<group={group}>(a, u{second})
            e = Add({order})
            y = {tail}(e)
        }}""",
        weights,
    )


@pytest.mark.parametrize(
    ("group", "width", "outputs", "bias", "order", "tail"),
    [
        (2, 6, "dy", "d", "c, d", "Relu"),
        (2, 6, "dy", "d", "d, c", "Abs"),
        (6, 6, "cy", "c", "c, d", "Relu"),
        (6, 6, "dey", "d", "d, c", "Abs"),
        (2, 8, "cy", "cd", "d, c", "Relu"),
        (1, 6, "dy", "d", "c, d", "Relu"),
    ],
)
def test_a_shown_convolution_that_takes_a_sum(group, width, outputs, bias, order, tail):
    graph = two_convolutions(group, outputs, bias, width, order, tail)
    feed = planish.random_feeds(graph, samples=1, seed=1)[0]
    expected = Reference(graph, threads=1)(feed)
    found = Reference(graph, optimized=True, threads=1)(feed)
    assert list(found) == list(outputs)
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5)


def test_lowered_it_runs_and_its_code_makes_the_same_session(tmp_path, capfd):
    graph = two_convolutions(2, "dy", "d")
    feed = planish.random_feeds(graph, samples=1, seed=1)[0]
    expected = Reference(graph, threads=1)(feed)
    compiled = planish.lower(graph, "onnxruntime{disabled-optimizers=[TransposeOptimizer]}")
    compiled.save(tmp_path / "saved.onnx")
    planish.save(graph, tmp_path / "model.onnx")
    made = {}
    exec(compiled.recipe().replace("model.onnx", str(tmp_path / "model.onnx")), made)
    assert f"TransposeOptimizer;{LOSES}" in compiled.recipe()
    loaded = planish.load_compiled(tmp_path / "saved.onnx")
    alone = dict(zip("dy", made["session"].run(None, feed), strict=True))
    for found in (compiled(feed), loaded(feed), alone):
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5)
    assert capfd.readouterr().out == ""


def test_others_keep_the_optimizer():
    assert LOSES not in planish.lower(two_convolutions(2, "y", "d"), "onnxruntime").recipe()


def test_quantization_sees_what_such_a_convolution_gives():
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((8, 3, 3, 3)).astype(np.float32),
        "v": rng.standard_normal((6, 4, 1, 1)).astype(np.float32),
        "u": rng.standard_normal((6, 4, 1, 1)).astype(np.float32),
        "k": rng.standard_normal(6).astype(np.float32),
        "m": rng.standard_normal((5, 6)).astype(np.float32),
        "n": rng.standard_normal(5).astype(np.float32),
    }
    graph = graph_of(
        """g (float[N, 3, 7, 7] x) => (float[N, 5] y) {
            a = Conv(x, w)
            c = Conv<group=2>(a, v)
            d = Conv<group=2>(a, u, k)
            e = Add(d, c)
            p = GlobalAveragePool(e)
            f = Flatten(p)
            y = Gemm<transB=1>(f, m, n)
        }""",
        weights,
    )
    feeds = planish.random_feeds(graph, samples=8, seed=1)
    result = planish.Pipeline.parse("quantize{measure=false}").run(graph, feeds=feeds, strict=True)
    assert sum(node.op == "QuantizeLinear" for node in result.graph.nodes) >= 4
