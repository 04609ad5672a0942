"""What readers of a tensor tell apart, where they are quantizers."""

from __future__ import annotations

import pytest

from planish.passes.engine.context import Context
from planish.passes.recover.reconstruct_blocks.limits import limits_of

from tests.helpers import graph_of

GRAPH = """
    g (float[N] x) => (float[N] y, float[N] z)
    <float s = {0.5}, float t = {0.25}, uint8 low = {0}, int8 mid = {-28}>
    {
      one = Neg (x)  two = Neg (one)  shown = Neg (x)
      a = QuantizeLinear (one, s, low)  b = DequantizeLinear (a, s, low)
      c = QuantizeLinear (two, s, low)  d = DequantizeLinear (c, s, low)
      e = QuantizeLinear (two, t, mid)  f = DequantizeLinear (e, t, mid)
      h = Add (b, d)  y = Add (h, f)  z = Add (shown, one)
    }
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("one", {}),  # an Add reads it too
        ("two", {"two": (-25.0, 127.5)}),  # 0 to 127.5, and -25 to 38.75
        ("shown", {}),
        ("y", {}),
    ],
)
def test_limits(name: str, expected: dict[str, tuple[float, float]]) -> None:
    graph = graph_of(GRAPH)
    assert limits_of(graph, Context(graph).view(), [name]) == expected
