"""What no runtime runs is told from what one runtime lacks."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.ir.run.contradiction import Contradiction, contradiction_told

from tests.helpers import model_of

FOUR = np.ones(4, np.float32)
TWO = np.ones(2, np.float32)
NORMALIZED = "g (float[N, 4, 3] x) => (float[] y) { y = BatchNormalization(x, p, p, q, q) }"
CONTRADICTS = {
    "a variance of too few channels": (NORMALIZED, {"p": FOUR, "q": TWO}, "BatchNormalization"),
    "sizes that do not come out": (
        "g (float[2, 3] x) => (float[] y) { y = Reshape(x, s) }",
        {"s": np.array([4, 2])},
        "Reshape",
    ),
    "a value of two elements": (
        "g (float[2, 3] x) => (float[] y) { y = Pad(x, p, v) }",
        {"p": np.array([0, 1, 0, 0]), "v": TWO},
        "Pad",
    ),
}
FITS = {
    "a network": (NORMALIZED, {"p": FOUR, "q": FOUR}),
    "an operator that the runtime lacks": (
        """<ir_version: 8, opset_import: ["" : 17, "odd" : 1]>
        g (float[2, 3] x) => (float[] y) { y = odd.Own(x) }""",
        {},
    ),
    "indices that drawn inputs exceed": (
        "g (float[2, 3] x, int64[2] i) => (float[] y) { f = Flatten(x) y = Gather(f, i) }",
        {},
    ),
}


@pytest.mark.parametrize("case", CONTRADICTS)
def test_contradictions(case):
    text, weights, named = CONTRADICTS[case]
    reason = Contradiction(planish.load(model_of(text, weights)))()
    assert reason.startswith("the graph contradicts itself: ")
    assert named in reason


@pytest.mark.parametrize("case", FITS)
def test_none(case):
    graph = planish.load(model_of(*FITS[case]))
    assert Contradiction(graph)() is None
    with pytest.raises(KeyError), contradiction_told(graph):
        raise KeyError("a mistake of the reader")


def test_it_is_told_once_in_place_of_what_was_raised():
    text, weights, _ = CONTRADICTS["a value of two elements"]
    graph = planish.load(model_of(text, weights))
    with pytest.raises(planish.GraphError, match="contradicts itself"), contradiction_told(graph):
        raise KeyError("p")
    with pytest.raises(planish.PassError), contradiction_told(graph):
        raise planish.PassError("a sentence stays")
