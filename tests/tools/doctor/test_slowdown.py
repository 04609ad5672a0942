"""What is told of two models follows from times alone, and nothing is told where these overlap."""

from __future__ import annotations

import pytest

import planish
from planish.ir.core.errors import BackendError, FeedError
from planish.passes.engine import stopwatch
from planish.tools.doctor.slowdown import measure_slowdown

from tests.helpers import graph_of

TEXT = "g (float[2] x) => (float[2] y) { a = Abs(x) b = Exp(a) y = Relu(b) }"


@pytest.fixture
def timed(monkeypatch):
    """Return what makes `fake` a target on which the models and their layers take given times."""
    monkeypatch.setattr(stopwatch, "STOPWATCHES", {**stopwatch.STOPWATCHES})
    monkeypatch.setattr(stopwatch, "REPEATED", {**stopwatch.REPEATED})
    monkeypatch.setattr(stopwatch, "PROFILERS", {**stopwatch.PROFILERS})

    def set_times(ratios, layers):
        """Take the ratio of each measurement, and by layer the times of each model in turn."""
        endless = iter(ratios * 100)
        sessions = {}

        def over_and_over(graphs, feed, target, *, seconds, seed, repeats):
            return [[1.0, next(endless)] for _ in range(repeats)]

        def profile(graph, feed, target, *, seconds):
            turn = sessions[graph.name] = sessions.get(graph.name, -1) + 1
            side = graph.name == "slower"
            return {n: t[side][turn % len(t[side])] for n, t in layers.items() if t[side]}

        stopwatch.register_stopwatch("fake", lambda *given, **how: [1.0, 1.0], over_and_over)
        stopwatch.register_profiler("fake", profile)
        faster, slower = graph_of(TEXT), graph_of(TEXT)
        faster.name, slower.name = "faster", "slower"
        slower.nodes[-1].name = "relu"
        return measure_slowdown(faster, slower, {}, "fake")

    return set_times


def test_layers_whose_times_do_not_overlap_are_told(timed):
    found = timed(
        [1.5, 1.6],
        {
            "same": ([3.0, 4.0], [4.0, 5.0]),
            "slow": ([1.0, 1.5], [3.0, 2.0]),
            "b": ([], [3.0, 3.5]),  # Exp and Relu were one kernel
            "y": ([2.75, 3.0], []),
            "relu": ([], [0.5, 0.75]),
            "more": ([], [0.5, 0.75]),
            "gone": ([0.25], []),
            "nothing": ([], [0.0, 0.5]),
        },
    )
    assert found.is_slower
    told = {each.names: (each.before, each.low, each.high) for each in found.layers}
    assert told == {
        ("slow",): (("slow",), 0.5, 2.0),
        ("b", "relu"): (("y",), 0.5, 1.5),
        ("more",): ((), 0.5, 0.75),
        (): (("gone",), -0.25, -0.25),
    }
    assert found.layers[-1].before == ("gone",)


@pytest.mark.parametrize("ratios", [[0.9, 1.12], [0.8, 0.9], [1.0]])
def test_of_a_model_that_is_not_known_to_be_slower_no_layer_is_told(timed, ratios):
    found = timed(ratios, {"slow": ([1.0], [2.0])})
    assert not found.is_slower
    assert found.layers == ()


def test_other_inputs_and_targets_are_refused():
    graph = graph_of(TEXT)
    with pytest.raises(FeedError, match="reads x, z"):
        measure_slowdown(graph, graph_of(TEXT.replace("x", "z")), {})
    with pytest.raises(BackendError, match="'abacus'"):
        measure_slowdown(graph, planish.load(planish.to_model(graph)), {}, "abacus")
