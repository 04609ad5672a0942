"""Boxes and scores of four classes have four columns both: which is which is told, or said."""

from __future__ import annotations

import numpy as np
import pytest

from planish.ir.core.errors import RefusedError
from planish.ir.metrics.boxes import corners_of
from planish.ir.metrics.choose import AUTOMATIC, MetricOptions, choose_metrics

from tests.ir.metrics.test_detection import see

COUNT = 300
R = np.random.default_rng(0)


def _centres():
    """Centres and sizes, as parts of an image."""
    return np.concatenate(
        [R.uniform(0.1, 0.9, (2, COUNT, 2)), R.uniform(0.02, 0.4, (2, COUNT, 2))], 2
    )


def _scores():
    """Four classes of which a tenth of the boxes has one."""
    found = R.beta(0.4, 8, (2, COUNT, 4))
    found[:, ::10, 1] = R.uniform(0.5, 0.95, (2, len(range(0, COUNT, 10))))
    return found


def _logits(scores):
    return np.log(scores.clip(1e-4, 1 - 1e-4)) - np.log1p(-scores.clip(1e-4, 1 - 1e-4))


def _nothing():
    """Logits of a Softmax: three classes and no object."""
    found = R.standard_normal((2, COUNT, 4))
    found[..., 3] += 3
    return found


CASES = {
    "pixel corners, sigmoid": lambda: (320 * corners_of(_centres()), _scores()),
    "pixel centres, sigmoid": lambda: (320 * _centres(), _scores()),
    "pixel centres, logits": lambda: (320 * _centres(), _logits(_scores())),
    "parts, sigmoid": lambda: (_centres(), _scores()),
    "parts, logits": lambda: (_centres(), _logits(_scores())),
    "parts, logits of no object": lambda: (_centres(), _nothing()),
    "corners in parts, scores that are high": lambda: (
        corners_of(_centres()),
        R.uniform(0.2, 0.9, (2, COUNT, 4)),
    ),
    "offsets, sigmoid": lambda: (R.standard_normal((2, COUNT, 4)), _scores()),
    "offsets, logits": lambda: (0.3 * R.standard_normal((2, COUNT, 4)), _logits(_scores())),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("names", [("p", "q"), ("out0", "out1")])
@pytest.mark.parametrize("swapped", [False, True])
def test_values_tell_the_roles_in_any_order(case, names, swapped):
    boxes, scores = (each.astype(np.float32) for each in CASES[case]())
    outputs = [(names[0], boxes), (names[1], scores)]
    (found,) = choose_metrics(see(**dict(outputs[::-1] if swapped else outputs)), AUTOMATIC)
    assert found.kind == "detection"
    assert found.outputs == names


def _alike():
    """Two outputs of a network that was not trained: everywhere about a half."""
    return [R.uniform(0.3, 0.7, (2, COUNT, 4)).astype(np.float32) for _ in range(2)]


@pytest.mark.parametrize(
    "names",
    [("pred_boxes", "pred_logits"), ("bbox", "cls_prob"), ("loc", "conf"), ("out", "score")],
)
@pytest.mark.parametrize("swapped", [False, True])
def test_names_are_the_last_hint(names, swapped):
    outputs = list(zip(names, _alike(), strict=True))
    (found,) = choose_metrics(see(**dict(outputs[::-1] if swapped else outputs)), AUTOMATIC)
    assert (found.kind, found.outputs) == ("detection", names)


def test_names_do_not_count_against_values():
    boxes, scores = (each.astype(np.float32) for each in CASES["pixel corners, sigmoid"]())
    (found,) = choose_metrics(see(scores=boxes, boxes=scores), AUTOMATIC)
    assert found.outputs == ("scores", "boxes")


def test_what_cannot_be_told_is_said():
    one, other = _alike()
    found = choose_metrics(see(p=one, q=other), AUTOMATIC)
    assert [(each.kind, each.is_sure) for each in found] == [("sqnr", False)] * 2
    assert all("'p' and 'q' may be boxes and their scores" in each.why for each in found)
    with pytest.raises(RefusedError, match="tell which is which; name an output 'boxes'"):
        choose_metrics(see(p=one, q=other), MetricOptions("detection"))


@pytest.mark.parametrize("first", ["heat", "offset"])
def test_maps_of_two_classes_beside_offsets(first):
    maps = {
        "heat": R.beta(0.2, 12, (2, 2, 20, 20)),
        "offset": R.uniform(0, 1, (2, 2, 20, 20)),
        "size": R.uniform(2, 9, (2, 2, 20, 20)),
    }
    order = [first, *(name for name in maps if name != first)]
    seen = see(**{name: maps[name].astype(np.float32) for name in order})
    (found,) = choose_metrics(seen, AUTOMATIC)
    assert (found.kind, found.outputs) == ("detection", ("heat", "size", "offset"))
