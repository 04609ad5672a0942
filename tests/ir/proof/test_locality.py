"""Windows that are looked at with few positions, in place of many."""

from __future__ import annotations

import numpy as np
import pytest

import planish
from planish.ir.proof.axes.locality import WindowAxes
from planish.ir.proof.digests import Digests
from planish.ir.proof.sides import PairedSizes, Side
from planish.ir.proof.windows import ProofWindow, cone
from planish.passes.trust.prove.certify import Origin, certify

from tests.helpers import graph_of

RANDOM = np.random.default_rng(0)
WEIGHTS = {
    "w": RANDOM.standard_normal((4, 3, 3, 3)).astype(np.float32),
    "v": RANDOM.standard_normal((4, 4, 5, 5)).astype(np.float32),
    "far": np.array([0, 0, 0, 0, 0, 0, 0, 1]),
    "near": np.array([0, 0, 0, 1, 0, 0, 0, 0]),
    "value": np.float32(0.5),
}
IMAGES = "g (float[1,3,{0},{1}] x) => (float[] y)"
PADDED = "p = Pad(x, {}, value) y = Conv<strides=[2,2], pads=[1,1,1,1]>(p, w)"


def _read(text):
    return {name: values for name, values in WEIGHTS.items() if name in text}


def _proved(before, after):
    graphs = [
        graph_of(text, {k: v for k, v in WEIGHTS.items() if k in text}) for text in (before, after)
    ]
    return certify(*graphs, Origin(graphs[0], planish.clone(graphs[0])), [])


@pytest.mark.parametrize("sizes", [(96, 97), ("H", "W")])
@pytest.mark.parametrize("where", ["far", "near"])
def test_a_border_that_differs_at_one_end_is_seen(sizes, where):
    """However far the end is: it is there at the small size as well."""
    head = IMAGES.format(*sizes)
    before = f"{head} {{ {PADDED.format(where)} }}"
    assert not _proved(
        before, before.replace("y = Conv", "q = Identity(p) y = Conv").replace("(p, w)", "(q, w)")
    ).open_outputs
    after = f"{head} {{ {PADDED.format(where).replace(', value', '')} }}"
    assert _proved(before, after).open_outputs


def _small(text, held=None):
    graph = graph_of(text, held or _read(text))
    side = Side(graph, Digests())
    types = PairedSizes(side, side).base
    output = side.graph.outputs[0]
    nodes = cone(side, output, ()).nodes
    pairs = [(t, t) for t in side.graph.inputs]
    window = ProofWindow(nodes, nodes, pairs, (output, output))
    return WindowAxes(window, types, types, (20, 20)).smaller()


def test_sizes_keep_their_remainder_and_what_is_summed():
    head = IMAGES.format(96, 97)
    conv = "Conv<strides=[2,2], pads=[1,1,1,1]>(x, w)"
    assert _small(f"{head} {{ y = {conv} }}") == {"x": (1, 3, 6, 5)}
    assert _small(f"{head} {{ a = {conv} y = GlobalAveragePool(a) }}") == {"x": (1, 3, 96, 97)}
    assert _small(f"{head} {{ y = Relu(x) }}") == {"x": (1, 2, 2, 2)}
    deep = f"a = {conv} y = Conv<strides=[2,2], pads=[2,2,2,2]>(a, v)"
    (shape,) = _small(f"{head} {{ {deep} }}").values()
    assert [size % 4 for size in shape[2:]] == [96 % 4, 97 % 4]
    assert all(17 <= size < 21 for size in shape[2:])


def _seen(size, layers):
    """Return what each result of a stack of convolutions reads: which taps are pads, at each."""
    seen = [()] * size
    for kernel, stride, begin, end in layers:
        padded = [None] * begin + seen + [None] * end
        starts = range(0, len(padded) - kernel + 1, stride)
        seen = [hash(tuple(padded[at : at + kernel])) for at in starts]
    return set(seen)


def test_few_positions_see_all_that_many_see():
    """Of random stacks of convolutions of a row, at every remainder."""
    random = np.random.default_rng(1)
    for _ in range(40):
        layers = [
            (int(k), int(random.integers(1, 4)), *map(int, random.integers(0, k, 2)))
            for k in random.integers(1, 6, int(random.integers(1, 4)))
        ]
        size = int(random.integers(200, 230))
        nodes = [
            f"v{at + 1} = Conv<kernel_shape=[{k}], strides=[{s}], pads=[{b},{e}]>(v{at}, w{k})"
            for at, (k, s, b, e) in enumerate(layers)
        ]
        held = {f"w{k}": np.ones((1, 1, k), np.float32) for k, *_ in layers}
        text = f"g (float[1,1,{size}] v0) => (float[] v{len(layers)}) {{ {' '.join(nodes)} }}"
        (shape,) = _small(text, held).values()
        assert shape[2] < size
        assert _seen(shape[2], layers) == _seen(size, layers), layers


def test_the_record_says_for_which_sizes():
    head = IMAGES.format("H", "W")
    one = "y = Conv<pads=[1,1,1,1]>({}, w)"
    local = _proved(
        f"{head} {{ a = Identity(x) b = Neg(a) c = Neg(b) {one.format('c')} }}",
        f"{head} {{ {one.format('x')} }}",
    )
    assert [window.sizes for window in local.windows] == ["all"]
    two = one.replace("pads", "strides=[2,2], pads")
    strided = _proved(
        f"{head} {{ b = Neg(x) c = Neg(b) {two.format('c')} }}", f"{head} {{ {two.format('x')} }}"
    )
    assert [window.sizes for window in strided.windows] == ["all"]
    given = _proved(
        f"{IMAGES.format(8, 9)} {{ b = Neg(x) c = Neg(b) {one.format('c')} }}",
        f"{IMAGES.format(8, 9)} {{ {one.format('x')} }}",
    )
    assert [window.sizes for window in given.windows] == ["given"]
