"""Backward elimination against least squares solved afresh."""

import numpy as np
import pytest

from planish.passes.prune.prune.criteria import elimination
from planish.passes.prune.prune.criteria.elimination import (
    eliminate,
    inverse_of,
    lone_reader,
    reader_of,
    shrinkage,
)

_MANY = 10**12  # samples, so that nothing is shrunk


def _data(generator, outputs, columns, samples=400):
    mixing = generator.standard_normal((columns, columns))
    x = mixing @ generator.standard_normal((columns, samples))
    return generator.standard_normal((outputs, columns)), x


def _error(weight, x, kept):
    """Mean squared error of the best layer on the columns `kept`, by numpy's own solver."""
    y = weight @ x
    best = np.linalg.lstsq(x[kept].T, y.T, rcond=None)[0].T
    return float(((y - best @ x[kept]) ** 2).sum() / x.shape[1])


@pytest.mark.parametrize("block", [1, 3])
def test_costs_are_those_of_least_squares(block, monkeypatch):
    monkeypatch.setattr(elimination, "_RIDGE", 1e-12)
    generator = np.random.default_rng(block)
    channels = 7
    weight, x = _data(generator, 5, channels * block)
    columns = np.arange(channels * block).reshape(channels, block)
    reader = reader_of(weight, inverse_of(x @ x.T / x.shape[1], _MANY), columns)
    order, costs = eliminate([reader], channels, channels - 1)
    assert sorted(set(order)) == sorted(order)
    for count in range(1, channels):
        kept = np.setdiff1d(np.arange(channels), order[:count])
        expected = _error(weight, x, columns[kept].reshape(-1))
        assert costs[:count].sum() == pytest.approx(expected, rel=1e-6)


def test_the_cheapest_channel_goes_first():
    generator = np.random.default_rng(0)
    weight, x = _data(generator, 4, 6)
    alone = [_error(weight, x, np.delete(np.arange(6), k)) for k in range(6)]
    reader = reader_of(weight, inverse_of(x @ x.T / x.shape[1], _MANY), np.arange(6)[:, None])
    order, _ = eliminate([reader], 6, 1)
    assert order.tolist() == [int(np.argmin(alone))]


def test_a_copy_of_a_channel_costs_nothing():
    generator = np.random.default_rng(1)
    weight, x = _data(generator, 4, 5)
    x[3] = 2 * x[1]
    reader = reader_of(weight, inverse_of(x @ x.T / x.shape[1], _MANY), np.arange(5)[:, None])
    order, costs = eliminate([reader], 5, 2)
    total = float(((weight @ x) ** 2).sum() / x.shape[1])
    assert order[0] in (1, 3)
    assert costs[0] < 1e-3 * total
    assert order[1] not in (1, 3) or costs[1] > 1e-3 * total


def test_readers_are_weighed_by_price_and_others_stay():
    generator = np.random.default_rng(2)
    first, x = _data(generator, 3, 6)
    second, z = _data(generator, 3, 8)
    columns = np.arange(6)[:, None]

    def readers(price):
        one = reader_of(first, inverse_of(x @ x.T / x.shape[1], _MANY), columns)
        # Of the second layer's inputs two are not asked about: they stay in every solution.
        other = reader_of(
            np.sqrt(price) * second, inverse_of(z @ z.T / z.shape[1], _MANY), columns + 2
        )
        return [one, other]

    for price in (1e-9, 1.0, 1e9):
        alone = [
            _error(first, x, np.delete(np.arange(6), k))
            + price * _error(second, z, np.delete(np.arange(8), k + 2))
            for k in range(6)
        ]
        order, costs = eliminate(readers(price), 6, 1)
        assert order[0] == int(np.argmin(alone))
        assert costs[0] == pytest.approx(min(alone), rel=2e-2)


def test_many_channels_go_at_once_with_nothing_lost():
    generator = np.random.default_rng(3)
    weight, x = _data(generator, 2, 150, samples=2000)
    reader = reader_of(weight, inverse_of(x @ x.T / x.shape[1], _MANY), np.arange(150)[:, None])
    order, costs = eliminate([reader], 150, 100)
    assert len(set(order.tolist())) == 100
    kept = np.setdiff1d(np.arange(150), order)
    # Those that go together are priced one by one, which is a little less than together.
    assert costs.sum() == pytest.approx(_error(weight, x, kept), rel=0.1)


def test_channels_of_a_lone_reader_go_by_their_own_cost():
    order, costs = eliminate([lone_reader(np.array([3.0, 1.0, 2.0]))], 3, 2)
    assert order.tolist() == [1, 2]
    assert costs.tolist() == pytest.approx([1.0, 2.0])


def test_few_samples_do_not_make_channels_stand_in_for_others():
    generator = np.random.default_rng(4)
    x = generator.standard_normal((60, 20))  # 20 samples of 60 independent columns
    moment = x @ x.T / 20
    weight = generator.standard_normal((3, 60))
    columns = np.arange(60)[:, None]
    _, trusting = eliminate([reader_of(weight, inverse_of(moment, _MANY), columns)], 60, 40)
    _, careful = eliminate([reader_of(weight, inverse_of(moment, 20), columns)], 60, 40)
    alone = np.sort((weight**2).sum(axis=0) * np.diag(moment))[:40].sum()
    assert trusting.sum() < 0.05 * alone
    assert careful.sum() == pytest.approx(alone, rel=0.1)


@pytest.mark.parametrize("samples", [30, 300, 30000])
def test_shrinkage_is_that_of_scikit_learn(samples):
    sklearn = pytest.importorskip("sklearn.covariance")
    generator = np.random.default_rng(5)
    x = generator.standard_normal((8, 8)) @ generator.standard_normal((8, samples))
    x = (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)
    _, expected = sklearn.oas(x.T)
    scaled = np.diag(np.arange(1.0, 9)) @ x  # only correlations count
    found = shrinkage(scaled @ scaled.T / samples, samples)
    assert found == pytest.approx(expected, rel=0.1, abs=1e-6)
