"""Convolutions with groups, and transposed ones."""

from __future__ import annotations

import numpy as np
import pytest

from tests.passes.prune.shrink_channels.cases import (
    normal,
    shapes,
    shrink,
    zeroed,
)


def test_depthwise_and_what_is_around_it():
    result = shrink(
        """g (float[N, 3, 8, 8] x) => (float[] y) {
            a = Conv(x, w1)
            b = Conv<group = 4, pads = [1, 1, 1, 1]>(a, w2, b2)
            c = Clip(b, low, high)
            y = Conv(c, w3)
        }""",
        w1=normal(4, 3, 1, 1),
        w2=normal(8, 1, 3, 3),
        b2=normal(8),
        low=np.float32(0),
        high=np.float32(6),
        w3=zeroed(normal(5, 8, 1, 1), 1, 2, 3),
    )
    assert shapes(result)["w2"] == [6, 1, 3, 3]
    assert [n.attrs.get("group") for n in result.graph.nodes if n.op == "Conv"] == [None, 3, None]


GROUPED = """g (float[N, 3, 8, 8] x) => (float[] y) {
    a = Conv(x, w1)
    b = Conv<group = 2>(a, w2, b2)
    y = Conv(b, w3)
}"""


@pytest.mark.parametrize(
    ("rows", "columns", "group", "expected"),
    [
        # One channel of each group, in and out.
        ((0, 5), (1, 2), 2, [4, 1, 1, 1]),
        # More in one group than in the other: the extra one stays.
        ((0, 1, 5), (), 2, [4, 2, 1, 1]),
        # A whole group.
        ((0, 1, 2), (0, 1), 1, [3, 2, 1, 1]),
    ],
)
def test_grouped_convolution(rows, columns, group, expected):
    w2 = normal(6, 2, 1, 1)
    for column in columns:
        w2[column // 2 * 3 : column // 2 * 3 + 3, column % 2] = 0
    w3 = zeroed(normal(5, 6, 1, 1), 1, *rows)
    result = shrink(GROUPED, w1=normal(4, 3, 1, 1), w2=w2, b2=normal(6), w3=w3)
    assert shapes(result)["w2"] == expected
    assert [n.attrs["group"] for n in result.graph.nodes if "group" in n.attrs] == [group]


def test_conv_transpose_rows():
    result = shrink(
        """g (float[N, 3, 4, 4] x) => (float[] y) {
            a = ConvTranspose<group = 1>(x, w1, b1)
            y = Conv(a, w2)
        }""",
        w1=normal(3, 4, 2, 2),
        b1=normal(4),
        w2=zeroed(normal(5, 4, 1, 1), 1, 3),
    )
    assert shapes(result) == {"w1": [3, 3, 2, 2], "b1": [3], "w2": [5, 3, 1, 1]}


def test_groups_left_with_one_channel_go_one_by_one():
    """A group of the convolution keeps a channel at first; with one a group the second goes too."""
    w, u = zeroed(normal(4, 2, 1, 1), 0, 1, 3), np.zeros((2, 4, 1, 1), np.float32)
    result = shrink(
        """g (float[N, 2, 3, 3] x) => (float[] y) {
            a = Conv(x, w) s = Gather<axis = 1>(a, i) b = Conv<group = 2>(s, g) y = Conv(b, u) }""",
        w=w,
        i=np.array([3, 1, 2, 0]),
        g=zeroed(normal(4, 2, 1, 1), 0, 1),
        u=u,
    )
    found = shapes(result)
    assert (found["w"], found["g"], found["u"]) == ([1, 2, 1, 1], [1, 1, 1, 1], [2, 1, 1, 1])
