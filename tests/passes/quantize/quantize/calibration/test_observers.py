"""Ranges of every method, each against an oracle that sees all values at once."""

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import rel_entr

from planish.ir.core.errors import PipelineError
from planish.passes.quantize.grids.formats import INT8, UINT8, IntegerFormat
from planish.passes.quantize.grids.grid import grid_of_range
from planish.passes.quantize.quantize.calibration.calibrate import METHODS, make_observer
from planish.passes.quantize.quantize.calibration.entropy import _RelativeEntropy
from planish.passes.quantize.quantize.calibration.histogram import Histogram
from planish.passes.quantize.quantize.calibration.mse import _SquaredError
from planish.passes.quantize.quantize.calibration.observers import Range

from tests.effort import examples

FLOATS = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)
ARRAYS = hnp.arrays(np.float32, st.integers(1, 50), elements=FLOATS)
UNORDERED = [method for method in METHODS if method != "moving-average"]
UINT4 = IntegerFormat(4, signed=False)


def observed(*pieces, **options):
    observer = make_observer(**options)
    for piece in pieces:
        observer.update(piece)
    return observer.range()


def distribution(values, bins=4096):
    histogram = Histogram(bins, lambda found: Range(0, 0))
    histogram.update(values)
    return histogram.distribution()


def heavy_tailed(size=20_000, seed=0):
    return np.random.default_rng(seed).standard_t(3, size).astype(np.float32)


SAMPLES = {
    "normal": np.random.default_rng(1).standard_normal(20_000).astype(np.float32),
    "heavy-tailed": heavy_tailed(),
    "relu": np.maximum(heavy_tailed(seed=2), 0),
    "relu6": np.clip(heavy_tailed(seed=3) * 3, 0, 6),
    "negative": -np.abs(heavy_tailed(seed=4)) - 0.5,
    "lopsided": np.random.default_rng(5).exponential(1, 20_000).astype(np.float32) - 0.3,
    "outlier": np.append(np.random.default_rng(6).standard_normal(20_000), 80).astype(np.float32),
    "far from zero": 100 + np.random.default_rng(7).standard_normal(20_000).astype(np.float32),
    "integers": np.random.default_rng(8).integers(-9, 40, 20_000).astype(np.float32),
    "few": np.array([-1.5, 0.25, 3.0], np.float32),
}
every_sample = pytest.mark.parametrize("name", SAMPLES)


@given(st.lists(ARRAYS, min_size=1, max_size=4))
def test_min_max_are_the_extremes(pieces):
    whole = np.concatenate(pieces)
    assert observed(*pieces, method="min-max") == Range(float(whole.min()), float(whole.max()))


@given(st.lists(ARRAYS, min_size=1, max_size=5), st.sampled_from([0.0, 0.5, 0.99, 1.0]))
def test_moving_average_is_the_weighted_mean_of_extremes(pieces, momentum):
    weights = momentum ** np.arange(len(pieces) - 1, -1, -1.0)
    found = observed(*pieces, method="moving-average", momentum=momentum)
    lows = [float(piece.min()) for piece in pieces]
    highs = [float(piece.max()) for piece in pieces]
    scale = max(np.abs([*lows, *highs]).max(), 1e-30)
    assert abs(found.minimum - np.average(lows, weights=weights)) <= 1e-12 * scale
    assert abs(found.maximum - np.average(highs, weights=weights)) <= 1e-12 * scale


def test_moving_average_forgets_early_batches():
    quiet, loud = np.ones(1, np.float32), np.full(1, 100.0, np.float32)
    early = observed(loud, *[quiet] * 9, method="moving-average", momentum=0.5)
    late = observed(*[quiet] * 9, loud, method="moving-average", momentum=0.5)
    assert early.maximum < 1.2
    assert late.maximum > 50


