"""Groups of channels that can only go together, pattern by pattern."""

from __future__ import annotations

import numpy as np
import pytest

from planish.passes.analysis.channels.find_groups import channel_groups
from planish.passes.analysis.channels.group import ChannelGroup

from tests.helpers import Array, graph_of


def normal(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def groups(text: str, **weights: Array) -> list[ChannelGroup]:
    return channel_groups(graph_of(text, weights))


def by_name(found: list[ChannelGroup], maker: str) -> list[ChannelGroup]:
    """Return the groups of which the constant `maker` makes channels, first channel first."""
    own = [g for g in found if any(s.constant.name == maker for s in g.makers)]
    return sorted(own, key=lambda g: min(s.index.min() for s in g.makers))


def roles(group: ChannelGroup) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for slot in group.slots:
        found.setdefault(slot.role, set()).add(slot.constant.name)
    return found


BN = "BatchNormalization"


def test_chain_of_layers():
    found = groups(
        f"""g (float[N, 3, 8, 8] x) => (float[] y) {{
            a = Conv(x, w1, b1)
            b = {BN}(a, s, t, m, v)
            c = Relu(b)
            y = Conv(c, w2)
        }}""",
        w1=normal(4, 3, 1, 1),
        b1=normal(4),
        s=normal(4),
        t=normal(4),
        m=normal(4),
        v=np.ones(4, np.float32),
        w2=normal(5, 4, 1, 1),
    )
    first, last = found
    assert (first.channels, first.reason) == (4, None)
    assert roles(first) == {
        "makes": {"w1"},
        "bias": {"b1"},
        "scales": {"s"},
        "shifts": {"t"},
        "follows": {"m", "v"},
        "reads": {"w2"},
    }
    assert [c.tensor.name for c in first.carriers] == ["a", "b", "c"]
    assert [c.axis for c in first.carriers] == [1, 1, 1]
    assert (last.channels, last.reason) == (5, "its output is a graph output")


def test_residual_stage_is_one_group():
    found = groups(
        """g (float[N, 3, 8, 8] x) => (float[] y) {
            a = Conv(x, w1)
            b = Conv(a, w2)
            c = Relu(b)
            d = Conv(c, w3)
            e = Add(a, d)
            y = Conv(e, w4)
        }""",
        w1=normal(4, 3, 1, 1),
        w2=normal(6, 4, 1, 1),
        w3=normal(4, 6, 1, 1),
        w4=normal(5, 4, 1, 1),
    )
    stage, inner, _ = found
    assert roles(stage) == {"makes": {"w1", "w3"}, "reads": {"w2", "w4"}}
    assert roles(inner) == {"makes": {"w2"}, "reads": {"w3"}}


def test_concatenation_keeps_parts_apart():
    found = groups(
        """g (float[N, 3, 8, 8] x) => (float[] y) {
            a = Conv(x, w1)
            b = Conv(a, w2)
            c = Concat<axis = 1>(a, b)
            y = Conv(c, w3)
        }""",
        w1=normal(4, 3, 1, 1),
        w2=normal(6, 4, 1, 1),
        w3=normal(5, 10, 1, 1),
    )
    first, second, _ = found
    assert [(s.constant.name, s.index[:, 0].tolist()) for s in first.readers] == [
        ("w2", [0, 1, 2, 3]),
        ("w3", [0, 1, 2, 3]),
    ]
    assert [(s.constant.name, s.index[:, 0].tolist()) for s in second.readers] == [
        ("w3", [4, 5, 6, 7, 8, 9])
    ]


def test_split_makes_groups_of_one_layer():
    found = groups(
        """g (float[N, 3, 8, 8] x) => (float[] y, float[] z) {
            a = Conv(x, w1)
            b, c = Split<axis = 1>(a, sizes)
            y = Conv(b, w2)
            z = Conv(c, w3)
        }""",
        w1=normal(6, 3, 1, 1),
        sizes=np.array([2, 4]),
        w2=normal(5, 2, 1, 1),
        w3=normal(5, 4, 1, 1),
    )
    left, right = by_name(found, "w1")
    assert left.makers[0].index[:, 0].tolist() == [0, 1]
    assert right.makers[0].index[:, 0].tolist() == [2, 3, 4, 5]
    assert right.readers[0].index[:, 0].tolist() == [0, 1, 2, 3]


def test_depthwise_passes_channels_on():
    found = groups(
        """g (float[N, 3, 8, 8] x) => (float[] y) {
            a = Conv(x, w1)
            b = Conv<group = 4>(a, w2)
            y = Conv(b, w3)
        }""",
        w1=normal(4, 3, 1, 1),
        w2=normal(4, 1, 3, 3),
        w3=normal(5, 4, 1, 1),
    )
    assert roles(found[0]) == {"makes": {"w1"}, "carries": {"w2"}, "reads": {"w3"}}
    assert found[0].of_role("carries")[0].index.tolist() == [[0], [1], [2], [3]]


def test_flatten_gives_each_channel_its_positions():
    found = groups(
        """g (float[N, 3, 2, 2] x) => (float[] y) {
            a = Conv(x, w1)
            b = Flatten<axis = 1>(a)
            y = Gemm<transB = 1>(b, w2)
        }""",
        w1=normal(3, 3, 1, 1),
        w2=normal(5, 12),
    )
    assert found[0].readers[0].index.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    values = np.arange(60).reshape(5, 12)
    rows = found[0].readers[0].rows(values)
    assert sorted(rows[1].tolist()) == sorted(values[:, 4:8].ravel().tolist())


def test_grouped_convolution_is_balanced():
    found = groups(
        """g (float[N, 3, 8, 8] x) => (float[] y) {
            a = Conv(x, w1)
            b = Conv<group = 2>(a, w2)
            y = Conv(b, w3)
        }""",
        w1=normal(4, 3, 1, 1),
        w2=normal(6, 2, 1, 1),
        w3=normal(5, 6, 1, 1),
    )
    first, second, _ = found
    assert [b.tolist() for b in first.balance] == [[0, 0, 1, 1]]
    assert [b.tolist() for b in second.balance] == [[0, 0, 0, 1, 1, 1]]
    reads = first.readers[0]
    marked = reads.where(np.array([2]))
    expected = np.zeros((6, 2, 1, 1), bool)
    expected[3:, 0] = True
    assert (marked == expected).all()
    values = np.arange(12).reshape(6, 2, 1, 1)
    assert reads.rows(values).tolist() == [[0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9, 11]]


def test_squeeze_and_excite_is_tied_to_what_it_scales():
    found = groups(
        """g (float[N, 3, 8, 8] x) => (float[] y) {
            a = Conv(x, w1)
            p = GlobalAveragePool(a)
            q = Conv(p, w2)
            r = Relu(q)
            s = Conv(r, w3)
            t = Sigmoid(s)
            u = Mul(a, t)
            y = Conv(u, w4)
        }""",
        w1=normal(4, 3, 1, 1),
        w2=normal(2, 4, 1, 1),
        w3=normal(4, 2, 1, 1),
        w4=normal(5, 4, 1, 1),
    )
    assert roles(found[0]) == {"makes": {"w1", "w3"}, "reads": {"w2", "w4"}}


def test_depth_to_space_ties_what_becomes_one_channel():
    found = groups(
        """g (float[N, 3, 4, 4] x) => (float[] y) {
            a = Conv(x, w1)
            b = DepthToSpace<blocksize = 2>(a)
            y = Conv(b, w2)
        }""",
        w1=normal(8, 3, 1, 1),
        w2=normal(5, 2, 1, 1),
    )
    assert found[0].channels == 2
    assert found[0].makers[0].index.tolist() == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_shared_weights_tie_their_uses():
    found = groups(
        """g (float[N, 3, 8, 8] x) => (float[] y, float[] z) {
            a = Conv(x, w1)
            b = Conv(x, w2)
            y = Conv(a, w)
            z = Conv(b, w)
        }""",
        w1=normal(4, 3, 1, 1),
        w2=normal(4, 3, 1, 1),
        w=normal(5, 4, 1, 1),
    )
    assert roles(found[0])["makes"] == {"w1", "w2"}


def test_masked_weight_gives_weight_and_mask():
    found = groups(
        """g (float[N, 3, 8, 8] x) => (float[] y) {
            m = Mul(w1, w1_mask)
            a = Conv(x, m)
            y = Conv(a, w2)
        }""",
        w1=normal(4, 3, 1, 1),
        w1_mask=np.ones((4, 1, 1, 1), np.float32),
        w2=normal(5, 4, 1, 1),
    )
    (slot,) = found[0].makers
    assert (slot.constant.name, slot.mask.name) == ("w1", "w1_mask")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("b = Softmax<axis = 1>(a)", "'n1' (Softmax) runs over channels"),
        ("b = LRN<size = 3>(a)", "'n1' (LRN) runs over channels"),
        ("b = Mystery.Odd(a)", None),
        ("b = ReduceMean<keepdims = 1>(a, axis)", "'n1' (ReduceMean) reduces over channels"),
    ],
)
def test_operators_across_channels_hold_them(body, reason):
    graph = graph_of(
        f"""<ir_version: 10, opset_import: ["" : 20, "Mystery" : 1]>
        g (float[N, 3, 8, 8] x) => (float[] y) {{
            a = Conv(x, w1)
            {body}
            y = Conv(b, w2)
        }}""",
        {"w1": normal(4, 3, 1, 1), "w2": normal(5, 4, 1, 1), "axis": np.array([1])},
    )
    for number, node in enumerate(graph.nodes):
        node.name = f"n{number}"
    expected = reason or "'n1' (Odd) reads it, of which nothing is known"
    assert channel_groups(graph)[0].reason == expected


