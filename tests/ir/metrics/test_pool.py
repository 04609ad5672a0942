"""What outputs mean is read from several samples together: their order decides nothing."""

import numpy as np
import pytest

from planish.ir.metrics.choose import AUTOMATIC, choose_metrics
from planish.ir.metrics.pool import POOLED, see_pooled
from planish.ir.metrics.reading import read_outputs
from planish.ir.run.reference import Reference

from tests.helpers import graph_of


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def kinds(graph, feeds):
    outputs = [Reference(graph)(feed) for feed in feeds]
    readings = read_outputs(graph, {name: array.ndim for name, array in outputs[0].items()})
    return [
        each.kind
        for each in choose_metrics(see_pooled(readings, AUTOMATIC, outputs, feeds), AUTOMATIC)
    ]


def samples(count, *shape, seed=0):
    return [{"x": normal(1, *shape, seed=seed + i)} for i in range(count)]


def test_values_are_joined_along_the_batch():
    graph = graph_of(
        """g (float[N, 6, 8] x) => (float[6, N, 5] y) {
        t = MatMul (x, w) y = Transpose <perm = [1, 0, 2]> (t) }""",
        {"w": normal(8, 5)},
    )
    feeds = [{"x": normal(n, 6, 8, seed=n)} for n in (0, 2, 3, 2)]
    outputs = [Reference(graph)(feed) for feed in feeds]
    (seen,) = see_pooled(read_outputs(graph), AUTOMATIC, outputs, feeds)
    np.testing.assert_array_equal(
        seen.values, np.concatenate([outputs[1]["y"], outputs[3]["y"]], axis=1)
    )
    assert (seen.batch, seen.samples, seen.class_axis) == (1, 4, 2)


def test_activations_are_no_boxes_in_any_order():
    graph = graph_of(
        """g (float[N, 5, 8] x) => (float[N, 5, 6] y) {
        a = MatMul (x, w) r = Relu (a) b = MatMul (r, v) y = Relu (b) }""",
        {"w": normal(8, 16), "v": normal(16, 6, seed=1)},
    )
    feeds = samples(POOLED, 5, 8)
    assert kinds(graph, feeds) == ["classification"]
    assert {kind for feed in feeds for kind in kinds(graph, [feed])} == {"classification"}


def test_features_are_no_strings():
    graph = graph_of(
        """g (float[N, 16, 10] x) => (float[N, 6, 10] y) {
        b = Conv (x, w) y = Relu (b) }""",
        {"w": normal(6, 16, 1)},
    )
    assert kinds(graph, samples(POOLED, 16, 10)) == ["classification"]


HEAD = """g (float[N, 8, 40] x) => (float[N, 8, 40] y) {{
    b, s = Split <axis = 1> (x, p) c = Sigmoid (b) d = Mul (c, k) e = Sigmoid (s) {0} }}"""


@pytest.mark.parametrize(
    ("tail", "word"),
    [
        ("y = Concat <axis = 1> (d, e)", "scores of classes behind"),
        ("f, g = Split <axis = 1> (e, q) y = Concat <axis = 1> (d, f, g)", "objectness"),
    ],
)
def test_four_classes_are_no_objectness(tail, word):
    """A first class that is low where another is high, as where one of them is nearly always."""
    constants = {"p": np.array([4, 4]), "k": np.float32(320)}
    if "q)" in tail:
        constants["q"] = np.array([1, 3])
    graph = graph_of(HEAD.format(tail), constants)
    x = normal(2, 8, 40)
    x[:, 4] -= 4
    x[:, 5] += 2
    outputs = Reference(graph)({"x": x})
    seen = see_pooled(read_outputs(graph), AUTOMATIC, [outputs], [{"x": x}])
    (choice,) = choose_metrics(seen, AUTOMATIC)
    assert choice.kind == "detection"
    assert word in choice.why
    assert ("objectness" in choice.why) == (word == "objectness")
