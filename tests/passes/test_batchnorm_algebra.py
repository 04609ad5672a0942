"""The algebra of folding, in numpy against PyTorch and scipy-free formulas; no graphs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from planish.passes.fusion.batchnorm import affine, fold_conv, fold_conv_transpose, fold_gemm

CHANNELS = 6


@pytest.fixture
def statistics():
    generator = np.random.default_rng(1)
    scale, bias, mean = generator.standard_normal((3, CHANNELS))
    var = generator.uniform(1e-4, 2, CHANNELS)
    return scale, bias, mean, var, 1e-3


def batchnorm(y, statistics):
    scale, bias, mean, var, epsilon = statistics
    return functional.batch_norm(
        y, *(torch.from_numpy(a) for a in (mean, var, scale, bias)), eps=epsilon
    )


def weights(*shape):
    return np.random.default_rng(2).standard_normal(shape)


def test_affine_is_batchnorm(statistics):
    s, t = affine(*statistics)
    y = torch.from_numpy(weights(5, CHANNELS))
    expected = batchnorm(y, statistics).numpy()
    np.testing.assert_allclose(y.numpy() * s + t, expected, rtol=1e-12)


@pytest.mark.parametrize("group", [1, 2, 3])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_conv(statistics, group, with_bias, rank):
    convolve = getattr(functional, f"conv{rank}d")
    x = torch.from_numpy(weights(2, 6, *[5] * rank))
    w, b = weights(CHANNELS, 6 // group, *[3] * rank), weights(CHANNELS) if with_bias else None
    expected = batchnorm(
        convolve(x, torch.from_numpy(w), _tensor(b), groups=group), statistics
    ).numpy()
    folded = fold_conv(w, b, *affine(*statistics))
    found = convolve(x, *(torch.from_numpy(a) for a in folded), groups=group).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("group", [1, 2, 3])
@pytest.mark.parametrize("with_bias", [False, True])
def test_conv_transpose(statistics, group, with_bias):
    x = torch.from_numpy(weights(2, 6, 4, 5))
    w, b = weights(6, CHANNELS // group, 3, 2), weights(CHANNELS) if with_bias else None
    arguments = {"groups": group, "stride": 2}
    expected = batchnorm(
        functional.conv_transpose2d(x, torch.from_numpy(w), _tensor(b), **arguments), statistics
    ).numpy()
    folded = fold_conv_transpose(w, b, *affine(*statistics), group)
    found = functional.conv_transpose2d(
        x, *(torch.from_numpy(a) for a in folded), **arguments
    ).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("shape", [None, (), (1,), (CHANNELS,), (1, CHANNELS)])
def test_gemm(statistics, transposed, shape):
    a, b = weights(3, 4), weights(4, CHANNELS)
    c = None if shape is None else weights(*shape)
    expected = batchnorm(
        torch.from_numpy(0.5 * a @ b + (0 if c is None else 3.0 * c)), statistics
    ).numpy()
    stored = np.ascontiguousarray(b.T) if transposed else b
    weight, bias = fold_gemm(stored, c, *affine(*statistics), transposed=transposed, beta=3.0)
    found = 0.5 * a @ (weight.T if transposed else weight) + bias
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def _tensor(array):
    return None if array is None else torch.from_numpy(array)
