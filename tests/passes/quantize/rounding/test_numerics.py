"""The numerics of rounding: integers, moments and patches, without a graph where none is needed."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planish import to_model
from planish.ir.ops.linear.kernel import Kernel
from planish.ir.ops.linear.layer import read_layer
from planish.passes.analysis.observe.moments import Moments
from planish.passes.analysis.observe.patches import (
    draw_positions,
    patches_at,
    position_shape,
    positions_per_feed,
    results_at,
)
from planish.passes.quantize.correct_bias.channel_means import Normal
from planish.passes.quantize.grids.grid import lattice_steps
from planish.passes.quantize.rounding import reconstruct as reconstruction
from planish.passes.quantize.rounding.coordinate_descent import (
    NearestPlane,
    descend,
    nearest,
    objective,
)
from planish.passes.quantize.rounding.reconstruct import reconstruct, snap

from tests.effort import examples
from tests.helpers import graph_of, run_ort, view_of


def _inputs(generator, positions, groups, size):
    """Correlated inputs, mostly positive, as they are after a Relu."""
    mix = generator.standard_normal((groups, size, size))
    drawn = generator.standard_normal((positions, groups, size))
    return np.maximum(np.einsum("pgk,gkl->pgl", drawn, mix) + 0.5, 0).astype(np.float32)


def _layer(generator, groups, rows, size, positions=400):
    weight = generator.standard_normal((groups, rows, size))
    kernel = Kernel(weight, generator.standard_normal(groups * rows))
    x = _inputs(generator, positions, groups, size)
    y = np.einsum("gmk,pgk->pgm", weight, x) + kernel.bias.reshape(groups, rows)
    return kernel, x, y.astype(np.float32)


def _moments(x, y, **options):
    moments = Moments(**options)
    for batch in np.array_split(np.arange(len(x)), 5):
        moments.add(*(part[batch].transpose(1, 2, 0) for part in (x, y)))
    return moments


def _squared_error(kernel, x, y):
    rows = kernel.weight.reshape(*kernel.weight.shape[:2], -1)
    found = np.einsum("gmk,pgk->pgm", rows, x) + kernel.bias.reshape(rows.shape[:2])
    return ((y - found) ** 2).mean(axis=0).reshape(-1)


def _losses(seed):
    """Return what descent and nearest rounding lose to the best of all roundings of six weights."""
    kernel, x, y = _layer(np.random.default_rng(seed), 1, 4, 6)
    moments = _moments(x, y)
    a, t = moments.input_moment(), moments.cross_moment().swapaxes(1, 2)
    target = np.linalg.solve(a, t)
    qmax = 7
    scale = np.abs(kernel.weight).max(axis=2) / qmax
    whole, error = NearestPlane(a, t).round(scale, qmax)
    gap = whole * scale[:, None] - target
    assert np.allclose(error, (gap * (a @ gap)).sum(axis=1), rtol=1e-3)
    end = descend(a, t, scale, whole, qmax)
    found = objective(a, t, end * scale[:, None])[0]
    assert (found <= objective(a, t, whole * scale[:, None])[0] + 1e-9).all()
    offsets = np.array(list(itertools.product((-1, 0, 1, 2), repeat=6))).T
    floor = np.floor(target / scale[:, None])
    every = np.clip(floor[..., None] + offsets[:, None], -qmax, qmax) * scale[:, None, :, None]
    values = np.moveaxis(every, 3, 2).reshape(1, 6, -1)
    costs = objective(a, np.tile(t, offsets.shape[1]), values).reshape(-1, 4)
    best = costs.min(axis=0)
    assert (found >= best - 1e-6).all()
    plain = nearest(kernel.weight.swapaxes(1, 2), scale, qmax) * scale[:, None]
    return (found - best).sum(), (objective(a, t, plain)[0] - best).sum()


def test_descent_finds_nearly_the_best_of_all_roundings():
    own, usual = np.sum([_losses(seed) for seed in range(12)], axis=0)
    assert own <= 0.1 * usual


@pytest.mark.parametrize(("groups", "size"), [(1, 100), (3, 70), (5, 9)])
def test_descent_ends_where_no_single_integer_would_move(groups, size):
    kernel, x, y = _layer(np.random.default_rng(10), groups, 4, size)
    moments = _moments(x, y)
    a = moments.input_moment() + np.eye(size)
    t = moments.cross_moment().swapaxes(1, 2) + kernel.weight.swapaxes(1, 2)
    scale = np.abs(kernel.weight).max(axis=2) / 15
    start = nearest(kernel.weight.swapaxes(1, 2), scale, 15)
    end = descend(a, t, scale, start, 15).astype(np.float64)
    assert (np.abs(end) <= 15).all()
    before, after = (objective(a, t, whole * scale[:, None]) for whole in (start, end))
    assert (after <= before + 1e-5 * np.abs(before)).all()
    assert after.sum() < before.sum()
    slope = a @ (end * scale[:, None]) - t
    curved = np.diagonal(a, axis1=1, axis2=2)[..., None] * scale[:, None]
    for step in (1, -1):
        gains = (curved + 2 * step * slope < -0.01 * curved) & (np.abs(end + step) <= 15)
        assert gains.mean() < 0.01


@given(
    seed=st.integers(0, 2**32 - 1),
    groups=st.integers(1, 3),
    rows=st.integers(1, 5),
    size=st.sampled_from((1, 2, 3, 9, 40, 70)),
    bits=st.integers(2, 8),
    per_channel=st.booleans(),
    positions=st.sampled_from((1, 3, 200)),
)
@settings(max_examples=examples(60))
def test_reconstruction_is_never_above_nearest(
    seed, groups, rows, size, bits, per_channel, positions
):
    kernel, x, y = _layer(np.random.default_rng(seed), groups, rows, size, positions)
    qmax = 2 ** (bits - 1) - 1
    moments = _moments(x, y)
    rounded = reconstruct(kernel, moments, qmax, per_channel=per_channel)
    usual = Kernel(snap(kernel.weight, qmax, per_channel=per_channel), kernel.bias)
    usual = Kernel(usual.weight, (y - np.einsum("gmk,pgk->pgm", usual.weight, x)).mean(0).ravel())
    own, other = (_squared_error(k, x, y) for k in (rounded.kernel, usual))
    slack = 1e-5 * y.astype(np.float64).var(axis=0).reshape(-1) + 1e-6
    if per_channel:
        assert (own <= other + slack).all()
    assert own.sum() <= (other + slack).sum()
    flat = rounded.kernel.weight.reshape(1 if not per_channel else groups * rows, -1)
    several = np.count_nonzero(flat, axis=1) > 1
    assert not np.isnan(lattice_steps(flat.astype(np.float32), qmax)[several]).any()
    assert np.array_equal(flat, flat.astype(np.float32))


def test_reconstruction_gains_where_inputs_are_correlated():
    kernel, x, y = _layer(np.random.default_rng(0), 16, 1, 9)
    rounded = reconstruct(kernel, _moments(x, y), 7)
    variance = y.var(axis=0).reshape(-1)
    assert (rounded.error + variance).sum() < 0.6 * (rounded.nearest_error + variance).sum()


def test_no_row_is_worse_than_nearest_whatever_the_ridge():
    kernel, x, y = _layer(np.random.default_rng(12), 2, 16, 12)
    rounded = reconstruct(kernel, _moments(x, y), 7, ridge=1e3)
    assert (rounded.error <= rounded.nearest_error).all()
    assert (rounded.error < rounded.nearest_error).any()


def test_fitting_the_step_to_the_integers_only_gains(monkeypatch):
    kernel, x, y = _layer(np.random.default_rng(11), 2, 8, 20)
    moments = _moments(x, y)
    fitted = reconstruct(kernel, moments, 7, ridge=1e-6)
    monkeypatch.setattr(reconstruction, "_REFITS", 0)
    plain = reconstruct(kernel, moments, 7, ridge=1e-6)
    assert (fitted.error <= plain.error + 1e-4 * y.var()).all()
    assert (fitted.error < plain.error).mean() > 0.3


def test_the_bias_makes_the_mean_error_zero():
    kernel, x, y = _layer(np.random.default_rng(1), 2, 3, 9)
    rounded = reconstruct(kernel, _moments(x, y), 7).kernel
    found = np.einsum("gmk,pgk->pgm", rounded.weight, x) + rounded.bias.reshape(2, 3)
    assert np.abs((y - found).mean(axis=0)).max() < 1e-4
    without = reconstruct(kernel, _moments(x, y, centred=False), 7, has_bias=False).kernel
    assert without.bias is kernel.bias


def test_one_sample_moves_weights_by_few_steps():
    kernel, x, y = _layer(np.random.default_rng(2), 1, 8, 30, positions=2)
    rounded = reconstruct(kernel, _moments(x, y), 127).kernel
    step = np.abs(kernel.weight).max(axis=2, keepdims=True) / 127
    assert np.median(np.abs(rounded.weight - kernel.weight) / step) < 2


@pytest.mark.parametrize("size", [6, 7])
def test_uncorrelated_blocks_of_columns_lose_nothing_by_being_kept_apart(size):
    generator = np.random.default_rng(9)
    kernel, x, _ = _layer(generator, 2, 5, size)
    x[::2, :, : -(-size // 2)] = 0  # no position has inputs of both halves
    x[1::2, :, -(-size // 2) :] = 0
    y = np.einsum("gmk,pgk->pgm", kernel.weight, x).astype(np.float32)
    whole, parted = (
        reconstruct(
            Kernel(kernel.weight, None),
            _moments(x, y, centred=False, parts=parts),
            7,
            has_bias=False,
            ridge=1e-6,
        )
        for parts in (1, 2)
    )
    zero = Kernel(whole.kernel.weight, np.zeros(10)), Kernel(parted.kernel.weight, np.zeros(10))
    errors = [_squared_error(found, x, y).sum() for found in zero]
    assert errors[1] < 1.15 * errors[0]
    usual = Kernel(snap(kernel.weight, 7), np.zeros(10))
    assert errors[1] < 0.8 * _squared_error(usual, x, y).sum()
    assert np.allclose(
        parted.error - whole.error,
        np.subtract(*(_squared_error(found, x, y) for found in zero[::-1])),
        atol=1e-3,
    )
    assert not np.isnan(lattice_steps(parted.kernel.weight.reshape(10, -1), 7)).any()


@pytest.mark.parametrize("centred", [True, False])
def test_moments_are_those_of_numpy(centred):
    generator = np.random.default_rng(3)
    x = _inputs(generator, 300, 2, 5) + np.float32(100)
    y = generator.standard_normal((300, 2, 4)).astype(np.float32) - np.float32(7)
    moments = _moments(x, y, centred=centred)
    for g in range(2):
        a, b = x[:, g].astype(np.float64), y[:, g].astype(np.float64)
        if centred:
            both = np.cov(np.concatenate([a, b], axis=1).T, bias=True)
        else:
            joined = np.concatenate([a, b], axis=1)
            both = joined.T @ joined / 300
        scale = np.abs(both).max()
        assert np.abs(moments.input_moment()[g] - both[:5, :5]).max() < 1e-5 * scale
        assert np.abs(moments.cross_moment()[g] - both[5:, :5]).max() < 1e-5 * scale
        assert np.allclose(moments.mean_input[g], a.mean(axis=0), atol=1e-4)
        assert np.allclose(moments.mean_output[g], b.mean(axis=0), atol=1e-4)


def test_positions_are_shared_out_over_the_feeds():
    weights = {"w": np.zeros((4, 6, 3, 3), np.float32), "v": np.zeros((6, 1, 3, 3), np.float32)}
    graph = graph_of(
        "g (float[2, 6, 7, 8] x) => (float[] y) { a = Conv <group = 6> (x, v) y = Conv (a, w) }",
        weights,
    )
    view = view_of(graph)
    few, many = (read_layer(node, view) for node in graph.nodes)
    assert positions_per_feed(many, 100, 8) == 13
    assert positions_per_feed(many, 10**6, 10) >= 8 * 54 / 10
    assert positions_per_feed(few, 10**6, 10) <= positions_per_feed(many, 10**6, 10)
    assert positions_per_feed(few, 10**6, 10**6) == 1


LAYERS = {
    "plain": ("Conv <kernel_shape=[3, 2], pads=[1, 0, 2, 1], strides=[2, 1]>", (4, 6, 3, 2)),
    "groups": ("Conv <group=3, dilations=[2, 1], pads=[1, 1, 1, 1]>", (6, 2, 3, 3)),
    "depthwise": ("Conv <group=6, pads=[1, 1, 1, 1]>", (6, 1, 3, 3)),
    "upper": ('Conv <auto_pad="SAME_UPPER", strides=[2, 3]>', (4, 6, 2, 4)),
    "lower": ('Conv <auto_pad="SAME_LOWER", strides=[1, 2]>', (4, 6, 2, 4)),
    "valid": ('Conv <auto_pad="VALID">', (4, 6, 2, 2)),
    "empty": ('Conv <auto_pad="", pads=[0, 2, 1, 0], strides=[2, 2]>', (4, 6, 3, 2)),
    "transposed": (
        "ConvTranspose <strides=[2, 3], pads=[1, 0, 0, 1], dilations=[1, 2], "
        "output_padding=[1, 0]>",
        (6, 4, 3, 2),
    ),
    "transposed same": ('ConvTranspose <auto_pad="SAME_UPPER", strides=[2, 2]>', (6, 4, 3, 3)),
    "transposed lower": ('ConvTranspose <auto_pad="SAME_LOWER", strides=[2, 2]>', (6, 4, 3, 3)),
    "transposed empty": ('ConvTranspose <auto_pad="", strides=[2, 2]>', (6, 4, 3, 3)),
    "transposed size": ("ConvTranspose <output_shape=[15, 18], strides=[2, 2]>", (6, 4, 4, 5)),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_patches_times_weights_are_what_the_runtime_gives(kind):
    text, shape = LAYERS[kind]
    generator = np.random.default_rng(4)
    weights = {"w": generator.standard_normal(shape).astype(np.float32)}
    weights["b"] = generator.standard_normal(6 if "<group" in text else 4).astype(np.float32)
    graph = graph_of(f"g (float[2, 6, 7, 8] x) => (float[] y) {{ y = {text} (x, w, b) }}", weights)
    _check_patches(graph, generator.standard_normal((2, 6, 7, 8)).astype(np.float32))


@pytest.mark.parametrize(
    ("text", "shape", "rank"),
    [
        ("Gemm <transB=1, alpha=0.5> (x, w, b)", (5, 6), 2),
        ("Gemm <transA=1> (x, v, b)", (5, 6), 2),
        ("MatMul (x, v)", (5, 6), 3),
        ("Conv <pads=[2, 1]> (x, c, b)", (5, 6), 3),
    ],
)
def test_patches_of_matrices_and_signals(text, shape, rank):
    generator = np.random.default_rng(5)
    w = generator.standard_normal(shape).astype(np.float32)
    weights = {"w": w, "v": np.ascontiguousarray(w.T), "b": w[:, 0].copy()}
    weights["c"] = generator.standard_normal((5, 6, 3)).astype(np.float32)
    size = {2: (6, 6), 3: (2, 6, 6)}[rank]
    used = {k: v for k, v in weights.items() if f" {k}" in text or f"{k})" in text}
    declared = ", ".join(map(str, size))
    graph = graph_of(f"g (float[{declared}] x) => (float[] y) {{ y = {text} }}", used)
    _check_patches(graph, generator.standard_normal(size).astype(np.float32))


def _check_patches(graph, x):
    view = view_of(graph)
    layer = read_layer(graph.nodes[0], view)
    y = run_ort(to_model(graph), {"x": x})["y"]
    positions = draw_positions(position_shape(layer, y), 50, np.random.default_rng(0))
    kernel = layer.kernel()
    rows = kernel.weight.reshape(*kernel.weight.shape[:2], -1)
    bias = kernel.full_bias().reshape(rows.shape[:2])
    found = rows @ patches_at(layer, x, y, positions) + bias[..., None]
    expected = results_at(layer, y, positions)
    assert len(positions) > 1
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize("function", [lambda x: np.maximum(x, 0), lambda x: np.clip(x, 0, 6)])
def test_moments_of_a_clipped_normal_are_those_of_many_samples(function):
    normal = Normal(np.array([-1.0, 0.3, 4.0]), np.array([4.0, 0.0, 9.0]))
    drawn = np.random.default_rng(6).standard_normal((400_000, 1))
    samples = function(normal.mean + np.sqrt(normal.variance) * drawn)
    found = normal.through(function)
    assert np.abs(found.mean - samples.mean(axis=0)).max() < 0.02
    assert np.abs(found.variance - samples.var(axis=0)).max() < 0.06


def test_far_misses_of_what_hardly_counts_are_finite():
    a, t = np.diag([1e-20, 1.0])[None], np.array([[[1e5], [3.4]]])
    with np.errstate(over="raise"):
        whole, error = NearestPlane(a, t).round(np.ones((1, 1)), 127)
    missed = np.linalg.cholesky(a[0]).T @ (whole[0] - np.linalg.solve(a[0], t[0]))
    assert whole.ravel().tolist() == [127, 3]
    np.testing.assert_allclose(error, np.square(missed).sum(), rtol=1e-5)


_FACTORED = """
import hashlib, numpy as np
from planish.passes.quantize.rounding.coordinate_descent import _factored
generator = np.random.default_rng(0)
x = generator.standard_normal((1, 320, 700))
a = x @ x.swapaxes(1, 2) + 0.1 * np.eye(320)
factor, z = _factored(a, x[..., :16])
np.testing.assert_allclose(factor @ factor.swapaxes(1, 2), a, rtol=1e-12, atol=1e-9)
np.testing.assert_allclose(factor @ z, x[..., :16], rtol=1e-9, atol=1e-9)
print(hashlib.sha256(factor.tobytes() + z.tobytes()).hexdigest())
"""


def test_the_number_of_threads_does_not_show():
    """LAPACK's factorizations differ in the last digits from 256 columns on."""
    found = {
        subprocess.run(
            [sys.executable, "-c", _FACTORED],
            env=os.environ | dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), threads),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "3")
    }
    assert len(found) == 1
