"""Ranges that reach beyond their samples, against the rule spelled out over all values."""

import numpy as np
import pytest

from planish.passes.quantize.grids.formats import UINT8, IntegerFormat
from planish.passes.quantize.quantize.calibration.calibrate import calibrate
from planish.passes.quantize.quantize.calibration.observers import Range

from tests.helpers import graph_of

GRAPH = """g (float[N, 4, 5] x) => (float[N, 4, 5] y) {
    r = Relu(x)
    c = Clip(x, low, high)
    y = Add(r, c)
}"""
TWO = "g (float[N, 4, 5] x) => (float[N, 4, 5] y) { r = Relu(x) y = Add(r, x) }"
INT4 = IntegerFormat(4, signed=False)
MARGINS = 2.0 ** (np.arange(9) / 8)


def samples(count, seed=0, tail=3):
    """Samples of Student's distribution: the fewer degrees `tail`, the further some lie out."""
    generator = np.random.default_rng(seed)
    return generator.standard_t(tail, (count, 4, 5)).astype(np.float32)


def one_by_one(array):
    return [{"x": sample[None]} for sample in array]


def ranges(array, *, widen, feeds=None, method="mse", names=("x", "r", "y")):
    feeds = one_by_one(array) if feeds is None else feeds
    return calibrate(graph_of(TWO), list(names), feeds, method=method, widen=widen)


def by_part(values, found, margins):
    """Return what each part loses on `margins` times the range that the others have, [F, n]."""
    parts = [values[i::16] for i in range(16) if len(values[i::16])]
    low = min(values.min(), 0.0)
    high = max(values.max(), 0.0)
    total = np.zeros((len(parts), len(margins)))
    for index, part in enumerate(parts):
        rest = np.concatenate([p for i, p in enumerate(parts) if i != index])
        ends = found.minimum, found.maximum
        reached = (min(rest.min(), 0.0), low), (max(rest.max(), 0.0), high)
        least, most = (e * (r / a if a else 1.0) for e, (r, a) in zip(ends, reached, strict=True))
        for place, margin in enumerate(margins):
            kept = np.clip(part.astype(np.float64), margin * least, margin * most)
            step = margin * (most - least) / (UINT8.qmax - UINT8.qmin)
            rounding = np.count_nonzero(values) / values.size * step**2 / 12
            total[index, place] = rounding + np.square(part - kept).mean()
    return total


def uncut(values, found):
    """Return the range, of those between `found` and all that was seen, of the least mean loss."""
    low, high = min(values.min(), found.minimum, 0), max(values.max(), found.maximum, 0)
    tried = [
        Range(
            found.minimum + share * (float(low) - found.minimum),
            found.maximum + share * (float(high) - found.maximum),
        )
        for share in np.linspace(0, 1, 9)
    ]
    return min(tried, key=lambda each: by_part(values, each, [1.0]).mean())


def choices(graph, array, **options):
    """Return the ranges among which a network chooses."""
    found = []

    def judge(tried):
        found.extend(tried)
        return len(tried) - 1

    last = calibrate(graph, ["x", "r", "y"], one_by_one(array), judge=judge, widen=True, **options)
    assert last == found[-1].ranges
    return found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("count", [3, 8, 40])
def test_margins_are_those_of_the_rule(count, seed):
    array = samples(count, seed)
    plain, wide = (ranges(array, widen=widen) for widen in (False, True))
    relu = np.maximum(array, 0)
    values = {"x": array, "r": relu, "y": array + relu}
    plain = {name: uncut(values[name], found) for name, found in plain.items()}
    reaches = 2.0 ** (np.arange(17) / 8)
    lost = {name: by_part(values[name], plain[name], reaches) for name in values}
    of_decibels = {name: np.log(each[:, :9]).mean(axis=0) for name, each in lost.items()}
    of_errors = {name: np.log(each.mean(axis=0)) for name, each in lost.items()}
    tried = [each.ranges for each in choices(graph_of(TWO), array, method="mse")]
    assert tried[0] == wide
    further = (1, 1, 2**0.25, 1, 1)
    for index, (each, more) in enumerate(zip(tried, further, strict=True)):
        judged = of_errors if index in (1, 4) else of_decibels
        pooled = np.mean(list(judged.values()), axis=0)
        for name, found in judged.items():
            margin = more * reaches[np.argmin(found + pooled)]
            assert each[name].maximum == pytest.approx(plain[name].maximum * margin, rel=1e-6)
            assert each[name].minimum == pytest.approx(plain[name].minimum * margin, rel=1e-6)


