"""Dropout and BatchNormalization while a network trains, as every opset says so."""

from __future__ import annotations

import numpy as np
import pytest

from planish.ir.core.decline import DeclinedError
from planish.ir.ops.training import drops_at_random, need_inference

from tests.helpers import graph_of, view_of


def opened(body, opset, weights=None, results="float[] y", inputs="float[2, 3, 4] x"):
    """Return the first node of the graph and the view of it."""
    graph = graph_of(
        f'<ir_version: 8, opset_import: ["" : {opset}]> g ({inputs}) => ({results}) {{ {body} }}',
        weights,
    )
    return graph.nodes[0], view_of(graph)


STATISTICS = {name: np.ones(3, np.float32) for name in ("s", "b", "m", "v")}


@pytest.mark.parametrize(
    ("opset", "body", "reason"),
    [
        (6, "y = Dropout (x)", "it is in training mode"),
        (6, "y = Dropout <is_test = 1> (x)", None),
        (7, "y = Dropout (x)", None),
        (13, "y = Dropout (x, ratio, yes)", "it is in training mode"),
        (13, "y = Dropout (x, ratio, no)", None),
        (13, "y = Dropout (x, ratio)", None),
        (6, "y = BatchNormalization (x, s, b, m, v)", "it is in training mode"),
        (6, "y = BatchNormalization <is_test = 1> (x, s, b, m, v)", None),
        (9, "y = BatchNormalization (x, s, b, m, v)", None),
        (9, "y, n, w = BatchNormalization (x, s, b, m, v)",
         "more outputs than one put it in training mode"),
        (15, "y = BatchNormalization <training_mode = 1> (x, s, b, m, v)",
         "it is in training mode"),
        (15, "y, n, w = BatchNormalization (x, s, b, m, v)", None),
    ],
)  # fmt: skip
def test_what_trains(opset, body, reason):
    weights = {
        "ratio": np.float32(0.5),
        "yes": np.array(True),
        "no": np.array(False),
        **STATISTICS,
    }
    used = {n: v for n, v in weights.items() if f", {n}," in body or f", {n})" in body}
    node, view = opened(body, opset, used)
    if reason is None:
        need_inference(node, view)
    else:
        with pytest.raises(DeclinedError, match=f"^{reason}$"):
            need_inference(node, view)
    if node.op == "Dropout":
        assert drops_at_random(node, view) == (reason is not None)


@pytest.mark.parametrize(
    ("opset", "attributes", "outputs", "more", "reason"),
    [
        (7, "spatial = 0", "y", "", "its statistics are per element (spatial=0)"),
        (7, "spatial = 1", "y", "", None),
        (9, "", "y, n", "", "more outputs than one put it in training mode"),
        (9, "", "y, , n", "", "more outputs than one put it in training mode"),
        (14, "", "y, n, v2", "", None),
        (14, "", "y, n, v2", "z = Relu(n)", "its running statistics are read"),
        (14, "", "y, n, z", "", "its running statistics are read"),
        (14, "", "y, z, v2", "", "its running statistics are read"),
        (14, "training_mode = 0", "y, n, v2", "", None),
    ],
)
def test_statistics_that_are_asked_for(opset, attributes, outputs, more, reason):
    attributes = attributes and f"<{attributes}>"
    body = f"{outputs} = BatchNormalization {attributes} (x, s, b, m, v) {more}"
    shown = "float[] y, float[] z" if "z" in f"{outputs} {more}" else "float[] y"
    node, view = opened(body, opset, STATISTICS, shown)
    if reason is None:
        need_inference(node, view)
        return
    with pytest.raises(DeclinedError) as declined:
        need_inference(node, view)
    assert str(declined.value) == reason


def test_a_mode_that_is_computed_may_be_any():
    node, view = opened("y = Dropout (x, r, t)", 13, inputs="float[2] x, float r, bool t")
    assert drops_at_random(node, view)
    assert not drops_at_random(node, view, lambda tensor: np.array(False))
    assert drops_at_random(node, view, lambda tensor: np.array(True))
    with pytest.raises(DeclinedError, match=r"^it is in training mode$"):
        need_inference(node, view)
