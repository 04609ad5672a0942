"""Wrong terms of layers that are small beside the others: none is proved, wherever it is."""

from __future__ import annotations

import math

import numpy as np
import pytest

import planish
from planish.ir.proof.sparse import InputCells, cells_of, probe
from planish.passes.trust.prove.certify import Origin, certify
from planish.passes.trust.prove.refute_terms import wrong_term

from tests.helpers import graph_of, run_ort

# A layer each.
IMAGE = "g (float[n,16,9,9] x) => (float[] y)"
LAYERS = {
    "Conv": (IMAGE, "y = Conv<pads=[1,1,1,1]>(x, w, b)", (8, 16, 3, 3)),
    "Conv without pads": (IMAGE, "y = Conv(x, w, b)", (8, 16, 3, 3)),
    "Conv with strides": (IMAGE, "y = Conv<strides=[2,2], pads=[1,1,1,1]>(x, w, b)", (8, 16, 3, 3)),
    "Conv that is dilated": (IMAGE, "y = Conv<dilations=[2,2]>(x, w, b)", (8, 16, 3, 3)),
    "Conv of 1 x 1": (IMAGE, "y = Conv(x, w, b)", (8, 16, 1, 1)),
    "Conv in groups": (IMAGE, "y = Conv<group=4, pads=[1,1,1,1]>(x, w, b)", (8, 4, 3, 3)),
    "Conv of each channel": (IMAGE, "y = Conv<group=16, pads=[1,1,1,1]>(x, w, b)", (16, 1, 3, 3)),
    "ConvTranspose": (IMAGE, "y = ConvTranspose<strides=[2,2]>(x, w, b)", (16, 8, 4, 4)),
    "Gemm": ("g (float[n,64] x) => (float[] y)", "y = Gemm<transB=1>(x, w, b)", (8, 64)),
    "MatMul": ("g (float[n,3,64] x) => (float[] y)", "m = MatMul(x, w) y = Add(m, b)", (64, 8)),
    "channels last": (
        "g (float[n,9,9,16] x) => (float[] y)",
        "t = Transpose<perm=[0,3,1,2]>(x) y = Conv<pads=[1,1,1,1]>(t, w, b)",
        (8, 16, 3, 3),
    ),
    "Conv behind Relu": (IMAGE, "r = Relu(x) y = Conv<pads=[1,1,1,1]>(r, w, b)", (8, 16, 3, 3)),
}
SMALL = 1e-6


def _layer(kind):
    """Return a layer with weights of which one is small, and where that is."""
    head, body, shape = LAYERS[kind]
    random = np.random.default_rng(len(kind))
    weight = random.standard_normal(shape).astype(np.float32)
    bias = random.standard_normal(shape[1] if kind in ("ConvTranspose", "MatMul") else shape[0])
    place = int(random.integers(weight.size))
    weight.flat[place] = SMALL
    return f"{head} {{ {body} }}", weight, bias.astype(np.float32), place


def _graphs(text, before, after):
    return [graph_of(text, dict(zip("wb", each, strict=True))) for each in (before, after)]


def _certified(text, before, after):
    graphs = _graphs(text, before, after)
    return certify(graphs[0], graphs[1], Origin(graphs[0], planish.clone(graphs[0])), [])


@pytest.mark.parametrize(
    ("kind", "spot"),
    [
        *((kind, "term") for kind in LAYERS),
        ("Conv in groups", "bias"),
        ("Gemm", "bias"),
        ("ConvTranspose", "channel"),
        ("Conv with strides", "channel"),
        ("channels last", "channel"),
    ],
)
def test_a_small_part_that_is_wrong_is_seen(kind, spot):
    text, weight, bias, place = _layer(kind)
    other, added = weight.copy(), bias.copy()
    if spot == "term":
        other.flat[place] = -SMALL
    elif spot == "bias":
        bias[3], added[3] = SMALL, 2 * SMALL
    else:  # what all of its results read of one input
        axis = 0 if kind in ("ConvTranspose", "MatMul") else 1
        at = weight.shape[axis] - 1
        index = (slice(None),) * axis + (at,)
        weight[index] *= np.float32(SMALL)
        other = weight.copy()
        other[index] *= 1 + np.float32(1e-4)
    graphs = _graphs(text, (weight, bias), (other, added))
    assert certify(*graphs, Origin(graphs[0], planish.clone(graphs[0])), []).open_outputs
    if "n," in text:
        graphs = _graphs(text.replace("n,", "2,"), (weight, bias), (other, added))
    found = wrong_term(*graphs, 0)
    assert found is not None
    (x,) = found.feed.values()
    a, b = (run_ort(planish.to_model(graph), {"x": x})[found.output] for graph in graphs)
    far = np.abs(a.astype(np.float64) - b)
    assert np.any(far > 1e-5 * np.maximum(np.abs(a), np.abs(b)))


