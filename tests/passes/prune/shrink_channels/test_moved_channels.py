"""Channels are followed through what adds, joins, parts, picks and moves them."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import graph_of, ops, run_ort
from tests.passes.prune.shrink_channels.cases import (
    normal,
    shapes,
    shrink,
    value,
    zeroed,
)


def test_residual_stage_shrinks_as_one():
    text = """g (float[N, 3, 8, 8] x) => (float[] y) {
        a = Conv(x, w1)
        b = Conv(a, w2)
        c = Relu(b)
        d = Conv(c, w3)
        e = Add(a, d)
        y = Conv(e, w4)
    }"""
    weights = {
        "w1": normal(4, 3, 1, 1),
        "w2": zeroed(normal(6, 4, 1, 1), 1, 2),
        "w3": normal(4, 6, 1, 1),
        "w4": zeroed(normal(5, 4, 1, 1), 1, 2),
    }
    result = shrink(text, **weights)
    assert shapes(result) == {
        "w1": [3, 3, 1, 1],
        "w2": [6, 3, 1, 1],
        "w3": [3, 6, 1, 1],
        "w4": [5, 3, 1, 1],
    }
    read_inside = shrink(text, **{**weights, "w2": normal(6, 4, 1, 1)})
    assert read_inside.edits == 0


def test_concatenation_keeps_offsets():
    result = shrink(
        """g (float[N, 3, 8, 8] x) => (float[] y) {
            a = Conv(x, w1)
            b = Conv(x, w2)
            c = Concat<axis = -3>(a, b)
            y = Conv(c, w3)
        }""",
        w1=normal(4, 3, 1, 1),
        w2=normal(3, 3, 1, 1),
        w3=zeroed(normal(5, 7, 1, 1), 1, 1, 4, 6),
    )
    assert shapes(result) == {"w1": [3, 3, 1, 1], "w2": [1, 3, 1, 1], "w3": [5, 4, 1, 1]}


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_split_sizes(opset):
    form = {
        11: "Split<axis = 1, split = [2, 4]>(a)",
        13: "Split<axis = 1>(a, sizes)",
        18: "Split<axis = 1, num_outputs = 2>(a)",
    }[opset]
    first = 3 if opset == 18 else 2
    result = shrink(
        f"""<ir_version: 8, opset_import: ["" : {opset}]>
        g (float[N, 3, 8, 8] x) => (float[] y, float[] z) {{
            a = Conv(x, w1)
            b, c = {form}
            y = Conv(b, w2)
            z = Conv(c, w3)
        }}""",
        w1=normal(6, 3, 1, 1),
        w2=zeroed(normal(5, first, 1, 1), 1, 0),
        w3=normal(5, 6 - first, 1, 1),
        **({"sizes": np.array([2, 4])} if opset == 13 else {}),
    )
    assert shapes(result)["w1"] == [5, 3, 1, 1]
    assert shapes(result)["w2"] == [5, first - 1, 1, 1]


@pytest.mark.parametrize(
    ("start", "end", "step", "cut", "expected"),
    [
        (1, 5, 1, [0, 2], ["Conv", "Slice", "Conv", "Conv"]),
        (0, 6, 2, [1, 3, 5], ["Conv", "Slice", "Conv", "Conv"]),
        (0, 6, 2, [1], ["Conv", "Gather", "Conv", "Conv"]),
        (5, 1, -1, [2], ["Conv", "Gather", "Conv", "Conv"]),
    ],
)
def test_slice_bounds(start, end, step, cut, expected):
    taken = len(range(6)[start:end:step])
    both = zeroed(normal(5, 6, 1, 1), 1, *cut)
    picked = [c in cut for c in range(6)[start:end:step]]
    result = shrink(
        """g (float[N, 3, 8, 8] x) => (float[] y, float[] z) {
            a = Conv(x, w1)
            b = Slice(a, start, end, axis, step)
            y = Conv(b, w2)
            z = Conv(a, w3)
        }""",
        w1=normal(6, 3, 1, 1),
        start=np.array([start]),
        end=np.array([end]),
        axis=np.array([1]),
        step=np.array([step]),
        w2=zeroed(normal(5, taken, 1, 1), 1, *np.flatnonzero(picked).tolist()),
        w3=both,
    )
    assert shapes(result)["w1"] == [6 - len(cut), 3, 1, 1]
    assert sorted(ops(result.graph)) == sorted(expected)


def test_gather_indices():
    result = shrink(
        """g (float[N, 3, 8, 8] x) => (float[] y) {
            a = Conv(x, w1)
            b = Gather<axis = 1>(a, index)
            y = Conv(b, w2)
        }""",
        w1=normal(4, 3, 1, 1),
        index=np.array([3, 0, -3, 2]),
        w2=zeroed(normal(5, 4, 1, 1), 1, 1),
    )
    assert value(result, "index").tolist() == [2, 0, 1]


def test_flatten_into_gemm():
    w2 = normal(5, 12)
    w2[:, 4:8] = 0
    result = shrink(
        """g (float[N, 3, 2, 2] x) => (float[] y) {
            a = Conv(x, w1)
            b = Flatten<axis = 1>(a)
            y = Gemm<transB = 1, alpha = 0.5, beta = 2.0>(b, w2, b2)
        }""",
        w1=normal(3, 3, 1, 1),
        w2=w2,
        b2=normal(5),
    )
    assert shapes(result) == {"w1": [2, 3, 1, 1], "w2": [5, 8], "b2": [5]}


@pytest.mark.parametrize("batch", ["N", "2"])
def test_generator_back_to_positions(batch):
    """Gemm -> Reshape -> ConvTranspose."""
    result = shrink(
        f"""g (float[{batch}, 3] x) => (float[] y) {{
            a = Gemm(x, w1, b1)
            b = Reshape(a, target)
            c = Relu(b)
            y = ConvTranspose<strides = [2, 2]>(c, w2, b2)
        }}""",
        w1=normal(3, 16),
        b1=normal(16),
        target=np.array([-1, 4, 2, 2]),
        w2=zeroed(normal(4, 3, 2, 2), 0, 0, 2),
        b2=normal(3),
    )
    assert shapes(result)["w1"] == [3, 8]
    assert value(result, "target").tolist() == [-1, 2, 2, 2]
    assert shapes(result)["w2"] == [2, 3, 2, 2]


def test_squeeze_and_excite():
    result = shrink(
        """g (float[N, 3, 8, 8] x) => (float[] y) {
            a = Conv(x, w1)
            p = ReduceMean(a, axes)
            q = Conv(p, w2, b2)
            r = Relu(q)
            s = Conv(r, w3, b3)
            t = Sigmoid(s)
            u = Mul(a, t)
            y = Conv(u, w4)
        }""",
        w1=zeroed(normal(4, 3, 1, 1), 0, 1),
        axes=np.array([2, 3]),
        w2=normal(2, 4, 1, 1),
        b2=normal(2),
        w3=normal(4, 2, 1, 1),
        b3=normal(4),
        w4=normal(5, 4, 1, 1),
    )
    found = shapes(result)
    assert (found["w1"], found["w2"]) == ([3, 3, 1, 1], [2, 3, 1, 1])
    assert (found["w3"], found["w4"]) == ([3, 2, 1, 1], [5, 3, 1, 1])


SHUFFLED = """g (float[2, 3, 8, 8] x) => (float[] y) {
    a = Conv(x, w1)
    b = Reshape(a, apart)
    c = Transpose<perm = [0, 2, 1, 3, 4]>(b)
    d = Reshape(c, together)
    y = Conv(d, w2)
}"""


@pytest.mark.parametrize(
    ("cut", "expected"),
    [
        # Channels 0, 3 of [0 2 4 | 1 3 5] shuffled are a column of the grid: it stays one.
        ((0, 1), ["Conv", "Reshape", "Transpose", "Reshape", "Conv"]),
        ((0, 3), ["Conv", "Gather", "Conv"]),
    ],
)
def test_channel_shuffle(cut, expected):
    result = shrink(
        SHUFFLED,
        w1=normal(6, 3, 1, 1),
        apart=np.array([2, 2, 3, 8, 8]),
        together=np.array([2, 6, 8, 8]),
        w2=zeroed(normal(5, 6, 1, 1), 1, *cut),
    )
    assert ops(result.graph) == expected
    assert shapes(result)["w1"] == [4, 3, 1, 1]


@pytest.mark.parametrize(
    ("cut", "left"),
    [
        ((0, 1), [(4, 3, 1, 1), (5, 4, 1, 1)]),  # a column
        ((0, 2, 4), [(3, 3, 1, 1), (5, 3, 1, 1)]),  # a row
        ((0, 1, 3), [(4, 3, 1, 1), (5, 4, 1, 1)]),  # a column, and one that the grid keeps
        ((0, 3), [(6, 3, 1, 1), (5, 6, 1, 1)]),  # every row and every column has one that stays
        ((0, 1, 2, 4), [(2, 3, 1, 1), (5, 2, 1, 1)]),
    ],
)
def test_a_grid_that_is_computed_on_keeps_its_corners(cut, left):
    """Channels [0 2 4 | 1 3 5] of the result, as a grid of two rows between the Reshapes."""
    weights = {
        "w1": normal(6, 3, 1, 1),
        "apart": np.array([2, 2, 3, 8, 8]),
        "together": np.array([2, 6, 8, 8]),
        "w2": zeroed(normal(5, 6, 1, 1), 1, *cut),
    }
    text = SHUFFLED.replace("c = Transpose", "r = Relu(b) c = Transpose").replace("(b)\n", "(r)\n")
    result = shrink(text, **weights)
    found = shapes(result)
    assert [tuple(found[name]) for name in ("w1", "w2")] == left
    feeds = {"x": normal(2, 3, 8, 8)}
    expected = run_ort(planish.to_model(graph_of(text, weights)), feeds)["y"]
    y = run_ort(planish.to_model(result.graph), feeds)["y"]
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_pixel_shuffle(mode):
    result = shrink(
        f"""g (float[N, 3, 4, 4] x) => (float[] y) {{
            a = Conv(x, w1)
            b = DepthToSpace<blocksize = 2, mode = "{mode}">(a)
            y = Conv(b, w2)
        }}""",
        w1=normal(12, 3, 1, 1),
        w2=zeroed(normal(5, 3, 1, 1), 1, 1),
    )
    assert shapes(result) == {"w1": [8, 3, 1, 1], "w2": [5, 2, 1, 1]}


@pytest.mark.parametrize(("mode", "zeros"), [("DCR", range(1, 12, 3)), ("CRD", range(4, 8))])
def test_positions_that_become_channels(mode, zeros):
    weights = {"w1": normal(3, 3, 1, 1), "w2": zeroed(normal(5, 12, 1, 1), 1, *zeros)}
    text = f"""g (float[N, 3, 4, 4] x) => (float[] y) {{
            a = Conv(x, w1)
            b = SpaceToDepth<blocksize = 2, mode = "{mode}">(a)
            y = Conv(b, w2)
        }}"""
    assert shapes(shrink(text, **weights)) == {"w1": [2, 3, 1, 1], "w2": [5, 8, 1, 1]}


def test_padded_shortcut():
    result = shrink(
        """g (float[N, 3, 4, 4] x) => (float[] y) {
            a = Conv(x, w1)
            b = Pad(a, pads)
            c = Conv(a, w2)
            d = Add(b, c)
            y = Conv(d, w3)
        }""",
        w1=normal(3, 3, 1, 1),
        pads=np.array([0, 1, 0, 0, 0, 2, 0, 0]),
        w2=zeroed(normal(6, 3, 1, 1), 0, 0, 5),
        w3=normal(5, 6, 1, 1),
    )
    assert value(result, "pads").tolist() == [0, 0, 0, 0, 0, 1, 0, 0]
    assert shapes(result)["w3"] == [5, 4, 1, 1]


def test_resize_between():
    result = shrink(
        """g (float[2, 3, 4, 4] x) => (float[] y) {
            a = Conv(x, w1)
            b = Resize<mode = "nearest">(a, , , sizes)
            y = Conv(b, w2)
        }""",
        w1=normal(4, 3, 1, 1),
        sizes=np.array([2, 4, 8, 8]),
        w2=zeroed(normal(5, 4, 1, 1), 1, 1),
    )
    assert value(result, "sizes").tolist() == [2, 3, 8, 8]
