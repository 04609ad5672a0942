"""Rounding learned from few samples, judged on others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from planish.ir.ops.linear.kernel import Kernel
from planish.passes.analysis.observe.moments import Moments
from planish.passes.quantize.rounding.reconstruct import best_bias, reconstruct, snap

_ROWS = 32


def _samples(generator, mix, count, positions):
    """Draw [K, count, positions]; samples are independent, and so are positions."""
    drawn = generator.standard_normal((mix.shape[1], count, positions))
    noise = 0.3 * generator.standard_normal((len(mix), count, positions))
    return np.maximum(np.tensordot(mix, drawn, 1) + noise, 0).astype(np.float32)


def _moments(weight, x, **options):
    moments = Moments(**options)
    for sample in x.swapaxes(0, 1):
        moments.add(sample[None], (weight @ sample)[None].astype(np.float32))
    return moments


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
    usual = replace(usual, bias=best_bias(usual, moments))
    fresh = _samples(generator, mix, 2000, 1)[..., 0]
    found = _error(reconstruct(kernel, moments, 127).kernel, weight, fresh)
    assert found <= 1.02 * _error(usual, weight, fresh)


def test_shrinkage_is_what_samples_apart_say():
    generator = np.random.default_rng(0)
    mix = generator.standard_normal((12, 5))
    x = _samples(generator, mix, 9, 7)
    own = np.einsum("ksp,lsp->skl", x, x, dtype=np.float64) / 7
    mean = own.mean(axis=0)
    sphere = np.trace(mean) / 12 * np.eye(12)
    off = np.square(own - mean).sum() / (9 * 8)
    expected = off / np.square(mean - sphere).sum()
    found = _moments(np.ones((_ROWS, 12)), x, centred=False).shrinkage()
    assert 0.05 < found < 0.95
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_shrinkage_ends_with_many_samples_and_knows_nothing_of_one():
    generator = np.random.default_rng(0)
    mix = generator.standard_normal((12, 5))
    weight = np.ones((_ROWS, 12))
    found = [
        _moments(weight, _samples(generator, mix, count, 4)).shrinkage() for count in (1, 10, 2000)
    ]
    assert found[0] == 0
    assert found[1] > 0.03
    assert found[2] < 0.002
