"""Sizes that a graph leaves open: what is shown for all of them, and what for those tried alone."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.passes.trust.prove.certify import Origin, certify

from tests.helpers import graph_of

RANDOM = np.random.default_rng(0)
WEIGHTS = {
    "w3": RANDOM.standard_normal((4, 3, 3, 3)).astype(np.float32),
    "w7": RANDOM.standard_normal((2, 1, 7)).astype(np.float32),
    "one": np.float32(1),
    "rows": np.array([-1, 12]),
    "start": np.array([0]),
    "hundred": np.array([100]),
    "end": np.array([2**62]),
    "axis": np.array([1]),
    "last": np.array([0, 2, 1]),
    "pads": np.array([0, 0, 0, 0, 0, 5]),
}


def _proved(head, before, after):
    graphs = [
        graph_of(f"{head} {{ {text} }}", {k: v for k, v in WEIGHTS.items() if k in text})
        for text in (before, after)
    ]
    return certify(*graphs, Origin(graphs[0], planish.clone(graphs[0])), [])


# Each is right at some sizes.
WRONG = {
    "a slice up to a number": (
        "g (float[N,M] x) => (float[N,M] y)",
        "y = Relu(x)",
        "t = Relu(x) y = Slice(t, start, hundred, axis)",
    ),
    "sizes that are swapped": (
        "g (float[N,H,W] x) => (float[N,H,W] y)",
        "y = Relu(x)",
        "t = Relu(x) s = Shape(x) r = Gather(s, last) y = Reshape(t, r)",
    ),
    "a remainder behind a stride of seven": (
        "g (float[1,1,H] x) => (float[] y)",
        "n = Neg(x) m = Neg(n) y = Conv<strides=[7]>(m, w7)",
        "p = Pad(x, pads) y = Conv<strides=[7]>(p, w7)",
    ),
    "a batch of one that is squeezed": (
        "g (float[N,1,4] x) => (float[] y)",
        "y = Squeeze(x, axis)",
        "y = Squeeze(x)",
    ),
    "a number of a size": (
        "g (float[N,4] x) => (float[N,4] y)",
        "s = Shape<end=1>(x) f = Cast<to=1>(s) y = Mul(x, f)",
        "y = Add(x, x)",
    ),
    "an axis that is open as well": (
        "g (float[1,H,W] x) => (float[1,W] y)",
        "y = ReduceSum<keepdims=0>(x, axis)",
        "y = ReduceMean<keepdims=0>(x, axis)",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_holds_at_some_sizes_is_not_proved(name):
    assert _proved(*WRONG[name]).open_outputs


ROWS = "g (float[N,3,4] x) => (float[] y)"
RIGHT = {
    "rows": (ROWS, "y = Flatten(x)", "y = Reshape(x, rows)", "all"),
    "what is read of a shape": (
        ROWS,
        "s = Shape<end=1>(x) f = Constant<value_ints=[12]>() r = Concat<axis=0>(s, f) "
        "y = Reshape(x, r)",
        "y = Flatten(x)",
        "all",
    ),
    "a stride, every remainder of which is looked at": (
        "g (float[N,3,H,W] x) => (float[] y)",
        "n = Neg(x) m = Neg(n) y = Conv<strides=[2,2], pads=[1,1,1,1]>(m, w3)",
        "y = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w3)",
        "all",
    ),
    "a sum over an open axis": (
        "g (float[N,M] x) => (float[N] y)",
        "n = Neg(x) s = ReduceSum<keepdims=0>(n, axis) y = Neg(s)",
        "y = ReduceSum<keepdims=0>(x, axis)",
        "tried",
    ),
    "a bound beyond all sizes": (
        "g (float[N,M] x) => (float[N,M] y)",
        "t = Relu(x) y = Slice(t, start, end, axis)",
        "y = Relu(x)",
        "tried",
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_the_record_says_for_which_sizes(name):
    head, before, after, sizes = RIGHT[name]
    found = _proved(head, before, after)
    assert not found.open_outputs
    assert [window.sizes for window in found.windows] == [sizes]
    assert found.is_complete == (sizes == "all")
    assert ("at the sizes tried alone" in found.shown()) == (sizes == "tried")


def test_windows_are_looked_at_with_every_remainder():
    found = _proved(*RIGHT["a stride, every remainder of which is looked at"][:3])
    assert found.windows[0].looks >= 4