@pytest.mark.parametrize("percentile", [50.0, 90.0, 99.0, 99.99, 100.0])
@pytest.mark.parametrize("symmetric", [False, True])
@every_sample
def test_percentiles_are_those_of_numpy_within_a_bin(name, symmetric, percentile):
    values = SAMPLES[name]
    found = observed(
        *np.array_split(values, 3), method="percentile", percentile=percentile, symmetric=symmetric
    )
    if symmetric:
        high = np.percentile(np.abs(values.astype(np.float64)), percentile)
        expected = [-high, high]
    else:
        expected = np.percentile(values.astype(np.float64), [100 - percentile, percentile])
    width = distribution(values).width
    np.testing.assert_allclose([found.minimum, found.maximum], expected, rtol=1e-12, atol=width)


@given(ARRAYS, st.floats(50, 100), st.booleans())
@example(np.array([0, 0, 5], np.float32), 75.0, False)
def test_percentiles_of_a_few_values(values, percentile, symmetric):
    assume(np.any(values))
    found = observed(values, method="percentile", percentile=percentile, symmetric=symmetric)
    values = values.astype(np.float64)
    seen = np.abs(values) if symmetric else values
    expected = np.percentile(seen, percentile)
    width = distribution(values).width
    assert abs(found.maximum - expected) <= width * (1 + 1e-9)
    if symmetric:
        assert found.minimum == -found.maximum


def squared_error(values, low, high, form, symmetric):
    """The mean squared error of really quantizing `values`."""
    rounded = grid_of_range(low, high, form, symmetric=symmetric).round(values)
    return np.square(values - rounded.astype(np.float64)).mean()


def brute_force(cost, values, symmetric):
    """The least cost over a fine net of ranges."""
    low, high = min(values.min(), 0), max(values.max(), 0)
    shares = np.geomspace(1, 0.01, 28)
    if symmetric:
        high = max(-low, high)
        return min(cost(-high * share, high * share) for share in np.geomspace(1, 0.01, 250))
    if low == 0 or high == 0:
        return min(cost(low * share, high * share) for share in np.geomspace(1, 0.01, 250))
    return min(cost(low * a, high * b) for a in shares for b in shares)


@pytest.mark.parametrize("form", [UINT8, UINT4])
@pytest.mark.parametrize("symmetric", [False, True])
@every_sample
def test_mse_is_as_good_as_trying_every_range(name, symmetric, form):
    values = SAMPLES[name][:3000].astype(np.float64)
    found = observed(values, method="mse", form=form, symmetric=symmetric)
    error = squared_error(values, found.minimum, found.maximum, form, symmetric)
    best = brute_force(
        lambda low, high: squared_error(values, low, high, form, symmetric), values, symmetric
    )
    step = float(grid_of_range(found.minimum, found.maximum, form, symmetric=symmetric).scale)
    # Values that lie on the grid or next to it are known no better than the bins are wide.
    width = distribution(values).width
    assert error <= 1.03 * best + width * step / 6


@pytest.mark.parametrize("form", [UINT8, INT8, UINT4])
@pytest.mark.parametrize("symmetric", [False, True])
@every_sample
def test_squared_error_is_that_of_really_quantizing(name, symmetric, form):
    values = SAMPLES[name]
    found = distribution(values)
    low, high = found.span(symmetric)
    shares = np.array([1.0, 0.9, 0.6, 0.35, 0.1])
    sums = _SquaredError(found)(low * shares, high * shares, form, symmetric)
    for share, total in zip(shares, sums, strict=True):
        ends = low * share * found.width, high * share * found.width
        expected = squared_error(values.astype(np.float64), *ends, form, symmetric)
        step = float(grid_of_range(*ends, form, symmetric=symmetric).scale)
        # A value is known by its bin, which moves its error of up to half a step by up to half a
        # bin; where values are many and all different, that cancels out.
        alike = 1 if name in ("integers", "few") else 0.05
        bound = 0.02 * expected + alike * found.width * step / 2
        assert total / len(values) * found.width**2 == pytest.approx(expected, abs=bound)


