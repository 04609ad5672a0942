"""Which point is taken, which are on the front, and what is foretold from what was seen."""

from __future__ import annotations

from pathlib import Path

import pytest

from planish.ir.core.errors import RefusedError
from planish.tools.search.foresight import Foresight
from planish.tools.search.front import Point, best_of, front_of, misses
from planish.tools.search.plan import SitePlan
from planish.tools.search.request import Budget
from planish.tools.search.treatments import Treatment


def point(seconds, drop=0.0, size=100, noise=0.01, **more):
    """Return a point of a model that takes a second; a drop over 1 % does not hold."""
    return Point(
        stages=(),
        model=Path("m.onnx"),
        sha256="",
        seconds=seconds,
        speedup=1 / seconds,
        bytes=size,
        drop=drop,
        holds=drop <= 0.01,
        accuracy={"noise": noise},
        **more,
    )


SLOW, RIGHT, FAST = point(1.0), point(0.4, 0.005, 50, 0.1), point(0.2, 0.05, 30, 0.4)
BEATEN = point(0.5, 0.006, 60)


def test_front_is_what_no_other_beats():
    assert front_of([FAST, BEATEN, SLOW, RIGHT]) == [SLOW, RIGHT, FAST]


@pytest.mark.parametrize(
    ("budget", "best", "outside"),
    [
        (Budget(max_drop=0.01), RIGHT, set()),
        (Budget(max_drop=0.01, speedup=2.0), RIGHT, set()),
        (Budget(max_drop=0.01, speedup=4.0), RIGHT, {"speedup"}),
        (Budget(max_drop=0.01, size=40), RIGHT, {"size"}),
        (Budget(speedup=4.0), FAST, set()),
        (Budget(speedup=2.0), RIGHT, set()),  # the most accurate of those that are fast enough
        (Budget(size=60), RIGHT, set()),
        (Budget(speedup=9.0), FAST, {"speedup"}),
    ],
)
def test_the_point_to_take_and_the_bounds_that_it_misses(budget, best, outside):
    found = best_of([SLOW, FAST, RIGHT], budget)
    assert found is best
    assert set(misses(found, budget)) == outside


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "nothing bounds"),
        ({"max_drop": 1.0}, "max-drop is 1.0"),
        ({"speedup": 0.0}, "speedup is 0"),
        ({"size": 0}, "size is 0"),
    ],
)
def test_a_budget_that_is_none(given, words):
    with pytest.raises(RefusedError, match=words):
        Budget(**given)


def test_what_points_show():
    int8 = SitePlan((Treatment("int8"),), (0.0,))
    pruned = SitePlan((Treatment("int8"),), (0.5,))
    points = [
        point(1.0, 0.0, noise=0.0),
        point(0.5, 0.02, noise=0.04, plan=int8, alone={"int8": 0.01}, raw_seconds=0.4),
        point(0.3, 0.9, noise=9.0, plan=pruned, alone={"int8": 0.01, "pruned": 0.5}),
        # The same once it has learned, which counts instead.
        point(0.3, 0.03, noise=0.09, plan=pruned, alone={"int8": 0.01, "pruned": 0.5}),
    ]
    found = Foresight.of(points)
    assert found.scales == pytest.approx({"int8": 4.0, "pruned": (0.09 - 0.04) / 0.5})
    assert found.slowness == pytest.approx(0.5 / 0.4)
    assert found.steepness == pytest.approx(0.1)  # of 0.02 / 0.2, 0.9 / 3 and 0.03 / 0.3
    assert found.noise_of(0.01) == pytest.approx(0.01)
    assert found.noise_of(None) is None
