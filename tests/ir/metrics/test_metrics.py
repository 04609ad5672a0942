"""Each metric against a loop in plain Python, and what holds for all of them."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from planish.ir.metrics.classification import Top1Agreement
from planish.ir.metrics.confidence import mean_at_least, mean_at_most
from planish.ir.metrics.embedding import FeatureCosine
from planish.ir.metrics.labels import UnfitLabelsError
from planish.ir.metrics.noise import PeakSignalToNoise, SignalToNoise
from planish.ir.metrics.segmentation import MaskOverlap
from planish.ir.metrics.sequence import StringAgreement


def result(metric, a, b, labels=None):
    metric.add({"y": a}, {"y": b}, labels)
    return metric.result()


def best(scores):
    """The index of the largest of a list, the first of equal ones."""
    return max(range(len(scores)), key=lambda i: (scores[i], -i))


def read(rows, blank):
    """Greedy CTC decoding of [steps][classes]."""
    steps = [best(row) for row in rows]
    return [key for key, _ in itertools.groupby(steps) if key != blank]


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_top1_agreement_counts_positions(axis):
    a = normal(4, 5, 3, 6)
    b = a + normal(4, 5, 3, 6, seed=1)
    moved = [np.moveaxis(v, axis, -1).reshape(4, -1, v.shape[axis]).tolist() for v in (a, b)]
    same = [
        [best(p) == best(q) for p, q in zip(x, y, strict=True)] for x, y in zip(*moved, strict=True)
    ]
    found = result(Top1Agreement("y", axis), a, b)
    assert found.value == pytest.approx(np.mean([sum(s) / len(s) for s in same]))
    assert found.samples == 4
    assert found.what == f"top-1 agreement along axis {axis} of output 'y'"


def test_of_several_indices_the_first_counts():
    a, b = np.array([[3, 1, 2], [0, 5, 4]]), np.array([[3, 2, 1], [5, 0, 4]])
    assert result(Top1Agreement("y", None, best_first=1), a, b).value == 0.5


def test_labels_judge_both_graphs():
    a, b = np.eye(4, dtype=np.float32)[[0, 1, 2, 3]], np.eye(4, dtype=np.float32)[[0, 1, 3, 3]]
    found = result(Top1Agreement("y"), a, b, np.array([0, 1, 2, 0]))
    assert (found.value, found.reference, found.drop) == (0.5, 0.75, 0.25)
    assert "accuracy" in found.name


def test_labels_of_positions_judge_each():
    one = np.eye(3, dtype=np.float32)
    a, b = one[[[0, 1], [2, 2]]], one[[[0, 1], [0, 2]]]
    found = result(Top1Agreement("y", 2), a, b, np.array([[0, 1], [2, 0]]))
    assert (found.reference, found.value) == (0.75, 0.5)


def test_positions_with_labels_below_zero_do_not_count():
    one = np.eye(3, dtype=np.float32)
    a, b = one[[[0, 1], [2, 2], [0, 0]]], one[[[0, 1], [0, 2], [1, 1]]]
    found = result(Top1Agreement("y", 2), a, b, np.array([[0, -100], [2, 255], [-1, -1]]))
    assert (found.reference, found.value, found.samples) == (1.0, 0.5, 2)


@pytest.mark.parametrize("metric", [StringAgreement("y", 2, 0, 0), MaskOverlap("y", 2)])
@pytest.mark.parametrize("label", [3, 0.5, np.nan, "a"])
def test_labels_of_no_class_are_refused(metric, label):
    a = np.eye(3, dtype=np.float32)[[[0, 1], [2, 2]]]
    with pytest.raises(UnfitLabelsError, match="whole numbers from 0 to 2"):
        metric.add({"y": a}, {"y": a}, np.array([[label, label], [label, label]]))


@pytest.mark.parametrize("layout", ["NTC", "TNC", "NCT"])
def test_strings_are_those_of_greedy_decoding(layout):
    scores = normal(40, 6, 4)
    scores[..., 0] += 0.8  # the blank
    noisy = scores + 0.3 * normal(40, 6, 4, seed=1)
    same = [read(x, 0) == read(y, 0) for x, y in zip(scores.tolist(), noisy.tolist(), strict=True)]
    assert 0 < sum(same) < 40
    order = ["NTC".index(letter) for letter in layout]
    metric = StringAgreement("y", layout.index("C"), layout.index("N"), 0)
    found = result(metric, scores.transpose(order), noisy.transpose(order))
    assert found.value == sum(same) / 40
    steps = np.mean(scores.argmax(2) == noisy.argmax(2))
    assert f"step by step {100 * steps:.1f} %" in found.details


def test_strings_of_indices_and_of_labels():
    ids = np.array([[0, 1, 1, 0, 1], [2, 2, 0, 0, 0]])
    other = np.array([[1, 1, 0, 0, 1], [2, 0, 2, 0, 0]])
    assert result(StringAgreement("y", None, 0, 0), ids, other).value == 0.5
    wanted = np.array([[1, 1, -1], [2, 2, -1]])
    found = result(StringAgreement("y", None, 0, 0), ids, other, wanted)
    assert (found.value, found.reference) == (1.0, 0.5)
    assert found.drop == 0


def test_flips_that_leave_the_string_do_not_count():
    ids = np.array([[0, 1, 1, 0]])
    assert result(StringAgreement("y", None, 0, 0), ids, np.array([[1, 1, 0, 0]])).value == 1
    assert result(Top1Agreement("y", None), ids, np.array([[1, 1, 0, 0]])).value == 0.5


def test_sqnr_is_that_of_all_samples_and_noise_bounds_it():
    a, b = normal(8, 5), normal(8, 5) + 0.1 * normal(8, 5, seed=1)
    found = result(SignalToNoise("y"), a, b)
    x, y = a.astype(float).ravel().tolist(), b.astype(float).ravel().tolist()
    power = sum(v * v for v in x) / sum((v - w) ** 2 for v, w in zip(x, y, strict=True))
    assert found.value == pytest.approx(10 * math.log10(power))
    assert found.low < found.value
    assert found.drop == pytest.approx(math.sqrt(1 / power))


def test_masks_overlap_as_counted_pixel_by_pixel():
    a, b = normal(3, 4, 5, 6), normal(3, 4, 5, 6, seed=1) * 0.7
    b = a + b
    both, either = [0] * 4, [0] * 4
    for x, y in zip(a.tolist(), b.tolist(), strict=True):
        for row, column in itertools.product(range(5), range(6)):
            first = best([x[c][row][column] for c in range(4)])
            second = best([y[c][row][column] for c in range(4)])
            for c in {first, second}:
                either[c] += 1
                both[c] += first == second
    wanted = sum(i / u for i, u in zip(both, either, strict=True)) / 4
    found = result(MaskOverlap("y", 1), a, b)
    assert found.value == pytest.approx(wanted)
    assert found.low < found.value
    ids = MaskOverlap("y", None)
    assert result(ids, a.argmax(1), b.argmax(1)).value == pytest.approx(wanted)


def test_masks_of_one_class_and_of_labels():
    a = np.array([[[0.9, 0.2], [0.8, 0.1]]], np.float32)
    b = np.array([[[0.9, 0.7], [0.3, 0.1]]], np.float32)
    assert result(MaskOverlap("y", None), a, b).value == pytest.approx((1 / 3 + 1 / 3) / 2)
    labels = np.array([[[1, 0], [1, 255]]])
    found = result(MaskOverlap("y", None), a, b, labels)
    assert (found.reference, found.value) == (1.0, pytest.approx((1 / 3 + 0) / 2))


def test_psnr_is_that_of_the_mean_error():
    a = np.random.default_rng(0).random((4, 3, 5, 5)).astype(np.float32)
    b = a + 0.05 * normal(4, 3, 5, 5)
    flat = [(float(x), float(y)) for x, y in zip(a.ravel(), b.ravel(), strict=True)]
    error = sum((x - y) ** 2 for x, y in flat) / len(flat)
    peak = max(x for x, _ in flat) - min(x for x, _ in flat)
    found = result(PeakSignalToNoise("y"), a, b)
    assert found.value == pytest.approx(20 * math.log10(peak) - 10 * math.log10(error))
    assert found.low < found.value
    assert found.drop == pytest.approx(math.sqrt(error) / peak)


@pytest.mark.parametrize("axis", [1, 2])
def test_cosines_are_those_of_each_vector(axis):
    a, b = normal(5, 4, 3), normal(5, 4, 3) + normal(5, 4, 3, seed=1)
    cosines = []
    for x, y in zip(np.moveaxis(a, axis, 2), np.moveaxis(b, axis, 2), strict=True):
        for p, q in zip(x.tolist(), y.tolist(), strict=True):
            dot = sum(v * w for v, w in zip(p, q, strict=True))
            cosines.append(max(0.0, dot / math.hypot(*p) / math.hypot(*q)))
    assert result(FeatureCosine("y", axis), a, b).value == pytest.approx(np.mean(cosines))


METRICS = {
    "top1": lambda: Top1Agreement("y", 2),
    "strings": lambda: StringAgreement("y", 2, 0, 0),
    "sqnr": lambda: SignalToNoise("y"),
    "masks": lambda: MaskOverlap("y", 2),
    "psnr": lambda: PeakSignalToNoise("y"),
    "cosine": lambda: FeatureCosine("y", 2),
}


@pytest.mark.parametrize("name", METRICS)
@given(arrays(np.float32, array_shapes(min_dims=3, max_dims=3, max_side=6), unique=True))
def test_the_same_outputs_lose_nothing(name, a):
    found = result(METRICS[name](), np.nan_to_num(a), np.nan_to_num(a))
    assert found.drop == 0
    assert found.samples == len(a)


@pytest.mark.parametrize("name", METRICS)
def test_more_noise_is_no_better(name):
    a, noise = normal(60, 6, 5), normal(60, 6, 5, seed=1)
    drops = [result(METRICS[name](), a, a + s * noise).drop for s in (0, 0.05, 0.3, 3)]
    assert drops == sorted(drops)
    assert drops[0] == 0 < drops[-1]


@pytest.mark.parametrize("name", METRICS)
def test_another_shape_is_lost(name):
    a = normal(4, 6, 5)
    found = result(METRICS[name](), a, a[:2])
    assert found.drop >= 1


@given(st.lists(st.floats(0, 1), min_size=2, max_size=40))
def test_bounds_lie_on_their_side_of_the_mean(values):
    assert mean_at_least(values) <= np.mean(values) + 1e-12
    assert mean_at_most(values) >= np.mean(values) - 1e-12


@pytest.mark.parametrize(("count", "quantile"), [(3, 2.920), (5, 2.132), (12, 1.796), (31, 1.697)])
def test_means_are_bounded_by_students_quantiles(count, quantile):
    values = np.random.default_rng(count).random(count)
    error = values.std(ddof=1) / math.sqrt(count)
    assert (mean_at_most(values) - values.mean()) / error == pytest.approx(quantile, rel=3e-3)


def test_bounds_hold_for_19_of_20_draws():
    generator = np.random.default_rng(0)
    draws = [generator.beta(20, 20, 12) for _ in range(2000)]
    assert 0.93 <= np.mean([mean_at_least(draw) <= 0.5 for draw in draws]) <= 0.97
    coins = [generator.random(40) < 0.9 for _ in range(2000)]
    assert np.mean([mean_at_least(c.astype(float)) <= 0.9 for c in coins]) >= 0.93


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (2, 0, 4), (0,)])
@pytest.mark.parametrize("first", [None, -1])
def test_no_ranked_classes_agree(shape, first):
    """A TopK of none, and a batch of no samples, differ nowhere."""
    empty = {"y": np.zeros(shape, np.int64)}
    metric = Top1Agreement("y", None, 0, first)
    metric.add(empty, empty)
    metric.add({"y": np.array([[1], [2]])}, {"y": np.array([[1], [2]])})
    assert metric.result().value == 1
