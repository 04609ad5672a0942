"""Histograms that widen: against numpy on all values at once, in any order and pieces."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from planish.passes.quantize.quantize.calibration.histogram import Histogram
from planish.passes.quantize.quantize.calibration.observers import Range

from tests.effort import examples

# Denormal values are the exception that the histogram makes: they may vanish.
FLOATS = st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)
ARRAYS = hnp.arrays(np.float32, st.integers(1, 60), elements=FLOATS)
BINS = st.sampled_from([2, 3, 16, 100, 4096])


def counted(*pieces, bins=64):
    histogram = Histogram(bins, lambda found: Range(0, 0))
    for piece in pieces:
        histogram.update(piece)
    return histogram.distribution()


def check_against_numpy(found, values, bins):
    """The counts of numpy on all values at once, in float64, with edges made from the width."""
    values = values.astype(np.float64)
    assert math.frexp(found.width)[0] == 0.5  # a power of two
    assert len(found.counts) <= bins
    # Half the width would not do: the grid is as fine as the bins allow.
    low, high = min(values.min(), 0.0), max(values.max(), 0.0)
    half = found.width / 2
    assert math.floor(high / half) - math.floor(low / half) + 1 > bins
    edges = (found.first + np.arange(len(found.counts) + 1)) * found.width
    assert edges[0] <= low < edges[0] + found.width
    assert edges[-2] <= high < edges[-1]
    expected = np.histogram(values[values != 0], edges)[0]
    np.testing.assert_array_equal(found.counts, expected)
    assert found.zeros == np.count_nonzero(values == 0)
    assert found.minimum * found.width == values.min()
    assert found.maximum * found.width == values.max()


@given(ARRAYS.filter(np.any), BINS)
@example(np.array([-1e30, 1e-30, -1e-30, 1e30], np.float32), 4096)
@example(np.array([-1.0], np.float32), 2)
@example(np.array([3.0, 0.0, -0.0], np.float32), 4096)
def test_counts_are_those_of_numpy(values, bins):
    check_against_numpy(counted(values, bins=bins), values, bins)


@given(ARRAYS.filter(np.any), BINS, st.randoms(use_true_random=False))
def test_neither_order_nor_pieces_matter(values, bins, random):
    whole = counted(values, bins=bins)
    shuffled = values.tolist()
    random.shuffle(shuffled)
    cuts = sorted(random.randrange(len(shuffled) + 1) for _ in range(5))
    pieces = np.split(np.array(shuffled, np.float32), cuts)
    again = counted(*pieces, bins=bins)
    np.testing.assert_array_equal(whole.counts, again.counts)
    assert (whole.width, whole.first, whole.zeros, whole.minimum, whole.maximum) == (
        again.width, again.first, again.zeros, again.minimum, again.maximum
    )  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("magnitude", [1e-30, 1e-3, 1.0, 1e4, 1e30])
def test_many_values_of_every_type_and_magnitude(dtype, magnitude):
    if dtype == np.float16:
        magnitude = min(max(magnitude, 1e-2), 1e3)
    generator = np.random.default_rng(0)
    values = (generator.standard_normal((3, 70_000)) * magnitude).astype(dtype)
    # More than one piece within an array, and a range that grows from array to array.
    found = counted(values[0] / 8, values[1], values[2] * 2, bins=1000)
    check_against_numpy(found, np.concatenate([values[0] / 8, values[1], values[2] * 2]), 1000)


def test_zeros_before_anything_else_are_counted():
    zeros, ones = np.zeros(5, np.float32), np.full(3, 7.0, np.float32)
    assert counted(zeros) is None
    assert counted(np.zeros(0, np.float32)) is None
    for found in (counted(zeros, ones), counted(ones, zeros), counted(zeros, -ones, zeros)):
        assert found.zeros in (5, 10)
        assert found.counts.sum() == 3


def test_values_held_at_a_border_lie_on_it():
    found = counted(np.minimum(np.linspace(0, 12, 1000, dtype=np.float32), 6.0), bins=256)
    assert found.edges[-2:].tolist() == [6 / found.width] * 2
    assert found.edges[0] == 0
    found = counted(np.array([5.0, 5.5], np.float32), bins=256)
    assert found.edges[np.flatnonzero(found.counts)[0]] * found.width == 5.0


@settings(max_examples=examples(50))
@given(ARRAYS.filter(np.any))
def test_folding_gives_the_magnitudes(values):
    folded, magnitudes = counted(values).folded(), counted(np.abs(values))
    assert folded.zeros == magnitudes.zeros
    assert folded.maximum * folded.width == magnitudes.maximum * magnitudes.width
    assert folded.counts.sum() == magnitudes.counts.sum()
    # An edge belongs to the bin above it, so that values on edges may fold one bin lower.
    scaled = np.abs(values[values != 0].astype(np.float64)) / folded.width
    if not np.any(scaled == np.floor(scaled)):
        expected = np.bincount(np.floor(scaled).astype(int), minlength=len(folded.counts))
        np.testing.assert_array_equal(folded.counts, expected)