def test_mse_clips_an_outlier_and_keeps_what_is_even():
    assert observed(SAMPLES["outlier"], method="mse", form=UINT4).maximum < 40
    even = np.linspace(-1, 3, 5000, dtype=np.float32)
    found = observed(even, method="mse", form=UINT8)
    assert found.minimum == pytest.approx(-1, abs=0.01)
    assert found.maximum == pytest.approx(3, abs=0.01)


def relative_entropy(found, low, high, form, symmetric):
    """KL(P || Q) bin by bin, `low` and `high` in bins."""
    grid = grid_of_range(low, high, form, symmetric=symmetric)
    reference, cells = [], []
    for index, count in enumerate(found.counts):
        if count:
            middle = (found.edges[index] + found.edges[index + 1]) / 2
            # Halves go up, as the borders between integers have it.
            cells.append(int(np.floor(middle / float(grid.scale) + 0.5) + grid.zero_point))
            reference.append(count)
    inside = [form.qmin <= cell <= form.qmax for cell in cells]
    if not any(inside):
        return np.inf
    first, last = inside.index(True), len(inside) - 1 - inside[::-1].index(True)
    within, cells = np.array(reference[first : last + 1]), np.array(cells[first : last + 1])
    spread = np.empty(len(within))
    for cell in set(cells.tolist()):
        spread[cells == cell] = within[cells == cell].mean()
    clipped = within.astype(np.float64)
    clipped[0] += sum(reference[:first])
    clipped[-1] += sum(reference[last + 1 :])
    total = found.counts.sum()
    return rel_entr(clipped / total, spread / total).sum()


