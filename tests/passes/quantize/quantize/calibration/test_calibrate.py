"""Calibration on graphs: which tensors, which feeds, and what is refused."""

import itertools

import numpy as np
import pytest

import planish
from planish.ir.core.errors import FeedError
from planish.passes.quantize.quantize.calibration.calibrate import METHODS, calibrate
from planish.passes.quantize.quantize.calibration.observers import Range

from tests.helpers import graph_of

GRAPH = """g (float[N, 4] x) => (float[N, 4] y) {
    a = Neg(x)
    r = Relu(a)
    y = Add(r, r)
}"""
EMPTY = "g (float[N, 4] x) => (float[N, 4] y) { z = Sub(x, x) y = Add(z, x) }"


def feeds(count=5, batch=3, seed=0):
    generator = np.random.default_rng(seed)
    return [{"x": generator.standard_normal((batch, 4)).astype(np.float32)} for _ in range(count)]


def test_ranges_of_inputs_inner_tensors_and_outputs():
    data = feeds()
    found = calibrate(graph_of(GRAPH), ["x", "a", "r", "y"], data)
    x = np.concatenate([feed["x"] for feed in data])
    r = np.maximum(-x, 0)
    for name, array in (("x", x), ("a", -x), ("r", r), ("y", 2 * r)):
        assert found[name] == Range(float(array.min()), float(array.max())), name


@pytest.mark.parametrize("method", METHODS)
def test_one_sample_is_enough(method):
    (feed,) = feeds(1, 1)
    found = calibrate(graph_of(GRAPH), ["x"], [feed], method=method)["x"]
    assert found.minimum == pytest.approx(feed["x"].min(), abs=0.05)
    assert found.maximum == pytest.approx(feed["x"].max(), abs=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_a_tensor_that_is_always_zero(method):
    assert calibrate(graph_of(EMPTY), ["z"], feeds(), method=method) == {"z": Range(0, 0)}


def test_batches_of_several_sizes():
    data = [*feeds(2, 3), *feeds(1, 1, seed=9)]
    merged = [{"x": np.concatenate([feed["x"] for feed in data])}]
    for method in ("min-max", "percentile", "entropy", "mse"):
        options = {"method": method, "bins": 256}
        split = calibrate(graph_of(GRAPH), ["x", "y"], data, **options)
        assert split == calibrate(graph_of(GRAPH), ["x", "y"], merged, **options)


def test_options_reach_the_observers():
    data = [{"x": np.full((1, 4), value, np.float32)} for value in (1.0, 2.0, 9.0)]
    graph = graph_of(GRAPH)
    last = calibrate(graph, ["x"], data, method="moving-average", momentum=0.0)
    assert last["x"] == Range(9, 9)
    middle = calibrate(graph, ["x"], data, method="percentile", percentile=50.0)
    assert middle["x"].maximum == pytest.approx(2, rel=1e-3)
    assert calibrate(graph, ["a"], data, method="mse", symmetric=True)["a"] == Range(-9, 9)


@pytest.mark.parametrize(("value", "kind"), [(np.nan, "NaN"), (np.inf, "infinity")])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_finite_is_named_with_its_sample(method, value, kind):
    data = feeds()
    data[3]["x"][1, 2] = value
    with pytest.raises(FeedError, match=rf"'x' holds {kind} in sample 3"):
        calibrate(graph_of(GRAPH), ["y"], data, method=method)


def test_what_the_network_itself_makes_infinite_is_named():
    graph = graph_of("g (float[N, 4] x) => (float[N, 4] y) { e = Exp(x) y = Neg(e) }")
    data = [*feeds(2), {"x": np.full((1, 4), 1e3, np.float32)}]
    with pytest.raises(FeedError, match=r"'e' holds infinity in sample 2"):
        calibrate(graph, ["e"], data)


def test_no_feeds_and_feeds_that_do_not_fit():
    with pytest.raises(FeedError, match="no feeds to calibrate on"):
        calibrate(graph_of(GRAPH), ["x"], [])
    with pytest.raises(FeedError, match=r"shape \[1, 5\]"):
        calibrate(graph_of(GRAPH), ["y"], [{"x": np.zeros((1, 5), np.float32)}])


def test_progress_is_told_for_feeds_of_known_length():
    told = []
    calibrate(graph_of(GRAPH), ["y"], feeds(4), progress=told.append)
    assert told == [0.25, 0.5, 0.75, 1.0]
    told.clear()
    calibrate(graph_of(GRAPH), ["y"], (feed for feed in feeds(4)), progress=told.append)
    assert told == []


def test_feeds_are_taken_one_at_a_time():
    """The next feed is drawn only when the one before has been observed, and is then let go."""
    taken = itertools.count()

    def stopping():
        for feed in feeds(10):
            if next(taken) == 3:
                raise KeyboardInterrupt
            yield feed

    with pytest.raises(KeyboardInterrupt):
        calibrate(graph_of(GRAPH), ["y"], stopping())
    assert next(taken) == 4


def test_the_graph_is_left_as_it_was():
    graph = graph_of(GRAPH)
    before = planish.to_model(graph).SerializeToString()
    calibrate(graph, ["x", "r"], feeds())
    assert planish.to_model(graph).SerializeToString() == before
