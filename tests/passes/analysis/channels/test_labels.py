"""Labels through Reshape: how axes of two shapes correspond."""

from __future__ import annotations

import numpy as np
import pytest

from planish.passes.analysis.channels.cells import Cells
from planish.passes.analysis.channels.labels import reshape, segments


def pairs(before, after):
    return [(part.before, part.after, part.known) for part in segments(before, after)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (
            ("N", 6, 4, 4),
            ("N", 2, 3, 4, 4),
            [((0,), (0,)), ((1,), (1, 2)), ((2,), (3,)), ((3,), (4,))],
        ),
        (("N", 6, 4, 4), ("N", 96), [((0,), (0,)), ((1, 2, 3), (1,))]),
        (("N", 6, 1, 1), ("N", 6), [((0,), (0,)), ((1,), (1,)), ((2,), ()), ((3,), ())]),
        ((1, 6), (6,), [((0,), ()), ((1,), (0,))]),
        ((2, 3, 4), (6, 4), [((0, 1), (0,)), ((2,), (1,))]),
        ((None, 6, 4), (None, 24), [((0,), (0,)), ((1, 2), (1,))]),
    ],
)
def test_segments(before, after, expected):
    assert pairs(before, after) == [(*part, True) for part in expected]


def test_sizes_that_are_unknown_stay_one_segment():
    found = pairs(("N", 4, "H", "W", 5), ("N", 4, None, 5))
    assert found == [
        ((0,), (0,), True),
        ((1,), (1,), True),
        ((2, 3), (2,), False),
        ((4,), (3,), True),
    ]


def test_flatten_repeats_the_cell_of_each_position():
    cells = Cells()
    labels = cells.fresh(3).reshape(1, 3, 1, 1)
    moved = reshape(labels, ("N", 3, 2, 2), ("N", 12), cells)
    assert moved.tolist() == [np.repeat([0, 1, 2], 4).tolist()]


def test_cells_in_an_unknown_segment_are_united():
    cells = Cells()
    labels = cells.fresh(3).reshape(1, 3, 1)
    moved = reshape(labels, ("N", 3, "H"), ("N", None), cells)
    assert moved.shape == (1, 1)
    assert len(set(cells.roots().tolist())) == 1
