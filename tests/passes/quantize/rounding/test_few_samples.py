"""Rounding learned from few samples, judged on others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planish.ir.ops.linear.kernel import Kernel
from planish.passes.analysis.observe.moments import Moments
from planish.passes.quantize.rounding import reconstruct as rounding
from planish.passes.quantize.rounding.held_back import RIDGES, best_ridge, lasting_share
from planish.passes.quantize.rounding.reconstruct import best_bias, reconstruct, snap

_ROWS = 32


def _samples(generator, mix, count, positions):
    """Draw [K, count, positions]; samples are independent, and so are positions."""
    drawn = generator.standard_normal((mix.shape[1], count, positions))
    noise = 0.3 * generator.standard_normal((len(mix), count, positions))
    return np.maximum(np.tensordot(mix, drawn, 1) + noise, 0).astype(np.float32)


def _moments(weight, x, **options):
    halves = Moments(**options), Moments(**options)
    for number, sample in enumerate(x.swapaxes(0, 1)):
        halves[number % 2].add(sample[None], (weight @ sample)[None].astype(np.float32))
    return Moments.joined(*halves)


def _error(kernel, weight, fresh):
    found = kernel.weight.reshape(_ROWS, -1) @ fresh + kernel.full_bias()[:, None]
    return np.square(found - weight @ fresh).mean()


@pytest.mark.parametrize("samples", [4, 8, 32])
@pytest.mark.parametrize("size", [16, 64])
@pytest.mark.parametrize("rank", [4, None], ids=["correlated", "not correlated"])
def test_adaptive_rounding_is_no_worse_than_nearest_on_other_samples(samples, size, rank):
    generator = np.random.default_rng(size)
    mix = generator.standard_normal((size, rank or size))
    weight = generator.standard_normal((_ROWS, size))
    kernel = Kernel(weight.reshape(1, _ROWS, size, 1), np.zeros(_ROWS))
    moments = _moments(weight, _samples(generator, mix, samples, 1))
    usual = replace(kernel, weight=snap(weight[None], 127).reshape(kernel.weight.shape))
    usual = replace(usual, bias=best_bias(kernel, usual, moments))
    fresh = _samples(generator, mix, 2000, 1)[..., 0]
    found = _error(reconstruct(kernel, moments, 127).kernel, weight, fresh)
    assert found <= 1.02 * _error(usual, weight, fresh)


@pytest.mark.parametrize("centred", [True, False])
def test_halves_join_to_what_all_samples_give(centred):
    generator = np.random.default_rng(0)
    weight = generator.standard_normal((_ROWS, 12))
    x = _samples(generator, generator.standard_normal((12, 5)), 9, 70) + 3
    found = _moments(weight, x, centred=centred)
    together = np.moveaxis(x, 1, 0).swapaxes(0, 1).reshape(12, -1).astype(np.float64)
    outputs = (weight @ together).astype(np.float32)
    mean = together.mean(axis=1, keepdims=True) * centred
    around = together - mean
    np.testing.assert_allclose(
        found.input_moment()[0], around @ around.T / around.shape[1], rtol=1e-5
    )
    crossed = (outputs - outputs.mean(axis=1, keepdims=True) * centred) @ around.T
    np.testing.assert_allclose(
        found.cross_moment()[0], crossed / around.shape[1], rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(found.mean_input[0], together.mean(axis=1), rtol=1e-5)
    assert [half.count for half in found.halves] == [5 * 70, 4 * 70]


def test_the_ridge_is_the_one_of_least_error_on_the_other_half():
    errors = dict(zip(RIDGES, (9.0, 6.0, 2.0, 4.0), strict=True))

    def error(known, other, ridge):
        return errors[ridge] + 5 * (known == "b") * (ridge == RIDGES[2]) * (other == "a")

    assert best_ridge(("a", "b"), error) == RIDGES[3]
    assert best_ridge(("a", "b"), error, both=False) == RIDGES[2]
    assert best_ridge(None, error) == RIDGES[-1]


def test_a_mean_error_counts_as_far_as_halves_agree():
    moments = _moments(np.eye(_ROWS), np.ones((_ROWS, 4, 1), np.float32))
    first, other = moments.halves

    def shift(a, b):
        return lambda known: np.asarray({id(first): a, id(other): b}[id(known)], np.float64)

    assert lasting_share(moments, shift([1, 2], [1, 2])) == 1
    assert lasting_share(moments, shift([1, 2], [-1, -2])) == 0
    assert lasting_share(moments, shift([1, 0], [1, 1])) == pytest.approx(2 * (2 / 3) / (5 / 3))
    assert lasting_share(first, shift([1], [1])) == 1


def test_biases_of_few_samples_are_nearer_than_none_and_than_all_that_the_samples_say():
    """Over many draws: what is left of a mean error that a few noisy samples show."""
    generator = np.random.default_rng(0)
    kernel = Kernel(np.zeros((1, _ROWS, 1, 1)), np.zeros(_ROWS))
    left = []
    for scale in (0.02, 0.3, 3.0):
        for _ in range(200):
            true = scale * generator.standard_normal(_ROWS)
            halves = Moments(second=False), Moments(second=False)
            seen = true[None, :, None] + generator.standard_normal((8, _ROWS, 1))
            for number, each in enumerate(seen):
                halves[number % 2].add(np.ones((1, 1, 1)), each[None])
            found = best_bias(kernel, kernel, Moments.joined(*halves))
            raw = seen.mean(axis=(0, 2))
            left.append([np.square(e - true).mean() / scale**2 for e in (found, raw, 0 * true)])
    found, raw, none = np.mean(np.reshape(left, (3, 200, 3)), axis=1).T
    assert (found <= 1.1 * np.minimum(raw, none) + 0.06 * raw).all()
    assert (found < 0.75 * np.maximum(raw, none)).all()


@pytest.mark.parametrize("best", range(len(RIDGES)))
def test_every_ridge_is_found(best):
    asked = []

    def error(known, other, ridge):
        asked.append(ridge)
        return abs(RIDGES.index(ridge) - best)

    assert best_ridge(("a", "b"), error) == RIDGES[best]
    assert len(asked) <= 2 * 3


def test_a_part_of_the_rows_of_a_large_layer_shows_the_ridge_of_all(monkeypatch):
    """Samples that say nothing of others ask for the largest, and many for the least."""
    chosen = []
    monkeypatch.setattr(
        rounding, "best_ridge", lambda *a, **k: chosen.append(best_ridge(*a, **k)) or chosen[-1]
    )
    generator = np.random.default_rng(0)
    weight = generator.standard_normal((_ROWS, 96))
    kernel = Kernel(weight.reshape(1, _ROWS, 96, 1), np.zeros(_ROWS))
    mix = generator.standard_normal((96, 5))
    for samples in (3, 400):
        moments = _moments(weight, _samples(generator, mix, samples, 1))
        for large in (np.inf, 0):
            monkeypatch.setattr(rounding, "_LARGE", large)
            monkeypatch.setattr(rounding, "_JUDGED", 8)
            reconstruct(kernel, moments, 127)
    assert chosen[0] == chosen[1] > chosen[2] == chosen[3]
