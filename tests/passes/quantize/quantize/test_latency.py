"""Decisions by latency, on a simulated machine with the noise that real ones have."""

import math

import numpy as np
import pytest

import planish
from planish.passes.engine import stopwatch
from planish.passes.quantize.quantize.latency_ratio import measure_ratios

from tests.helpers import graph_of, ops


class Machine:
    """Times with a drift that all choices share, noise of their own, and now and then a burst."""

    def __init__(self, seed, noise=0.02, drift=0.1, bursts=0.05):
        self.generator = np.random.default_rng(seed)
        self.noise, self.drift, self.bursts = noise, drift, bursts
        self.asked = 0

    def measure(self, seconds):
        """Return what measures choices that truly take `seconds`."""

        def times(repeats):
            self.asked += repeats
            g, shape = self.generator, (repeats, len(seconds))
            found = np.array(seconds) * np.exp(g.normal(0, self.noise / math.sqrt(2), shape))
            found *= np.exp(g.normal(0, self.drift, (repeats, 1)))
            return found * np.where(g.random(shape) < self.bursts, g.uniform(1, 3, shape), 1)

        return times


BORDER = 1 / 1.02


def decides(gain, seed):
    (found,) = measure_ratios(Machine(seed).measure([gain, 1.0]), BORDER)
    return found.high <= BORDER


def test_two_runs_decide_alike_in_nine_of_ten_cases_near_the_border():
    gains = np.linspace(0.96, 1.08, 25)
    alike = [
        decides(gain, 1000 * place + 2 * run) == decides(gain, 1000 * place + 2 * run + 1)
        for place, gain in enumerate(gains)
        for run in range(16)
    ]
    assert np.mean(alike) >= 0.9


@pytest.mark.parametrize("gain", [0.5, 0.9, 1.12, 2.0])
def test_far_from_the_border_all_runs_decide_the_same(gain):
    assert {decides(gain, seed) for seed in range(200)} == {gain > 1.02}


def test_what_is_equal_is_not_told_apart():
    assert np.mean([decides(1.0, seed) for seed in range(300)]) <= 0.02
    assert np.mean([decides(1.02, seed) for seed in range(300)]) <= 0.1


def test_clear_cases_are_measured_briefly():
    far, near = Machine(0), Machine(0)
    measure_ratios(far.measure([1.0, 0.5]), BORDER)
    measure_ratios(near.measure([1.0, BORDER]), BORDER)
    assert far.asked == 4
    assert near.asked == 16


def test_the_interval_has_the_ratio_in_19_of_20_on_either_side():
    found = [
        measure_ratios(Machine(seed, bursts=0).measure([1.0, 0.8]), BORDER)[0]
        for seed in range(1000)
    ]
    assert 0.92 <= np.mean([each.low <= 0.8 for each in found]) <= 0.98
    assert 0.92 <= np.mean([each.high >= 0.8 for each in found]) <= 0.98


def test_a_burst_is_no_news_about_the_choices():
    times = [[1.0, 0.9]] * 7 + [[1.0, 5.0]]
    (found,) = measure_ratios(lambda repeats: [times.pop() for _ in range(repeats)], 0.95, 8)
    assert found.ratio == pytest.approx(0.9)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


FEEDS = [{"x": normal(1, 8, 12, 12, seed=i)} for i in range(4)]


def network():
    weights = {name: normal(8, 8, 3, 3, seed=i) / 8 for i, name in enumerate("abc")}
    return graph_of(
        """g (float[1, 8, 12, 12] x) => (float[1, 8, 12, 12] y) {
            p = Conv<pads = [1, 1, 1, 1]>(x, a) q = Conv<pads = [1, 1, 1, 1]>(p, b)
            e = Sigmoid(q) s = Mul(q, e) y = Conv<pads = [1, 1, 1, 1]>(s, c) }""",
        weights,
    )


@pytest.fixture
def run(monkeypatch):
    """Quantize where integers take this part of the time of floats, with integer gates so often."""

    def on(time, gates=1.0, seed=0):
        machine = Machine(seed)

        def truth(graph):
            if "QuantizeLinear" not in ops(graph):
                return 1.0
            return time * (1.0 if has_float_gates(graph) else gates)

        def measure(graphs, feed, target, *, seconds, seed):
            return machine.measure([truth(graph) for graph in graphs])(1)[0].tolist()

        monkeypatch.setitem(stopwatch.STOPWATCHES, "sim", measure)
        result = planish.Pipeline.parse("quantize").run(
            network(), FEEDS, verify="off", target="sim"
        )
        (record,) = result.records
        return result.graph, record.remarks

    return on


def has_float_gates(graph):
    gate = next(node for node in graph.nodes if node.op == "Sigmoid")
    return all(reader.op != "QuantizeLinear" for reader in gate.outputs[0].outputs)


def test_clearly_faster_integers_are_taken_and_told(run):
    graph, remarks = run(0.5)
    assert "QuantizeLinear" in ops(graph)
    assert any("times as fast as float on sim (" in r and "measurements)" in r for r in remarks)


@pytest.mark.parametrize("time", [1.0, 1.2])
def test_what_is_no_faster_stays_float_and_says_how_sure_that_is(run, time):
    graph, remarks = run(time)
    assert "QuantizeLinear" not in ops(graph)
    (why,) = [r for r in remarks if r.startswith("the graph stays float")]
    assert "with 95 % confidence" in why
    assert ("does not tell them apart" in why) == (time == 1.0)


@pytest.mark.parametrize(("gates", "is_float"), [(1.2, True), (1.0, True), (0.8, False)])
def test_a_kind_without_weights_is_on_integers_only_where_that_is_faster(run, gates, is_float):
    graph, remarks = run(0.4, gates)
    assert has_float_gates(graph) == is_float
    assert any(r.startswith("gates stays float") for r in remarks) == is_float
