"""Strings as margins foretell them: against changing each step in turn, and against many draws."""

import itertools
import math

import numpy as np
import pytest

from planish.ir.metrics.sequence import StringAgreement, collapse
from planish.ir.metrics.string_margins import StringMargins, decisive


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("blank", [None, 0, 2])
def test_a_rival_decides_where_it_alone_gives_another_string(blank):
    strings = np.array([*itertools.product(range(3), repeat=4)])
    rivals = np.stack([(strings + 1) % 3, (strings + 2) % 3], axis=-1)
    first = np.concatenate([strings[..., None], rivals], axis=-1)
    found = decisive(first, -1 if blank is None else blank)
    for row, (string, flags) in enumerate(zip(strings, found, strict=True)):
        for step, place in itertools.product(range(4), range(2)):
            other = string.copy()
            other[step] = rivals[row, step, place]
            assert flags[step, place] == (collapse(other, blank) != collapse(string, blank))


def confident(samples, seed=0):
    """Scores of steps with one rival, close at one step of each sample, blanks between."""
    scores = np.full((samples, 12, 5), -20.0)
    generator = np.random.default_rng(seed)
    margins = np.full((samples, 12), 9.0)
    weak = generator.integers(0, 12, samples)
    margins[np.arange(samples), weak] = generator.exponential(0.5, samples)
    for step in range(12):
        scores[:, step, 1 + step // 2 % 4 if step % 2 else 0] = 0
        scores[:, step, 1 + (step // 2 + 1) % 4] = -margins[:, step]
    return scores


def test_expected_strings_are_those_of_many_draws():
    scores = confident(120)
    draws = [scores + 0.25 * normal(*scores.shape, seed=1 + i) for i in range(40)]
    drawn = np.mean([_value(scores, draw).value for draw in draws])
    found = _value(scores, draws[0])
    assert found.expected == pytest.approx(drawn, abs=0.02)
    assert 0.3 < drawn < 0.9
    assert found.tolerable == 0.03


def test_the_weakest_step_decides():
    """In plain Python: the least over steps, of the product over rivals that change the string."""
    a = 3 * normal(6, 5, 4)
    b = a + normal(6, 5, 4, seed=1)
    order = np.argsort(-a, axis=2)
    first, rivals = order[..., 0], order[..., 1:]
    change = b - a
    changes = [
        change[n, t, first[n, t]] - change[n, t, j]
        for n, t in itertools.product(range(6), range(5))
        for j in rivals[n, t]
    ]
    deviation = np.sqrt(np.mean(np.square(changes)))
    likely = []
    for n in range(6):
        steps = []
        for t in range(5):
            stays = 1.0
            for j in rivals[n, t]:
                other = first[n].copy()
                other[t] = j
                if collapse(other, 0) != collapse(first[n], 0):
                    margin = a[n, t, first[n, t]] - a[n, t, j]
                    stays *= 0.5 * (1 + math.erf(margin / deviation / math.sqrt(2)))
            steps.append(stays)
        likely.append(min(steps))
    metric = StringAgreement("y", 2, 0, 0)
    metric.add({"y": a}, {"y": b})
    assert metric.result().expected == pytest.approx(np.mean(likely))


def _value(a, b, **options):
    metric = StringAgreement("y", 2, 0, 0, **options)
    for x, y in zip(np.split(a, 4), np.split(b, 4), strict=True):
        metric.add({"y": x}, {"y": y})
    return metric.result()


def test_probabilities_foretell_what_their_scores_do():
    scores = confident(40)
    noisy = scores + 0.4 * normal(*scores.shape)
    softmax = (np.exp(s) / np.exp(s).sum(2, keepdims=True) for s in (scores, noisy))
    found = _value(*softmax, probabilities=True)
    assert found.expected == pytest.approx(_value(scores, noisy).expected, rel=1e-9)


def test_samples_of_unlike_lengths_count_one_each():
    """The mean over samples, each of the least of its own steps."""
    both = StringMargins(0)
    for scores in (confident(2)[:, :4], confident(3, seed=1)):
        exact = StringMargins(0)
        exact.add(scores, scores)
        assert exact.agreement() == exact.of_steps() == 1.0
        both.add(scores, scores + normal(*scores.shape))
    assert 0 < both.agreement() < 1


def test_nothing_is_foretold_of_indices_labels_or_other_shapes():
    ids = np.array([[0, 1, 2], [2, 0, 1]])
    metric = StringAgreement("y", None, 0, 0)
    metric.add({"y": ids}, {"y": ids})
    assert metric.result().expected is None
    scores = confident(2)
    metric = StringAgreement("y", 2, 0, 0)
    metric.add({"y": scores}, {"y": scores}, np.array([[1], [2]]))
    metric.add({"y": scores}, {"y": scores[:, :3]})
    assert metric.result().expected is None
    assert _value(np.repeat(scores, 4, 0), np.full((8, 12, 5), np.nan)).expected == 0