def test_tensors_of_few_positions_reach_further_in_some_of_the_ways():
    graph = graph_of("""g (float[N, 2, 16, 16] x) => (float[N, 2, 1, 1] y) {
        y = GlobalAveragePool(x)
        r = Relu(x)
    }""")
    array = np.random.default_rng(0).standard_t(3, (8, 2, 16, 16)).astype(np.float32)
    first, second, even, double, more = (each.ranges for each in choices(graph, array))
    for name, factors in {"r": (2**0.25, 1, 1), "y": (2**0.25, 2, 2**0.5)}.items():
        found = [each[name].maximum for each in (even, double, more)]
        given = [each[name].maximum for each in (first, first, second)]
        assert found == pytest.approx([f * g for f, g in zip(factors, given, strict=True)])


def test_ranges_of_others_are_what_they_reached():
    array = samples(12)
    for tried in choices(graph_of(TWO), array, method="min-max"):
        for fold in range(8):
            rest = np.delete(array, [i for i in range(12) if i % 8 == fold], axis=0)
            found, whole = tried.of_others(fold)["x"], tried.ranges["x"]
            assert found.maximum / whole.maximum == pytest.approx(rest.max() / array.max())
            assert found.minimum / whole.minimum == pytest.approx(rest.min() / array.min())


def test_few_samples_reach_further_and_lose_less_on_others():
    others = samples(4000, seed=99)
    gained = []
    for seed in range(8):
        array = samples(8, seed)
        squares = []
        for widen in (False, True):
            found = ranges(array, widen=widen)["x"]
            step = (found.maximum - found.minimum) / 255
            kept = np.clip(others, found.minimum, found.maximum)
            squares.append(step**2 / 12 + np.square(others - kept).mean())
        gained.append(np.log(squares[0] / squares[1]))
    assert np.mean(gained) > 0.1
    assert min(gained) > -1e-9


def test_many_even_samples_stay_within_them():
    array = np.random.default_rng(0).uniform(-1, 1, (64, 4, 5)).astype(np.float32)
    seen = {"x": array, "r": np.maximum(array, 0), "y": array + np.maximum(array, 0)}
    plain, wide = (ranges(array, widen=widen) for widen in (False, True))
    for name, values in seen.items():
        assert plain[name].maximum <= wide[name].maximum <= values.max() * (1 + 1e-6)
        assert plain[name].minimum >= wide[name].minimum >= min(values.min(), 0) * (1 + 1e-6)


def test_what_calibration_cuts_off_of_few_samples_is_taken_back():
    """A few values far out: worth less than the steps they cost here, and more on others."""
    generator = np.random.default_rng(0)
    array = generator.standard_normal((16, 4, 5)).astype(np.float32)
    array[::2, 0, 0] = 10 + generator.random(8)
    plain, wide = (
        calibrate(graph_of(TWO), ["x"], one_by_one(array), method="mse", form=INT4, widen=widen)
        for widen in (False, True)
    )
    assert plain["x"].maximum < wide["x"].maximum


def test_a_bound_that_is_reached_stays():
    graph = graph_of(GRAPH, {"low": np.float32(-0.5), "high": np.float32(0.75)})
    found = calibrate(graph, ["x", "c"], one_by_one(samples(8)), method="mse", widen=True)
    assert found["c"].minimum == pytest.approx(-0.5, rel=0.01)
    assert found["c"].maximum == pytest.approx(0.75, rel=0.01)
    assert found["x"].maximum > samples(8).max() * 1.01


def test_a_batch_is_as_many_samples():
    array = samples(12)
    batches = [{"x": array[:7]}, {"x": array[7:]}]
    assert ranges(array, widen=True, feeds=batches) == ranges(array, widen=True)


@pytest.mark.parametrize("count", [1, 0])
def test_what_one_sample_shows_is_not_widened(count):
    array = samples(1) if count else np.zeros((4, 4, 5), np.float32)
    assert ranges(array, widen=True) == ranges(array, widen=False)
