"""The algebra of decompositions: no graph, against SVD, torch and direct evaluation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from planish.ir.core.decline import DeclinedError
from planish.ir.ops.linear.kernel import Kernel
from planish.passes.analysis.observe.moments import Moments
from planish.passes.decompose.decompose_spatial.separable import recombined, separable
from planish.passes.decompose.decompose_tucker import tucker
from planish.passes.decompose.decompose_tucker.tucker import TuckerSolver, tucker2
from planish.passes.decompose.low_rank import low_rank, svd_factors
from planish.passes.decompose.quadratic import (
    FactorProblem,
    QuadraticForm,
    of_weight,
    problems_of,
    relative_error,
)
from planish.passes.decompose.ranked import smallest_rank, step_of
from planish.passes.decompose.substitute_depthwise import decouple as depthwise
from planish.passes.decompose.substitute_depthwise.decouple import decouple, fit_decoupled
from planish.passes.decompose.vbmf import vbmf_rank

SHAPE = (10, 6, 3, 3)


def _normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def _data(weight, *, noise=0.0, count=3000, seed=1):
    """Return inputs [K, P] with strong correlations and a mean, and outputs [M, P] to fit."""
    columns = weight[0].size
    mixing = _normal(columns, columns, seed=seed) * np.geomspace(1, 0.05, columns)
    x = mixing @ _normal(columns, count, seed=seed + 1) + 2
    y = weight.reshape(len(weight), -1) @ x + 1
    return x, y + noise * _normal(*y.shape, seed=seed + 2)


def _problem(weight, x, y, *, has_bias=True, parts=1):
    moments = Moments(centred=has_bias, parts=parts)
    for start in range(0, x.shape[1], 700):
        span = np.s_[None, :, start : start + 700]
        moments.add(x[span].astype(np.float32), y[span].astype(np.float32))
    (problem,) = problems_of(Kernel(weight[None], None), moments, has_bias=has_bias)
    return problem


def _scale(y, *, has_bias=True):
    """Return what output channels are divided by, so that they count alike, as [M, 1]."""
    variance = y.var(axis=1) if has_bias else np.mean(y**2, axis=1)
    return np.sqrt(variance + 1e-4 * variance.mean())[:, None]


def _error(rows, x, y, bias=None):
    """Return E |y - V x - c|^2 over var y, c the best constant or `bias`."""
    wrong = y - rows @ x
    wrong = wrong - (wrong.mean(axis=1, keepdims=True) if bias is None else bias[:, None])
    return float((wrong**2).mean(axis=1).sum() / y.var(axis=1).sum())


def _assert_same_outputs(found, rows, x):
    expected = rows @ x
    np.testing.assert_allclose(found @ x, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def _decoupled(problem, terms):
    return depthwise.recombined(*fit_decoupled(problem, terms)[:2])


def _low_rank(problem, rank):
    a, b = low_rank(problem.form).factors(rank)
    return a @ b


def _separable(problem, rank):
    return recombined(*separable(problem, 18).factors(rank))


def _tucker(problem, rank):
    return tucker.recombined(*TuckerSolver(problem).factors(min(rank, 6), rank)[:3])


KINDS = {
    "depthwise": (_decoupled, 9),
    "svd": (_low_rank, 10),
    "spatial": (_separable, 18),
    "tucker": (_tucker, 10),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("with_data", [False, True])
def test_at_full_rank_nothing_is_lost(kind, with_data):
    solve, full = KINDS[kind]
    weight = _normal(*SHAPE)
    x, y = _data(weight)
    problem = _problem(weight, x, y) if with_data else of_weight(weight)
    _assert_same_outputs(solve(problem, full), problem.rows, x)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("has_bias", [True, False])
def test_the_error_is_that_of_the_outputs(kind, has_bias):
    solve, full = KINDS[kind]
    weight = _normal(*SHAPE)
    x, y = _data(weight, noise=0.5)
    problem = _problem(weight, x, y, has_bias=has_bias)
    y = y / _scale(y, has_bias=has_bias)
    for rank in (1, full // 2, full):
        rows = solve(problem, rank)
        wrong, energy = problem.error(rows, problem.form.value(rows))
        if has_bias:
            expected = _error(rows, x, y, problem.bias(rows))
            assert expected == pytest.approx(_error(rows, x, y), rel=1e-4)
        else:
            assert problem.bias(rows) is None
            expected = float(np.sum((y - rows @ x) ** 2) / np.sum(y**2))
        assert wrong / energy == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_data_gives_a_lower_error_on_the_data(kind):
    solve, full = KINDS[kind]
    weight = _normal(*SHAPE)
    x, y = _data(weight)
    problem, blind = _problem(weight, x, y), of_weight(weight)
    for rank in (1, full // 4, full // 2):
        if rank:
            usual = _error(solve(blind, rank) / _scale(y), x, y / _scale(y))
            assert _error(solve(problem, rank), x, y / _scale(y)) < 0.95 * usual


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_known_rank_are_found_exactly(kind):
    weights = {
        "depthwise": np.einsum("oit,itab->oiab", _normal(10, 6, 2), _normal(6, 2, 3, 3, seed=1)),
        "svd": (_normal(10, 2) @ _normal(2, 54, seed=1)).reshape(SHAPE),
        "spatial": np.einsum("orb,ria->oiab", _normal(10, 2, 3), _normal(2, 6, 3, seed=1)),
        "tucker": np.einsum(
            "or,rsab,si->oiab", _normal(10, 2), _normal(2, 2, 3, 3, seed=1), _normal(2, 6, seed=2)
        ),
    }
    weight = weights[kind]
    x, y = _data(weight)
    for problem in (of_weight(weight), _problem(weight, x, y)):
        found = (
            tucker.recombined(*TuckerSolver(problem).factors(2, 2)[:3])
            if kind == "tucker"
            else KINDS[kind][0](problem, 2)
        )
        _assert_same_outputs(found, problem.rows, x)


def test_svd_error_is_the_tail_of_the_singular_values():
    weight = _normal(12, 20)
    values = np.linalg.svd(weight, compute_uv=False)
    solved = low_rank(of_weight(weight).form)
    for rank in range(13):
        a, b = svd_factors(weight, rank)
        assert a.shape == (12, rank)
        assert b.shape == (rank, 20)
        tail = float(np.sum(values[rank:] ** 2))
        assert np.sum((weight - a @ b) ** 2) == pytest.approx(tail, abs=1e-9)
        assert solved.curve[rank] == pytest.approx(tail / np.sum(values**2), abs=1e-12)


@pytest.mark.parametrize("shape", [(12, 20), (20, 12)])
def test_whitened_svd_error_is_the_tail_of_what_is_given(shape):
    weight = _normal(*shape)
    x = _normal(shape[1], shape[1], seed=3) @ _normal(shape[1], 500, seed=4)
    values = np.linalg.svd(weight @ x, compute_uv=False)
    for rank in (1, 4, 11):
        a, b = svd_factors(weight, rank, x @ x.T)
        found = np.sum(((weight - a @ b) @ x) ** 2)
        assert found == pytest.approx(np.sum(values[rank:] ** 2), rel=1e-6)


def test_moments_in_blocks_give_the_best_where_blocks_do_not_correlate():
    weight = _normal(7, 12)
    x = np.concatenate([_data(weight[:, :6])[0], _data(weight[:, 6:], seed=9)[0]])
    y = weight @ x
    blocks = _problem(weight.reshape(7, 12, 1), x, y, parts=2)
    assert blocks.has_blocks
    assert not blocks.without_blocks().has_blocks
    whole = _problem(weight.reshape(7, 12, 1), x, y)
    found = [_error(_low_rank(problem, 3), x, y) for problem in (blocks, whole)]
    assert found[0] < 1.1 * found[1]
    assert found[0] < 0.8 * _error(_low_rank(of_weight(weight), 3), x, y)


@pytest.mark.parametrize("with_data", [False, True])
def test_solvers_know_the_value_they_reached(with_data):
    weight = _normal(*SHAPE)
    problem = _problem(weight, *_data(weight)) if with_data else of_weight(weight)
    for terms in (1, 3):
        d, p, value = fit_decoupled(problem, terms)
        assert value == pytest.approx(problem.form.value(depthwise.recombined(d, p)), rel=1e-9)
    *factors, value = TuckerSolver(problem).factors(3, 5)
    assert value == pytest.approx(problem.form.value(tucker.recombined(*factors)), rel=1e-9)


@pytest.mark.parametrize("kind", ["svd", "spatial", "tucker"])
@pytest.mark.parametrize("with_data", [False, True])
def test_curves_hold_the_value_at_each_rank(kind, with_data):
    weight = _normal(*SHAPE)
    problem = _problem(weight, *_data(weight)) if with_data else of_weight(weight)
    form = problem.form
    for rank in (1, 5, 9):
        if kind == "svd":
            rows, curve = _low_rank(problem, rank), low_rank(form).curve
        elif kind == "spatial":
            rows, curve = _separable(problem, rank), separable(problem, 18).curve
        else:
            rows, curve = _tucker(problem, rank), TuckerSolver(problem).curve(min(rank, 6))
        found = form.relative(form.value(rows))
        if kind == "tucker":  # the ranks are chosen before the channels are improved
            assert found <= curve[rank] + 1e-9
        else:
            assert found == pytest.approx(curve[rank], abs=1e-9)


def test_turns_never_make_a_substitute_worse():
    weight = _normal(*SHAPE)
    problem = _problem(weight, *_data(weight))
    values = [
        problem.form.value(depthwise.recombined(*fit_decoupled(problem, 2, turns=turns)[:2]))
        for turns in range(5)
    ]
    assert all(later <= earlier for earlier, later in itertools.pairwise(values))
    assert values[3] < 0.8 * values[0]


def test_turns_converge_where_channels_are_alike():
    weight = np.repeat(_normal(10, 1, 3, 3), 6, axis=1) + 0.1 * _normal(*SHAPE)
    common = np.repeat(_normal(1, 9, 3000, seed=1), 6, axis=0)
    x = (common + 0.3 * _normal(6, 9, 3000, seed=2)).reshape(54, -1)
    problem = _problem(weight, x, weight.reshape(10, -1) @ x)
    values = [fit_decoupled(problem, 1, turns=turns)[2] for turns in range(4)]
    assert all(later <= earlier for earlier, later in itertools.pairwise(values))


def test_separable_kernels_are_the_best_where_rows_and_columns_do_not_interact():
    weight = _normal(*SHAPE)
    skew = np.array([[1.0, 0, 0], [0.9, 0.3, 0], [0.5, 0.2, 0.6]])
    down, across = np.cov(_normal(18, 40, seed=4)), skew @ skew.T
    moment = np.kron(down, across)
    rows = weight.reshape(10, -1)
    form = QuadraticForm(moment, rows @ moment, float(np.vdot(rows @ moment, rows)))
    roots = np.linalg.cholesky(down), np.linalg.cholesky(across)
    white = np.einsum("oxb,xy,bc->ocy", rows.reshape(10, 18, 3), *roots).reshape(30, 18)
    values = np.linalg.svd(white, compute_uv=False) ** 2
    curve = separable(FactorProblem(weight, form), 18).curve
    tails = values.sum() - np.concatenate([[0.0], np.cumsum(values)])
    np.testing.assert_allclose(curve, tails / values.sum(), atol=1e-9)


def test_hooi_is_not_worse_than_its_start():
    weight = _normal(*SHAPE)
    unfolded = weight.swapaxes(0, 1).reshape(6, -1)
    left, _, _ = np.linalg.svd(unfolded)
    outer, _, _ = np.linalg.svd(weight.reshape(10, -1))
    a, b = outer[:, :4], left[:, :3]
    start = np.einsum("oiab,op,pr,is,st->rtab", weight, a, np.eye(4), b, np.eye(3))
    usual = np.sum((weight - np.einsum("or,rsab,is->oiab", a, start, b)) ** 2)
    found = tucker.recombined(*tucker2(weight, 3, 4)).reshape(SHAPE)
    assert np.sum((weight - found) ** 2) < usual * (1 + 1e-12)


def test_factors_are_the_convolutions_they_stand_for():
    weight = _normal(*SHAPE)
    x = torch.from_numpy(_normal(2, 6, 9, 8, seed=5))
    expected = {"stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)}

    def conv(x, w, **window):
        return torch.nn.functional.conv2d(x, torch.from_numpy(np.ascontiguousarray(w)), **window)

    def same(found, rows):
        dense = conv(x, rows.reshape(SHAPE), **expected)
        torch.testing.assert_close(found, dense, rtol=0, atol=1e-9)

    d, p = decouple(weight, 2)
    middle = conv(x, d.reshape(12, 1, 3, 3), groups=6, **expected)
    same(conv(middle, p.reshape(10, 12, 1, 1)), depthwise.recombined(d, p))

    v, u = separable(of_weight(weight), 5).factors(5)
    middle = conv(x, v[..., None], stride=(2, 1), padding=(1, 0))
    across = {"stride": (1, 1), "padding": (0, 2), "dilation": (1, 2)}
    same(conv(middle, u[:, :, None], **across), recombined(v, u))

    spread, core, out = tucker2(weight, 4, 5)
    middle = conv(conv(x, spread[..., None, None]), core, **expected)
    same(conv(middle, out[..., None, None]), tucker.recombined(spread, core, out))


@pytest.mark.parametrize("rank", [0, 3, 12])
@pytest.mark.parametrize("noise", [1e-4, 0.1, 0.5])
def test_vbmf_finds_the_rank_under_the_noise(rank, noise):
    matrix = _normal(40, rank) @ _normal(rank, 150, seed=1) + noise * _normal(40, 150, seed=2)
    assert vbmf_rank(matrix) == rank
    assert vbmf_rank(matrix.T * 1e3) == rank


@pytest.mark.parametrize(("energy", "rank"), [(5.2, 1), (4.7, 0)])
def test_vbmf_keeps_what_is_above_its_threshold(energy, rank):
    left, values, right = np.linalg.svd(_normal(300, 300))
    values[0] = np.sqrt(energy * 300)  # of a square matrix the threshold is 4.91 M s
    assert vbmf_rank(left * values @ right) == rank


def test_vbmf_of_degenerate_matrices():
    assert vbmf_rank(np.zeros((4, 6))) == 0
    assert vbmf_rank(np.ones((1, 1))) in (0, 1)
    assert vbmf_rank(_normal(1, 30)) in (0, 1)


def test_dead_inputs_and_zero_weights_have_finite_factors():
    weight = _normal(*SHAPE)
    x, _ = _data(weight)
    x[9:18] = 0.0
    rows = weight.reshape(10, -1)
    cases = [
        _problem(weight, np.zeros_like(x), np.zeros((10, x.shape[1]))),
        _problem(weight, x, rows @ x),
        of_weight(np.zeros(SHAPE)),
        _problem(np.zeros(SHAPE), x, 0 * rows @ x),
    ]
    for problem in cases:
        for solve, _ in KINDS.values():
            found = solve(problem, 2)
            assert np.isfinite(found).all()
            assert np.isfinite(relative_error([problem], [found], [problem.form.value(found)]))


def test_a_form_through_a_layer_is_that_of_what_it_gives():
    weight, first, second = _normal(5, 8), _normal(4, 8, seed=1), _normal(5, 4, seed=2)
    for moment in (None, _normal(8, 8, seed=3) @ _normal(8, 8, seed=3).T):
        cross = weight if moment is None else weight @ moment
        form = QuadraticForm(moment, cross, float(np.vdot(cross, weight)))
        assert form.through(first).value(second) == pytest.approx(form.value(second @ first))
        inner = form.through(first[:3, :4], 2)
        dense = form.through(np.kron(first[:3, :4], np.eye(2)))
        np.testing.assert_allclose(inner.moment, dense.moment, atol=1e-12)
        np.testing.assert_allclose(inner.cross, dense.cross, atol=1e-12)
        best = form.through(first).least_squares()
        least = form.value(best @ first)
        for step in (1e-3, -1e-3):
            assert form.value((best + step * second) @ first) > least


def test_ranks_are_on_the_grid_and_under_the_error():
    curve = np.linspace(1, 0, 65)
    assert [step_of(full) for full in (31, 32, 64)] == [1, 8, 16]
    assert smallest_rank(curve[:49], 16, 0.5) == 32
    assert smallest_rank(curve[:49], 16, 0.49) == 48
    assert smallest_rank(curve[:49], 1, 0.49) == 33
    with pytest.raises(DeclinedError, match=r"its error is 0\.5 at rank 32, above which"):
        smallest_rank(curve[:33], 16, 0.4)
