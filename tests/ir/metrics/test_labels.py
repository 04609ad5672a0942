"""Which axis of an output labels speak of, by shapes alone."""

from __future__ import annotations

import numpy as np
import pytest

from planish.ir.metrics.labels import LEFT_OUT, as_classes, class_axis_of


@pytest.mark.parametrize(
    ("output", "labels", "known", "axis"),
    [
        ((8, 10), (8,), None, 1),
        ((8, 10), (8, 1), None, 1),
        ((8, 10, 1, 1), (8,), None, 1),
        ((8, 5, 6, 7), (8, 6, 7), None, 1),
        ((8, 5, 6, 7), (8, 1, 6, 7), None, 1),
        ((8, 6, 7, 5), (8, 6, 7), None, 3),
        ((8, 6, 7, 5), (8, 6, 7, 1), None, 3),
        ((8, 6, 6), (8, 6), None, 1),
        ((8, 6, 6), (8, 6), 2, 2),
        ((8, 6, 6), (8, 6), -1, 2),
        ((8, 5, 6, 7), (8, 6, 7), 2, 1),
        ((8, 5, 6, 7), (8,), None, None),
        ((8, 5, 6, 7), (8, 12, 14), None, None),
        ((8, 1, 6, 7), (8, 6, 7), None, None),
        ((8, 10), (4,), None, None),
        ((8,), (8,), None, None),
    ],
)
def test_the_axis_of_the_classes(output, labels, known, axis):
    assert class_axis_of(output, labels, known) == axis


def test_what_is_left_out_of_maps():
    maps = np.array([[[0, 255]], [[-1, 3]]], np.int32)
    assert as_classes(maps, 4).tolist() == [[0, LEFT_OUT], [LEFT_OUT, 3]]
    assert as_classes(maps, 300).tolist() == [[0, 255], [LEFT_OUT, 3]]
    assert as_classes(np.array([[3], [-1]]), 4).tolist() == [3, -1]
