"""shrink-channels, pattern by pattern: what is cut, what stays, and why."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest

import planish
from planish.ir.core.errors import PlanishError
from planish.passes.engine import stopwatch
from planish.passes.engine.records import Result

from tests.helpers import Array, graph_of, ops, reasons, run_ort, run_pass

PASS = "shrink-channels{measure=false}"


def normal(*shape: int) -> Array:
    """Return weights none of which is small."""
    values = np.random.default_rng(sum(shape)).standard_normal(shape)
    return (values + np.sign(values) * 0.2).astype(np.float32)


def zeroed(values: Array, axis: int, *indices: int) -> Array:
    values = values.copy()
    values[(slice(None),) * axis + (list(indices),)] = 0
    return values


def shrink(text: str, pipeline: str = PASS, **weights: Array) -> Result:
    return run_pass(graph_of(text, weights), pipeline)


def shapes(result: Result) -> dict[str, list[int]]:
    """Return the shapes of the constants that are left, by name."""
    constants = [t for n in result.graph.nodes for t in n.inputs if isinstance(t, gs.Constant)]
    return {t.name: list(t.shape) for t in constants}


def value(result: Result, name: str) -> Array:
    constants = [t for n in result.graph.nodes for t in n.inputs if isinstance(t, gs.Constant)]
    return next(np.asarray(t.values) for t in constants if t.name == name)


PLAIN = """g (float[N, 3, 8, 8] x) => (float[] y) {
    a = Conv<pads = [1, 1, 1, 1]>(x, w1, b1)
    b = BatchNormalization(a, s, t, m, v)
    c = Relu(b)
    y = Conv<pads = [1, 1, 1, 1]>(c, w2)
}"""


def plain(**changed: Array) -> dict[str, Array]:
    weights = {
        "w1": normal(4, 3, 3, 3),
        "b1": normal(4),
        "s": normal(4),
        "t": normal(4),
        "m": normal(4),
        "v": np.full(4, 0.5, np.float32),
        "w2": normal(5, 4, 3, 3),
    }
    return {**weights, **changed}


def test_unread_channels_go():
    result = shrink(PLAIN, **plain(w2=zeroed(normal(5, 4, 3, 3), 1, 1, 2)))
    assert shapes(result) == {
        "w1": [2, 3, 3, 3],
        "w2": [5, 2, 3, 3],
        **{key: [2] for key in ("b1", "s", "t", "m", "v")},
    }
    assert [t.name for n in result.graph.nodes for t in n.outputs] == ["a", "b", "c", "y"]


def test_what_stays_is_what_it_was():
    weights = plain(w2=zeroed(normal(5, 4, 3, 3), 1, 1, 2))
    result = shrink(PLAIN, **weights)
    assert (value(result, "w1") == weights["w1"][[0, 3]]).all()
    assert (value(result, "t") == weights["t"][[0, 3]]).all()
    assert (value(result, "w2") == weights["w2"][:, [0, 3]]).all()


def test_nothing_to_cut_is_left_alone():
    graph = graph_of(PLAIN, plain())
    result = run_pass(graph, PASS)
    assert result.edits == 0
    # The arrays themselves are the same ones, not copies.
    assert value(result, "w1") is graph.nodes[0].inputs[1].values


def test_a_known_value_is_put_into_the_bias():
    text = PLAIN.replace("y = Conv<pads = [1, 1, 1, 1]>(c, w2)", "y = Conv(c, w2, b2)")
    weights = plain(w1=zeroed(normal(4, 3, 3, 3), 0, 1), t=np.full(4, 2, np.float32))
    weights["s"], weights["m"] = np.ones(4, np.float32), np.zeros(4, np.float32)
    weights["b2"] = normal(5)
    result = shrink(text, **weights)
    assert shapes(result)["w1"] == [3, 3, 3, 3]
    known = max(weights["b1"][1] / np.sqrt(0.5 + 1e-5) + 2, 0)
    expected = weights["b2"] + weights["w2"][:, 1].sum(axis=(1, 2)) * known
    assert np.allclose(value(result, "b2"), expected, rtol=1e-6)


def test_a_known_value_beside_padding_stays_and_says_why():
    result = shrink(
        PLAIN, **plain(w1=zeroed(normal(4, 3, 3, 3), 0, 1), t=np.full(4, 9, np.float32))
    )
    assert result.edits == 0
    assert reasons(result) == {"its constant channels reach a layer that sees padding beside them"}


def test_a_known_zero_beside_padding_goes():
    result = shrink(
        PLAIN, **plain(w1=zeroed(normal(4, 3, 3, 3), 0, 1), t=np.full(4, -9, np.float32))
    )
    assert shapes(result)["w2"] == [5, 3, 3, 3]


def test_one_channel_stays():
    result = shrink(PLAIN, **plain(w2=np.zeros((5, 4, 3, 3), np.float32)))
    assert shapes(result)["w1"] == [1, 3, 3, 3]
    assert reasons(result) == {"its output is a graph output"}  # of the layer of zeros


def test_what_becomes_unread_goes_too():
    """Backwards through a layer whose outputs are gone."""
    result = shrink(
        """g (float[N, 3, 8, 8] x) => (float[] y) {
            a = Conv(x, w1)
            b = Conv(a, w2)
            y = Conv(b, w3)
        }""",
        w1=normal(4, 3, 1, 1),
        w2=zeroed(normal(6, 4, 1, 1)[::-1], 1, 3) + (np.arange(24).reshape(6, 4, 1, 1) == 3),
        w3=zeroed(normal(5, 6, 1, 1), 1, 0),
    )
    assert shapes(result) == {"w1": [3, 3, 1, 1], "w2": [5, 3, 1, 1], "w3": [5, 5, 1, 1]}


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


def test_matmul_gets_a_bias_for_what_was_known():
    result = shrink(
        """g (float[N, 3, 2, 2] x) => (float[] y) {
            a = Conv(x, w1, b1)
            b = Flatten<axis = 1>(a)
            y = MatMul(b, w2)
        }""",
        w1=zeroed(normal(3, 3, 1, 1), 0, 1),
        b1=normal(3),
        w2=normal(12, 5),
    )
    assert ops(result.graph) == ["Conv", "Flatten", "MatMul", "Add"]
    assert shapes(result)["w2"] == [8, 5]


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


MASKED = """g (float[N, 3, 8, 8] x) => (float[] y) {
    m = Mul(w1, w1_mask)
    a = Conv(x, m, b1)
    b = Relu(a)
    n = Mul(w2_mask, w2)
    y = Conv(b, n)
}"""


def masked(**changed: Array) -> dict[str, Array]:
    ones = np.ones((4, 1, 1, 1), np.float32)
    weights = {
        "w1": normal(4, 3, 1, 1),
        "w1_mask": zeroed(ones, 0, 1, 3),
        "b1": zeroed(normal(4), 0, 1, 3),
        "w2": normal(5, 4, 1, 1),
        "w2_mask": zeroed(np.ones((5, 4, 1, 1), np.float32), 1, 1, 3),
    }
    return {**weights, **changed}


def test_masks_of_ones_are_dropped():
    result = shrink(MASKED, **masked())
    assert ops(result.graph) == ["Conv", "Relu", "Conv"]
    assert shapes(result) == {"w1": [2, 3, 1, 1], "b1": [2], "w2": [5, 2, 1, 1]}


def test_masks_of_more_than_channels_are_cut():
    mask = zeroed(np.ones((5, 4, 1, 1), np.float32), 1, 1, 3)
    mask[0, 0] = 0
    result = shrink(MASKED, **masked(w2_mask=mask))
    assert ops(result.graph) == ["Conv", "Relu", "Mul", "Conv"]
    assert shapes(result)["w2_mask"] == [5, 2, 1, 1]
    assert value(result, "w2_mask").sum() == 9


def test_float16():
    weights = {k: v.astype(np.float16) for k, v in plain().items()}
    weights["w2"] = zeroed(weights["w2"], 1, 1, 2)
    result = shrink(PLAIN.replace("float[", "float16["), **weights)
    assert shapes(result)["w1"] == [2, 3, 3, 3]
    assert value(result, "w1").dtype == np.float16


def test_shared_weights_stay_shared():
    result = shrink(
        """g (float[N, 3, 8, 8] x) => (float[] y, float[] z) {
            a = Conv(x, w1)
            b = Conv(x, w2)
            y = Conv(a, w)
            z = Conv(b, w)
        }""",
        w1=normal(4, 3, 1, 1),
        w2=normal(4, 3, 1, 1),
        w=zeroed(normal(5, 4, 1, 1), 1, 2),
    )
    assert shapes(result) == {"w1": [3, 3, 1, 1], "w2": [3, 3, 1, 1], "w": [5, 3, 1, 1]}
    shared = [n.inputs[1] for n in result.graph.nodes if n.inputs[1].name == "w"]
    assert shared[0] is shared[1]


def test_a_layer_inside_an_if_keeps_what_it_captures():
    text = """g (float[2, 3, 4, 4] x, bool c) => (float[] y) {
        a = Conv(x, w1)
        y = If(c) <
            then_branch = t () => (float[2, 5, 4, 4] p) { p = Conv(a, w2) },
            else_branch = e () => (float[2, 5, 4, 4] q) { q = Conv(a, w3) }
        >
    }"""
    weights = {
        "w1": normal(4, 3, 1, 1),
        "w2": zeroed(normal(5, 4, 1, 1), 1, 1),
        "w3": zeroed(normal(5, 4, 1, 1), 1, 1),
    }
    graph = graph_of(text, weights)
    assert run_pass(graph, PASS).edits == 0


def test_an_initializer_that_is_an_input_is_not_constant():
    model = planish.to_model(graph_of(PLAIN, plain(w2=zeroed(normal(5, 4, 3, 3), 1, 1))))
    weight = next(t for t in model.graph.initializer if t.name == "w2")
    model.graph.input.append(
        planish.to_model(
            graph_of("g (float[5, 4, 3, 3] w2) => (float[] y) { y = Relu(w2) }")
        ).graph.input[0]
    )
    assert weight.name == "w2"
    assert run_pass(planish.load(model), PASS).edits == 0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("b = Softmax<axis = 1>(a)", "'n1' (Softmax) runs over channels"),
        ("b = Reshape(a, target)", None),
    ],
)
def test_channels_that_must_stay(body, reason):
    graph = graph_of(
        f"""g (float[2, 3, 4, 4] x) => (float[] y) {{
            a = Conv(x, w1, b1)
            {body}
            y = Conv(b, w2)
        }}""",
        {
            "w1": zeroed(normal(4, 3, 1, 1), 0, 1),
            "b1": normal(4),
            "target": np.array([2, 2, 8, 4]),
            "w2": normal(5, 4 if reason else 2, 1, 1),
        },
    )
    for number, node in enumerate(graph.nodes):
        node.name = f"n{number}"
    result = run_pass(graph, PASS)
    assert result.edits == 0
    if reason is not None:
        assert reasons(result) == {reason}


def test_excluded_layers_keep_their_channels():
    weights = plain(w2=zeroed(normal(5, 4, 3, 3), 1, 1))
    graph = graph_of(PLAIN, weights)
    assert run_pass(graph, "shrink-channels{measure=false,exclude=a}").edits == 0
    with pytest.raises(PlanishError, match="exclude names the node 'aa', which the graph does not"):
        run_pass(graph, "shrink-channels{measure=false,exclude=aa}")


@pytest.mark.parametrize(("multiple", "left"), [(1, 5), (2, 6), (4, 8), (8, 8), (16, 10)])
def test_channels_are_rounded_up(multiple, left):
    result = shrink(
        """g (float[N, 3, 8, 8] x) => (float[] y) {
            a = Conv(x, w1)
            y = Conv(a, w2)
        }""",
        f"shrink-channels{{measure=false,multiple={multiple}}}",
        w1=normal(10, 3, 1, 1),
        w2=zeroed(normal(5, 10, 1, 1), 1, 0, 2, 4, 6, 8),
    )
    assert shapes(result)["w1"] == [left, 3, 1, 1]


def test_a_negative_multiple_is_refused():
    with pytest.raises(PlanishError, match="multiple is -1; give 0"):
        planish.Pipeline.parse("shrink-channels{multiple=-1}")


@pytest.mark.parametrize("limit", [0, 1, 2])
def test_edits_are_counted_and_limited(limit):
    graph = graph_of(
        """g (float[N, 3, 8, 8] x) => (float[] y) {
            a = Conv(x, w1)
            b = Conv(a, w2)
            y = Conv(b, w3)
        }""",
        {
            "w1": normal(4, 3, 1, 1),
            "w2": zeroed(normal(6, 4, 1, 1), 1, 1),
            "w3": zeroed(normal(5, 6, 1, 1), 1, 2),
        },
    )
    result = planish.Pipeline.parse(PASS).run(graph, verify="each", limit=limit)
    assert result.edits == limit
    made = [[4, 6], [3, 6], [3, 5]][limit]
    assert [n.inputs[1].shape[0] for n in result.graph.nodes[:2]] == made


class Watch:
    """Says how long graphs take by the channels of their first layer."""

    def __init__(self, seconds: dict[int, float]) -> None:
        self.seconds = seconds

    def __call__(self, graphs, feed, target, *, seconds, seed):
        assert feed["x"].shape == (1, 3, 64, 64)
        return [self.seconds[next(iter(g.nodes)).inputs[1].shape[0]] for g in graphs]


@pytest.mark.parametrize(
    ("seconds", "left", "remark"),
    [
        # Fewest channels are fastest.
        ({40: 1.0, 21: 0.5, 24: 0.6, 32: 0.7}, 21, "2.00 times as fast on fake; multiple=1"),
        # Full vectors are.
        ({40: 1.0, 21: 1.1, 24: 0.8, 32: 0.9}, 24, "1.25 times as fast on fake; multiple=8"),
        # As fast as the fastest, and fewer.
        ({40: 1.0, 21: 0.81, 24: 0.8, 32: 0.9}, 21, "1.23 times as fast on fake; multiple=1"),
        # None is.
        (
            {40: 1.0, 21: 1.2, 24: 1.1, 32: 1.3},
            40,
            "nothing is cut: the fastest cut takes 1.10 times as long on fake (multiple=8",
        ),
    ],
)
def test_what_is_fastest_is_taken(monkeypatch, seconds, left, remark):
    monkeypatch.setitem(stopwatch.STOPWATCHES, "fake", Watch(seconds))
    graph = graph_of(
        """g (float[1, 3, 64, 64] x) => (float[] y) {
            a = Conv(x, w1)
            y = Conv(a, w2)
        }""",
        {"w1": normal(40, 3, 1, 1), "w2": zeroed(normal(5, 40, 1, 1), 1, *range(19))},
    )
    pipeline = planish.Pipeline.parse("shrink-channels")
    result = pipeline.run(graph, verify="each", target="fake")
    assert result.graph.nodes[0].inputs[1].shape[0] == left
    (found,) = result.records[0].remarks
    assert found.startswith(remark)
    x = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    before, after = (run_ort(planish.to_model(g), {"x": x})["y"] for g in (graph, result.graph))
    assert np.allclose(before, after, atol=1e-5)


def test_a_known_value_inside_a_border_of_zeros_stays():
    result = shrink(
        """g (float[N, 3, 4, 4] x) => (float[] y) {
            a = Conv(x, w1, b1)
            b = Pad(a, pads)
            y = Conv(b, w2)
        }""",
        w1=zeroed(normal(4, 3, 1, 1), 0, 1),
        b1=normal(4),
        pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]),
        w2=normal(5, 4, 3, 3),
    )
    assert result.edits == 0


def test_a_known_value_is_put_into_a_scaled_bias():
    result = shrink(
        """g (float[N, 3] x) => (float[] y) {
            a = Gemm(x, w1, b1)
            y = Gemm<alpha = 0.5, beta = 4.0>(a, w2, b2)
        }""",
        w1=zeroed(normal(3, 4), 1, 1),
        b1=normal(4),
        w2=normal(4, 5),
        b2=normal(5),
    )
    assert shapes(result) == {"w1": [3, 3], "b1": [3], "w2": [3, 5], "b2": [5]}
    expected = normal(5) + 0.5 * normal(4)[1] * normal(4, 5)[1] / 4
    assert np.allclose(value(result, "b2"), expected, rtol=1e-5)


@pytest.mark.parametrize("computed", ["constants", "input"])
def test_pads_that_are_computed(computed):
    """From constants they are known; from an input nothing goes that they may spoil."""
    w, u = normal(6, 2, 3, 3), normal(3, 6, 3, 3)
    w[[1, 4]] = 0
    u[:, [1, 4]] = 0
    halves = {"a": np.array([0, 0, 1, 1]), "b": np.array([0, 0, 1, 1])}
    given = "" if computed == "constants" else ", int64[4] c"
    first = "a" if computed == "constants" else "c"
    graph = graph_of(
        f"""g (float[N, 2, 7, 7] x{given}) => (float[] y) {{
            p = Concat <axis = 0> ({first}, b) q = Conv(x, w) r = Pad(q, p) y = Conv(r, u) }}""",
        {"w": w, "u": u} | halves,
    )
    feed = {"x": normal(2, 2, 7, 7)}
    if computed == "input":
        feed["c"] = halves["a"]
    result = run_pass(graph, "shrink-channels{measure=false}", feeds=[feed])
    left = 4 if computed == "constants" else 6
    convolutions = [node for node in result.graph.nodes if node.op == "Conv"]
    assert [node.inputs[1].shape[0] for node in convolutions] == [left, 3]


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