@pytest.mark.parametrize("form", [UINT8, INT8, UINT4])
@pytest.mark.parametrize("symmetric", [False, True])
@every_sample
def test_relative_entropy_is_the_sum_over_bins(name, symmetric, form):
    found = distribution(SAMPLES[name], 512)
    low, high = found.span(symmetric)
    shares = np.array([[1, 1], [0.8, 0.9], [0.5, 0.2], [0.3, 0.3], [0.01, 0.013], [1e-3, 2e-3]])
    if symmetric:
        shares[:, 0] = shares[:, 1]
    lows, highs = low * shares[:, 0], high * shares[:, 1]
    costs = _RelativeEntropy(found, form, symmetric)(lows, highs)
    expected = [
        relative_entropy(found, low, high, form, symmetric)
        for low, high in zip(lows, highs, strict=True)
    ]
    np.testing.assert_allclose(costs, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("symmetric", [False, True])
@every_sample
def test_entropy_is_as_good_as_trying_every_range(name, symmetric):
    values = SAMPLES[name]
    found = distribution(values)
    chosen = observed(values, method="entropy", form=UINT4, symmetric=symmetric)
    cost = _RelativeEntropy(found, UINT4, symmetric)
    low, high = found.span(symmetric)
    ends = np.array([chosen.minimum, chosen.maximum]) / found.width
    lowest = cost(ends[:1], ends[1:])[0]
    shares = np.geomspace(1, 0.01, 120)
    a, b = (shares, shares) if symmetric else np.meshgrid(shares, shares)
    best = cost(low * np.ravel(a), high * np.ravel(b)).min()
    assert lowest <= 1.05 * best + 1e-9
    assert ends[1] - ends[0] >= 15  # not less than a bin an integer


@pytest.mark.parametrize("form", [UINT8, INT8])
@every_sample
def test_entropy_keeps_most_values_inside(name, form):
    values = SAMPLES[name]
    found = observed(values, method="entropy", form=form)
    assert np.mean((values < found.minimum) | (values > found.maximum)) < 0.02


def test_entropy_does_not_pay_for_zeros():
    """What Relu cuts off is quantized like the part it keeps."""
    positive = np.abs(SAMPLES["normal"])
    with_zeros = np.concatenate([positive, np.zeros(60_000, np.float32)])
    alone = observed(positive, method="entropy")
    assert observed(with_zeros, method="entropy") == alone
    assert alone.maximum > 0.6 * positive.max()


@settings(max_examples=examples(60))
@given(
    ARRAYS,
    st.sampled_from(METHODS),
    st.sampled_from([UINT8, INT8, UINT4, IntegerFormat(16, signed=True)]),
    st.booleans(),
)
@example(np.array([1e-30, 1e30], np.float32), "mse", UINT8, False)
def test_ranges_lie_within_the_values_and_0(values, method, form, symmetric):
    found = observed(values, method=method, form=form, symmetric=symmetric)
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    if symmetric:
        low, high = min(low, -high), max(-low, high)
    assert low <= found.minimum <= found.maximum <= high
    grid = grid_of_range(found.minimum, found.maximum, form, symmetric=symmetric)
    assert grid.round(np.zeros(1, np.float32))[0] == 0


@settings(max_examples=examples(60))
@given(ARRAYS, st.sampled_from(UNORDERED), st.booleans(), st.randoms(use_true_random=False))
def test_neither_order_nor_pieces_matter(values, method, symmetric, random):
    shuffled = values.tolist()
    random.shuffle(shuffled)
    cuts = sorted(random.randrange(len(shuffled) + 1) for _ in range(4))
    pieces = np.split(np.array(shuffled, np.float32), cuts)
    options = {"method": method, "symmetric": symmetric, "form": UINT4, "bins": 128}
    assert observed(values, **options) == observed(*pieces, **options)


@pytest.mark.parametrize("scale", [2.0**-100, 2.0**-10, 2.0**10, 2.0**90])
@pytest.mark.parametrize("method", METHODS)
def test_ranges_grow_with_the_values(method, scale):
    values = SAMPLES["lopsided"]
    one = observed(values, method=method)
    scaled = observed((values * scale).astype(np.float32), method=method)
    assert scaled.minimum == pytest.approx(one.minimum * scale, rel=1e-6)
    assert scaled.maximum == pytest.approx(one.maximum * scale, rel=1e-6)


# Entropy has valleys of nearly one depth, between which the smallest difference decides.
@pytest.mark.parametrize("method", ["min-max", "percentile", "mse"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_ranges_mirror_the_values(method, symmetric):
    values = SAMPLES["lopsided"]
    one = observed(values, method=method, form=INT8, symmetric=symmetric)
    other = observed(-values, method=method, form=INT8, symmetric=symmetric)
    step = (one.maximum - one.minimum) / 255
    assert other.minimum == pytest.approx(-one.maximum, abs=2 * step)
    assert other.maximum == pytest.approx(-one.minimum, abs=2 * step)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("size", [1, 7])
def test_constant_tensors(method, symmetric, size):
    options = {"method": method, "symmetric": symmetric}
    for pieces in ([], [np.zeros(0, np.float32)], [np.zeros(size, np.float32)] * 2):
        assert observed(*pieces, **options) == Range(0, 0)
    for value in (4.0, -0.3, 1e30, -1e-30):
        values = np.full(size, value, np.float32)
        found = observed(values, **options)
        grid = grid_of_range(found.minimum, found.maximum, UINT8, symmetric=symmetric)
        if abs(value) > 1e-29:
            np.testing.assert_allclose(grid.round(values), values, rtol=1e-5)
        assert max(abs(found.minimum), abs(found.maximum)) == pytest.approx(abs(value), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "kl"}, "'kl' is none of min-max"),
        ({"method": "moving-average", "momentum": 1.5}, r"momentum 1\.5 is not between 0 and 1"),
        ({"method": "percentile", "percentile": 0.9999}, r"0\.9999 is not between 50 and 100"),
        ({"method": "mse", "bins": 1}, "1 bins"),
    ],
)
def test_options_out_of_range(options, words):
    with pytest.raises(PipelineError, match=words):
        make_observer(**options)
