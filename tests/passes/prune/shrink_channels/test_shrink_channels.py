"""Channels that nothing reads, or that say nothing, go; what has to stay does, and says why."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import Array, graph_of, ops, reasons, run_pass
from tests.passes.prune.shrink_channels.cases import (
    PASS,
    PLAIN,
    normal,
    plain,
    shapes,
    shrink,
    value,
    zeroed,
)


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
