"""Which metric each kind of network is judged by, where nobody says."""

import numpy as np
import pytest

from planish.ir.core.errors import RefusedError
from planish.ir.metrics.choose import (
    AUTOMATIC,
    MetricOptions,
    choose_metrics,
    decisive,
    see_outputs,
)
from planish.ir.metrics.reading import read_outputs
from planish.ir.run.reference import Reference

from tests.helpers import graph_of


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def smooth(*shape, seed=0):
    """Images without sharp edges."""
    image = normal(*shape, seed=seed)
    for _ in range(6):
        for axis in (2, 3):
            image = (image + np.roll(image, 1, axis) + np.roll(image, -1, axis)) / 3
    return image / image.std()


def choices(text, constants, feed, options=AUTOMATIC):
    graph = graph_of(text, constants)
    outputs = Reference(graph)(feed)
    seen = see_outputs(read_outputs(graph), options, outputs, feed)
    return choose_metrics(seen, options)


IMAGES = {"x": smooth(2, 3, 32, 32)}
HEAD = "float[N, 3, 32, 32] x) => (float[N, {c}, 32, 32] y"
CASES = {
    "classification": (
        "g (float[N, 8] x) => (float[N, 5] y) { y = MatMul(x, w) }",
        {"w": normal(8, 5)},
        {"x": normal(4, 8)},
    ),
    "classification of steps": (
        "g (float[N, 6, 8] x) => (float[N, 6, 5] y) { y = MatMul(x, w) }",
        {"w": normal(8, 5) * np.array([0.2, 1, 1, 1, 0.2], "f")},
        {"x": normal(4, 6, 8)},
    ),
    "segmentation": (
        f"g ({HEAD.format(c=5)}) {{ y = Conv(x, k) }}",
        {"k": normal(5, 3, 1, 1)},
        IMAGES,
    ),
    "segmentation of two classes with Softmax": (
        f"g ({HEAD.format(c=2)}) {{ c = Conv(x, k) y = Softmax<axis = 1>(c) }}",
        {"k": normal(2, 3, 1, 1)},
        {"x": normal(2, 3, 32, 32)},
    ),
    "segmentation by indices": (
        """g (float[N, 3, 32, 32] x) => (int64[N, 32, 32] y)
           { c = Conv(x, k) y = ArgMax<axis = 1, keepdims = 0>(c) }""",
        {"k": normal(5, 3, 1, 1)},
        IMAGES,
    ),
    "segmentation of one class": (
        f"g ({HEAD.format(c=1)}) {{ c = Conv(x, k) y = Sigmoid(c) }}",
        {"k": 30 * normal(1, 3, 1, 1)},
        IMAGES,
    ),
    "image": (
        f"g ({HEAD.format(c=3)}) {{ c = Conv(x, k) y = Add(x, c) }}",
        {"k": 0.1 * normal(3, 3, 1, 1)},
        IMAGES,
    ),
    "image of four times the size": (
        """g (float[N, 3, 8, 8] x) => (float[N, 3, 32, 32] y)
           { c = Conv(x, k) y = DepthToSpace<blocksize = 4>(c) }""",
        {"k": normal(48, 3, 1, 1)},
        {"x": smooth(2, 3, 8, 8)},
    ),
    "heatmap": (
        f"g ({HEAD.format(c=3)}) {{ c = Conv(x, k) s = Mul(c, f) y = Sigmoid(s) }}",
        {"k": np.eye(3, dtype="f").reshape(3, 3, 1, 1), "f": np.float32(1)},
        {"x": np.where(np.random.default_rng(0).random((2, 3, 32, 32)) < 0.01, 6, -6).astype("f")},
    ),
    "embedding": (
        "g (float[N, 8] x) => (float[N, 5] y) { m = MatMul(x, w) y = LpNormalization(m) }",
        {"w": normal(8, 5)},
        {"x": normal(4, 8)},
    ),
    "embedding by its values": (
        """g (float[N, 8] x) => (float[N, 5] y)
           { m = MatMul(x, w) n = ReduceL2(m, one) y = Div(m, n) }""",
        {"w": normal(8, 5), "one": np.array([1])},
        {"x": normal(4, 8)},
    ),
    "sqnr": (
        "g (float[N, 3] x) => (float[N] y) { y = ReduceSum<keepdims = 0>(x, one) }",
        {"one": np.array([1])},
        {"x": normal(4, 3)},
    ),
    "sqnr of independent labels": (
        "g (float[N, 8] x) => (float[N, 5] y) { m = MatMul(x, w) y = Sigmoid(m) }",
        {"w": normal(8, 5)},
        {"x": normal(4, 8)},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_metric_of_each_kind(name):
    (choice,) = choices(*CASES[name])
    assert choice.kind == name.split()[0]
    assert choice.is_sure == (choice.kind != "sqnr")
    assert choice.why


def test_an_axis_of_samples_holds_no_features():
    """Of two samples, the last axis of a constant output looks like that of the samples."""
    text = """g (float[N, 3] x) => (float[] y) {
        y = BatchNormalization(c, one, one, one, one) }"""
    constants = {"c": normal(1, 1, 2), "one": np.ones(1, np.float32)}
    feed = {"x": normal(2, 3)}
    outputs = Reference(graph_of(text, constants))(feed)
    (choice,) = choices(text, constants, feed)
    metric = choice.make()
    metric.add(outputs, outputs)
    assert choice.kind == "sqnr"


@pytest.mark.parametrize("name", CASES)
def test_every_metric_finds_its_own_outputs_equal(name):
    text, constants, feed = CASES[name]
    outputs = Reference(graph_of(text, constants))(feed)
    (choice,) = choices(text, constants, feed)
    metric = choice.make()
    metric.add(outputs, outputs)
    found = metric.result()
    assert found.drop == 0
    assert found.samples == len(feed["x"])


@pytest.mark.parametrize(
    "kind", ["classification", "segmentation", "image", "heatmap", "embedding", "sqnr"]
)
def test_who_asks_gets_it(kind):
    (choice,) = choices(*CASES["segmentation"], MetricOptions(kind))
    assert choice.kind == kind


def test_what_does_not_fit_is_refused():
    with pytest.raises(RefusedError, match="metric=sequence fits no output of the graph"):
        choices(*CASES["segmentation"], MetricOptions("sequence"))
    with pytest.raises(RefusedError, match="segmentation"):
        MetricOptions("segmentaton")


def test_margins_of_a_softmax_are_those_of_its_scores():
    feed, weights = {"x": normal(64, 8)}, {"w": normal(8, 5)}
    results = []
    for body in ("y = MatMul(x, w)", "m = MatMul(x, w) y = Softmax<axis = 1>(m)"):
        text = f"g (float[N, 8] x) => (float[N, 5] y) {{ {body} }}"
        (choice,) = choices(text, weights, feed)
        metric = choice.make()
        runs = (
            Reference(graph_of(text, {"w": w}))
            for w in (weights["w"], weights["w"] * 1.0 + 0.1 * normal(8, 5, seed=1))
        )
        metric.add(*(run(feed) for run in runs))
        results.append(metric.result())
    assert results[0].expected == pytest.approx(results[1].expected, rel=1e-4)
    assert results[0].value == results[1].value < 1


def test_noise_decides_only_where_nothing_else_does():
    text = """g (float[N, 8] x) => (float[N, 5] y, float[N] z)
              { y = MatMul(x, w) z = ReduceSum<keepdims = 0>(x, one) }"""
    found = choices(text, {"w": normal(8, 5), "one": np.array([1])}, {"x": normal(4, 8)})
    assert [c.kind for c in found] == ["classification", "sqnr"]
    assert [c.kind for c in decisive(found)] == ["classification"]
    assert decisive(found[1:]) == found[1:]
