"""The parts of the search for mixed precision: margins, confidence, order, minimality."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import planish
from planish.ir.core.errors import FeedError
from planish.ir.metrics.confidence import samples_to_show, shown_at_least
from planish.ir.metrics.margins import Margins
from planish.ir.run.reference import Reference
from planish.passes.engine.context import Context
from planish.passes.quantize.quantize.mixed_precision.gains import IntegerGains
from planish.passes.quantize.quantize.mixed_precision.order import PrecisionBorders, order_to_float
from planish.passes.quantize.quantize.mixed_precision.search import fewest_floats
from planish.passes.quantize.quantize.units import read_units

from tests.effort import examples
from tests.helpers import graph_of
from tests.strategies import networks


def test_expected_agreement_is_that_of_many_draws():
    generator = np.random.default_rng(0)
    scores = generator.standard_normal((400, 10)) * 3
    noisy = [scores + 0.4 * generator.standard_normal(scores.shape) for _ in range(50)]
    drawn = np.mean([b.argmax(1) == scores.argmax(1) for b in noisy])
    margins = Margins()
    for a, b in zip(np.split(scores, 8), np.split(noisy[0], 8), strict=True):
        margins.add(a, b)
    assert abs(margins.agreement() - drawn) < 0.01
    # Two classes with one margin have a closed form.
    two = Margins()
    two.add(np.array([[1.0, 0.0]] * 2), np.array([[1.5, 0.0], [0.5, 0.0]]))
    assert two.agreement() == pytest.approx(0.5 * (1 + math.erf(2 / math.sqrt(2))))


def test_probabilities_foretell_what_their_scores_do():
    generator = np.random.default_rng(0)
    scores = generator.standard_normal((300, 8)) * 3
    noisy = scores + 0.4 * generator.standard_normal(scores.shape)
    expected, found = Margins(), Margins()
    expected.add(scores, noisy)
    softmax = (np.exp(s) / np.exp(s).sum(1, keepdims=True) for s in (scores, noisy))
    found.add(*softmax, probabilities=True)
    assert found.agreement() == pytest.approx(expected.agreement(), rel=1e-9)


def test_no_noise_is_full_agreement_and_positions_of_maps_count():
    maps = np.random.default_rng(1).standard_normal((2, 5, 30, 30)).astype(np.float32)
    same, other = Margins(), Margins()
    same.add(maps, maps)
    other.add(maps, -maps)
    assert same.agreement() == 1.0
    assert other.agreement() < 0.5
    assert not Margins.agreement(_with_nan(maps))


def _with_nan(maps):
    found = Margins()
    found.add(maps, np.full_like(maps, np.nan))
    return found


def test_wilson_bounds_are_those_of_the_formula_solved():
    # The bound p is where the observed share lies z standard deviations of p above it.
    for agreement, samples in [(1.0, 64), (0.95, 100), (0.5, 10)]:
        p = shown_at_least(agreement, samples)
        assert (agreement - p) / math.sqrt(p * (1 - p) / samples) == pytest.approx(1.645)
    needed = samples_to_show(0.99)
    assert shown_at_least(1.0, needed) >= 0.99 > shown_at_least(1.0, needed - 1)


def chain(count):
    """`count` convolutions in a row, as units with what order and borders need."""
    weights = {f"w{i}": np.ones((2, 2, 1, 1), np.float32) for i in range(count)}
    names = ["x", *(f"t{i}" for i in range(count - 1)), "y"]
    body = " ".join(f"[c{i}] {names[i + 1]} = Conv({names[i]}, w{i})" for i in range(count))
    head = "float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y"
    graph = graph_of(f"g ({head}) {{ {body} }}", weights)
    context = Context(graph)
    view = context.view()
    return read_units(graph, context), view, names


def borders_of(gains, crossing):
    units, view, names = chain(len(gains))
    found = IntegerGains(
        {f"c{i}": gain for i, gain in enumerate(gains)}, dict.fromkeys(names, float(crossing))
    )
    return PrecisionBorders(units, view, found), found


def test_losses_are_what_the_borders_of_the_whole_say():
    gains, crossing = [3.0, 1.0, 4.0, 2.0], 0.7
    borders, _ = borders_of(gains, crossing)

    def time_of(floats):
        at = ["float", *("float" if f"c{i}" in floats else "int" for i in range(4)), "float"]
        crossings = sum(a != b for a, b in itertools.pairwise(at))
        return sum(gains[i] for i in range(4) if f"c{i}" in floats) + crossing * crossings

    for floats in (set(), {"c0"}, {"c1"}, {"c0", "c2"}, {"c0", "c1", "c3"}):
        for key in {"c0", "c1", "c2", "c3"} - floats:
            assert borders.loss(key, floats) == pytest.approx(
                time_of(floats | {key}) - time_of(floats)
            )


def test_the_noisiest_per_second_goes_first_and_draws_its_neighbours_along():
    borders, gains = borders_of([1.0] * 5, 0.5)
    noise = {"c0": 1.0, "c1": 1.5, "c2": 9.0, "c3": 1.6, "c4": 1.0}
    # Beside the float layer the border only moves; c4 between it and the output then frees two.
    assert order_to_float(noise, gains, borders) == ["c2", "c3", "c4", "c1", "c0"]
    free = IntegerGains(gains.layers | {"c4": -5.0}, gains.crossings)
    assert order_to_float(noise, free, borders_of([1, 1, 1, 1, -5], 0.5)[0])[0] == "c4"


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=12),
    st.integers(0, 150),
    st.randoms(use_true_random=False),
)
def test_what_stays_float_suffices_and_none_of_it_is_spare(noise, bound, random):
    keys = [f"c{i}" for i in range(len(noise))]
    power = dict(zip(keys, noise, strict=True))
    order = list(keys)
    random.shuffle(order)

    def holds(floats):
        return sum(power[key] for key in keys if key not in floats) <= bound

    found = fewest_floats(
        order, dict.fromkeys(keys, 1.0), power, lambda f: len(f) < len(keys) and holds(f)
    )
    if len(found) == len(keys):
        assert not any(holds(frozenset(order[:k])) for k in range(len(keys)))
    else:
        assert holds(found)
        assert not any(holds(found - {key}) for key in found)


def test_a_large_layer_does_not_stand_in_the_way_of_small_ones():
    """The last in order saves most for its noise, but alone it is too much."""
    noise = {"c0": 20, "c1": 2, "c2": 2, "c3": 10}
    losses = {"c0": 1.0, "c1": 1.0, "c2": 1.0, "c3": 1000.0}
    tried = []

    def holds(floats):
        tried.append(floats)
        return len(floats) < 4 and sum(noise[k] for k in noise if k not in floats) <= 5

    assert fewest_floats([*noise], losses, noise, holds) == {"c0", "c1", "c2", "c3"}
    losses["c3"] = 10.0  # of which the others are more than a hundredth
    assert fewest_floats([*noise], losses, noise, holds) == {"c0", "c3"}
    assert {"c0", "c1", "c2"} in tried  # c3 alone
    assert {"c1", "c2", "c3"} not in tried  # c0 alone has more


@settings(max_examples=examples(12), suppress_health_check=list(HealthCheck))
@given(networks(), st.integers(5, 45))
def test_random_networks_keep_the_bound_or_stay_float(drawn, bound):
    feeds = {k: np.nan_to_num(v, posinf=1, neginf=-1) for k, v in drawn.feeds.items()}
    graph = planish.load(drawn.model)
    pipeline = planish.Pipeline.parse(f"quantize{{measure=false,min-sqnr={bound}}}")
    try:
        result = pipeline.run(graph, [feeds], verify="off")
    except FeedError:  # some drawn networks divide by zero
        return
    if not any(node.op == "QuantizeLinear" for node in result.graph.nodes):
        return
    a = Reference(graph)(feeds)
    b = Reference(result.graph, optimized=True)(feeds)
    for name, values in a.items():
        if values.dtype.kind == "f":
            signal = float((values.astype(np.float64) ** 2).sum())
            noise = float(((values.astype(np.float64) - b[name]) ** 2).sum())
            assert noise <= signal * 10 ** (-bound / 10) * 1.01