@pytest.mark.parametrize("kind", ["Conv", "Conv in groups", "ConvTranspose", "Gemm", "MatMul"])
def test_rounding_of_every_part_is_not_taken_for_a_fault(kind):
    text, weight, bias, _ = _layer(kind)
    weight.flat[::7] = np.float32(1e-41)  # under the smallest normal number
    moved = [np.nextafter(each, np.float32(np.inf)) for each in (weight, bias)]
    assert not _certified(text, (weight, bias), moved).open_outputs
    assert wrong_term(*_graphs(text.replace("n,", "2,"), (weight, bias), moved), 0) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "c = Conv(x, w, b) y = BatchNormalization<epsilon=1e-3>(c, s, b, m, v)",
            "c = Conv(x, w, b) y = BatchNormalization<epsilon=1.001e-3>(c, s, b, m, v)",
        ),
        (
            "y = Conv<pads=[1,1,1,1]>(x, w, b)",
            "y = Conv<pads=[1,1,1,1], dilations=[1,2]>(x, w, b)",
        ),
        (
            "c = Conv<pads=[1,1,1,1]>(x, w, b) k = Mul(c, little) y = Add(c, k)",
            "y = Conv<pads=[1,1,1,1]>(x, w, b)",
        ),
    ],
    ids=["epsilon", "dilation", "factor"],
)
def test_a_small_number_beside_a_layer_is_seen(before, after):
    random = np.random.default_rng(0)
    weight = random.standard_normal((4, 16, 3, 3)).astype(np.float32)
    weight[:, :, :, 1:] *= np.float32(SMALL)
    held = {
        "w": weight,
        "b": np.ones(4, np.float32),
        "s": np.ones(4, np.float32),
        "m": np.zeros(4, np.float32),
        "v": np.full(4, 1e-2, np.float32),
        "little": np.float32(1e-4),
    }
    graphs = [
        graph_of(
            f"{IMAGE} {{ {text} }}",
            {k: v for k, v in held.items() if f"{k})" in text or f"{k}," in text},
        )
        for text in (before, after)
    ]
    found = certify(graphs[0], graphs[1], Origin(graphs[0], planish.clone(graphs[0])), [])
    assert found.open_outputs


def test_every_place_of_a_cell_comes_once_before_one_comes_again():
    cells = InputCells((2, 6, 5, 4), filled=(0,), summed=(1,), near={2: (2,), 3: (2, 3)})
    places = cells.places(np.random.default_rng(0), 6)
    found = {tuple(int(i) for i in np.unravel_index(each, cells.shape)) for each in places.flat}
    assert cells.turns == 12
    assert {(c, h, w) for _, c, h, w in found} == {(c, 2, w) for c in range(6) for w in (2, 3)}
    assert len(places) * cells.count == math.prod((6, 2))


@pytest.mark.parametrize(
    ("stride", "begin", "positions"), [(1, 1, 1), (2, 1, 2), (2, 0, 2), (3, 0, 3)]
)
def test_positions_are_enough_for_all_taps(stride, begin, positions):
    """Of a window of three taps along an axis of nine, which is seen by what reaches what."""

    def reached(draw):
        (places,) = draw.places.values()
        seen = np.ones((len(places), 9))
        for point, (place,) in enumerate(places):
            for out in range((9 + 2 * begin - 3) // stride + 1):
                if place >= 0 and 0 <= place + begin - out * stride < 3:
                    seen[point, out] = 9.0
        return seen

    shapes = {"x": (9,)}
    (cells,) = cells_of(reached(probe(shapes)), shapes, reached).values()
    taps = {
        place + begin - out * stride
        for place in (cells.near.get(0) or range(9))
        for out in range((9 + 2 * begin - 3) // stride + 1)
    }
    assert {0, 1, 2} <= taps
    assert len(cells.near.get(0, range(3))) == positions
