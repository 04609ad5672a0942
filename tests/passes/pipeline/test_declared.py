"""Shapes of outputs that do not follow from the inputs are mended, and said."""

import numpy as np
import pytest

import planish

from tests.helpers import graph_of

W = {"w": np.ones((4, 3, 3, 3), np.float32)}


@pytest.mark.parametrize(
    ("inputs", "declared", "wanted"),
    [
        ("1,3,8,8", "1,4,9,9", [1, 4, 6, 6]),
        ("N,3,8,8", "1,4,6,6", ["N", 4, 6, 6]),
        ("N,3,8,8", "N,4,9,6", ["N", 4, 6, 6]),
        ("1,3,8,8", "1,4,6,6", None),
        ("1,3,H,8", "1,4,h,6", None),
        ("1,3,H,8", "1,4,7,6", None),  # nobody knows
        ("N,3,8,8", "M,4,6,6", None),
    ],
)
@pytest.mark.parametrize("verify", ["end", "off"])
def test_stale_outputs(inputs, declared, wanted, verify):
    graph = graph_of(f"g (float[{inputs}] x) => (float[{declared}] y) {{ y = Conv(x, w) }}", W)
    before = list(graph.outputs[0].shape)
    result = planish.Pipeline.parse("exact").run(graph, verify=verify)
    assert graph.outputs[0].shape == before
    if wanted is None:
        assert result.remarks == ()
        assert result.graph.outputs[0].shape == before
    else:
        (remark,) = result.remarks
        assert "output 'y' was declared" in remark
        assert result.graph.outputs[0].shape == wanted
        assert planish.Pipeline.parse("exact").run(result.graph).remarks == ()


def test_outputs_of_unknown_sizes_stay():
    graph = graph_of("g (float[8] x) => (int64[1, 5] y) { y = NonZero(x) }")
    assert planish.Pipeline.parse("exact").run(graph).graph.outputs[0].shape == [1, 5]