def test_a_group_reads_as_text():
    found = groups(
        """g (float[N, 3, 8, 8] x) => (float[] y) {
            a = Conv(x, w1)
            y = Conv(a, w2)
        }""",
        w1=normal(4, 3, 1, 1),
        w2=normal(5, 4, 1, 1),
    )
    assert str(found[0]).splitlines() == [
        "a: 4 channels",
        "  made by      a (Conv: w1[4, 3, 1, 1] axis 0, 0:4)",
        "  read by      y (Conv: w2[5, 4, 1, 1] axis 1, 0:4)",
        "  tensors      a[0:4]",
    ]
    assert str(found[1]).startswith("y: 5 channels, none can go: its output is a graph output")


@pytest.mark.parametrize(
    ("body", "numbers"),
    [
        ("b = Pad(a, k)", [0, 1 << 31, 0, 0, 0, 0, 0, 0]),
        ("b = Tile(a, k)", [1, 1 << 31, 1, 1]),
    ],
)
def test_channels_beyond_number_are_not_followed(body, numbers):
    text = f"g (float[N, 3, 5, 5] x) => (float[] y) {{ a = Conv(x, w) {body} y = Relu(b) }}"
    (group,) = groups(text, w=normal(4, 3, 1, 1), k=np.array(numbers))
    assert group.reason is not None
    assert "more channels than can be followed" in group.reason
