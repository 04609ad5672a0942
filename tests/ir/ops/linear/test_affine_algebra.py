"""The algebra of affine maps and kernels, in numpy against PyTorch; no graphs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from planish.ir.ops.linear.affine import batchnorm_affine
from planish.ir.ops.linear.kernel import (
    from_conv,
    from_conv_transpose,
    from_matrix,
    to_conv,
    to_conv_transpose,
    to_matrix,
)

CHANNELS = 6


@pytest.fixture
def statistics():
    generator = np.random.default_rng(1)
    scale, bias, mean = generator.standard_normal((3, CHANNELS))
    var = generator.uniform(1e-4, 2, CHANNELS)
    return scale, bias, mean, var, 1e-3


def test_affine_is_computed_in_float64():
    given = (np.full(1, value, np.float32) for value in (0.1, 0.3, 0.7, 0.9))
    s, t = batchnorm_affine(*given, 1e-3)
    assert s.dtype == t.dtype == np.float64
    scale, bias, mean, var = (float(np.float32(value)) for value in (0.1, 0.3, 0.7, 0.9))
    expected = scale / (var + 1e-3) ** 0.5
    np.testing.assert_allclose([s[0], t[0]], [expected, bias - mean * expected], rtol=1e-15)


def test_what_is_not_finite_is_no_warning():
    largest = float(np.finfo(np.float64).max)
    with np.errstate(all="raise"):
        s, t = batchnorm_affine(*np.array([[1.0, largest], [0, 0], [2, 2], [0, 1e-9]]), 0.0)
        assert np.isinf(s[0])
        assert np.isinf(t).all()
        s, _ = batchnorm_affine(*np.array([[1.0], [0], [0], [-1]]), 0.0)
        assert np.isnan(s).all()


def batchnorm(y, statistics):
    scale, bias, mean, var, epsilon = statistics
    return functional.batch_norm(
        y, *(torch.from_numpy(a) for a in (mean, var, scale, bias)), eps=epsilon
    )


def weights(*shape):
    return np.random.default_rng(2).standard_normal(shape)


def test_affine_is_batchnorm(statistics):
    s, t = batchnorm_affine(*statistics)
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
    kernel = from_conv(w, b, group).then_affine(*batchnorm_affine(*statistics))
    folded = to_conv(kernel), kernel.bias
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
    kernel = from_conv_transpose(w, b, group).then_affine(*batchnorm_affine(*statistics))
    folded = to_conv_transpose(kernel), kernel.bias
    found = functional.conv_transpose2d(
        x, *(torch.from_numpy(a) for a in folded), **arguments
    ).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("shape", [None, (CHANNELS,), (1, CHANNELS)])
def test_matrix(statistics, transposed, shape):
    a, b = weights(3, 4), weights(4, CHANNELS)
    c = None if shape is None else weights(*shape)
    expected = batchnorm(torch.from_numpy(a @ b + (0 if c is None else c)), statistics).numpy()
    kernel = from_matrix(b.T if transposed else b, c, transposed=transposed)
    kernel = kernel.then_affine(*batchnorm_affine(*statistics))
    weight = to_matrix(kernel, transposed=transposed)
    found = a @ (weight.T if transposed else weight) + kernel.bias
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("group", [1, 2, 3])
def test_affine_before_conv(statistics, group, with_bias):
    """W * (s x + t) = (W s) x + W * t, where every position sees every tap."""
    s, t = batchnorm_affine(*statistics)
    x = torch.from_numpy(weights(2, CHANNELS, 5, 4))
    w, b = weights(6, CHANNELS // group, 3, 2), weights(6) if with_bias else None
    expected = functional.conv2d(
        batchnorm(x, statistics), torch.from_numpy(w), _tensor(b), groups=group
    ).numpy()
    kernel = from_conv(w, b, group)
    bias = kernel.full_bias() + kernel.of_constant(t)
    pushed = to_conv(kernel.after_scale(s))
    found = functional.conv2d(x, *(torch.from_numpy(a) for a in (pushed, bias)), groups=group)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-9)


def _tensor(array):
    return None if array is None else torch.from_numpy(array)
