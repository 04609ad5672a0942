"""What counts as a masked weight, in a graph as it was made, saved and loaded."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest

import planish
from planish.ir.ops.masks import is_mask, mask_name, read_masked

from tests.helpers import graph_of

WEIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)
ROWS = np.array([[1], [0]], np.float32)


def product(factors, weights):
    """Return the Mul of a graph that multiplies two constants."""
    graph = graph_of(
        f"g (float[1, 2] x) => (float[1, 3] y) {{ p = Mul({factors}) y = MatMul(x, p) }}", weights
    )
    return graph, graph.nodes[0]


@pytest.mark.parametrize("factors", ["w, w_mask", "w_mask, w"])
def test_weight_and_mask_are_told_apart_by_name(factors):
    _, node = product(factors, {"w": WEIGHT, "w_mask": ROWS})
    masked = read_masked(node)
    assert (masked.node, masked.weight.name, masked.mask.name) == (node, "w", "w_mask")
    np.testing.assert_array_equal(masked.values(), [[0, 1, 2], [0, 0, 0]])
    assert masked.values().dtype == np.float32


def test_the_product_has_the_type_of_the_weight():
    held = [gs.Constant("w", WEIGHT.astype(np.float16)), gs.Constant("w_mask", ROWS)]
    held[1].values = ROWS.astype(np.float16)
    assert read_masked(gs.Node("Mul", inputs=held)).values().dtype == np.float16


def test_a_mask_of_a_mask_is_no_masked_weight():
    held = [gs.Constant(name, ROWS) for name in ("a_mask", "b_mask")]
    assert read_masked(gs.Node("Mul", inputs=held)) is None


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        ("w_scale", ROWS),
        ("w_mask", ROWS * 0.5),
        ("w_mask", -ROWS),
        ("w_mask", np.ones((2, 1), np.float64)),
        ("w_mask", np.ones((4, 2, 3), np.float32)),
        ("w_mask", np.ones((1, 2, 3), np.float32)),
        ("w_masked", ROWS),
    ],
    ids=["name", "values", "negative", "type", "larger", "rank", "suffix"],
)
def test_no_other_product_is_a_masked_weight(name, mask):
    weights = {"w": WEIGHT.astype(mask.dtype), name: mask}
    if mask.dtype == np.float64:
        weights["w"] = WEIGHT
        node = gs.Node("Mul", inputs=[gs.Constant(k, v) for k, v in weights.items()])
    else:
        model = {k: gs.Constant(k, v) for k, v in weights.items()}
        node = gs.Node("Mul", inputs=list(model.values()))
    assert read_masked(node) is None


def test_another_operator_and_another_domain_are_no_product():
    held = [gs.Constant("w", WEIGHT), gs.Constant("w_mask", ROWS)]
    assert read_masked(gs.Node("Add", inputs=held)) is None
    assert read_masked(gs.Node("Mul", inputs=held, domain="com.example")) is None
    assert read_masked(gs.Node("Mul", inputs=[gs.Variable("x"), held[1]])) is None
    assert read_masked(gs.Node("Mul", inputs=held)) is not None


@pytest.mark.parametrize(
    ("name", "holds"), [("w_mask", True), ("w_mask_12", True), ("w_mask_x", False), ("mask", False)]
)
def test_a_number_behind_the_name_is_allowed(name, holds):
    assert is_mask(gs.Constant(name, ROWS)) is holds


def test_the_name_of_a_mask_follows_its_weight():
    assert mask_name("conv1.weight") == "conv1.weight_mask"
    assert is_mask(gs.Constant(mask_name("conv1.weight"), ROWS))


def test_a_saved_graph_is_masked_when_it_is_loaded(tmp_path):
    graph, _ = product("w, w_mask", {"w": WEIGHT, "w_mask": ROWS})
    planish.save(graph, tmp_path / "masked.onnx")
    again = planish.load(tmp_path / "masked.onnx")
    masked = [read_masked(node) for node in again.nodes if node.op == "Mul"]
    assert [m.weight.name for m in masked] == ["w"]
    np.testing.assert_array_equal(masked[0].mask.values, ROWS)
