"""Transposes around products of matrices, and rows of linear layers."""

from __future__ import annotations

import pytest

import planish

from tests.helpers import assert_same_function, model_of, ops, run_pass
from tests.passes.layout.eliminate_transposes.common import (
    PASS,
    X,
    ints,
    normal,
)


@pytest.mark.parametrize(
    "flat",
    [
        "f = Flatten(a)",
        "f = Reshape(a, keep)",
        "f = Reshape(a, rest)",
        "f = Flatten <axis = -3> (a)",
    ],
)
@pytest.mark.parametrize("layer", ["y = MatMul(f, w)", "y = Gemm <transB = 1> (f, v, d)"])
def test_rows_of_a_linear_layer_follow(flat, layer):
    body = f"{flat} {layer}"
    more = {
        "keep": ints(0, -1),
        "rest": ints(-1, 120),
        "w": normal(120, 3),
        "v": normal(3, 120),
        "d": normal(3),
    }
    import re

    model = model_of(
        f"""g (float[N, 4, 5, 6] x) => (float[] y) {{ p = MaxPool <kernel_shape = [1, 1]> (x)
            a = Transpose <perm = [0, 2, 3, 1]> (p) {body} }}""",
        {n: v for n, v in more.items() if re.search(rf"\b{n}\b", body)},
    )
    result = run_pass(planish.load(model), PASS)
    assert "Transpose" not in ops(result.graph)
    assert_same_function(model, result.graph, {"x": X})


def products(body, a, b, y, more=()):
    """Return a graph of two tensors, and the feeds that fill them."""
    feeds = {"a": normal(*a), "b": normal(*b)}
    shapes = [", ".join(map(str, each)) for each in (a, b)]
    text = f"""<ir_version: 8, opset_import: ["" : 17]>
        g (float[{shapes[0]}] a, float[{shapes[1]}] b) => (float[{", ".join("?" * y)}] y) {{
            {body} }}"""
    return model_of(text, dict(more)), feeds


SWAP = "<perm = [0, 1, 3, 2]>"


PRODUCTS = {
    "second and result": (
        f"t = Transpose {SWAP} (b) p = MatMul(a, t) y = Transpose {SWAP} (p)",
        (2, 3, 4, 5), (2, 3, 6, 5), 1),
    "first and result": (
        f"t = Transpose {SWAP} (a) p = MatMul(t, b) y = Transpose {SWAP} (p)",
        (2, 3, 5, 4), (2, 3, 5, 6), 1),
    "both": (
        f"t = Transpose {SWAP} (a) u = Transpose {SWAP} (b) y = MatMul(t, u)",
        (2, 3, 5, 4), (2, 3, 6, 5), 1),
    "all": (
        f"t = Transpose {SWAP} (a) u = Transpose {SWAP} (b) p = MatMul(t, u)"
        f" y = Transpose {SWAP} (p)",
        (2, 3, 5, 4), (2, 3, 6, 5), 0),
    "matrices": (
        "t = Transpose(a) u = Transpose(b) p = MatMul(t, u) y = Transpose(p)", (5, 4), (6, 5), 0),
    "batches": (
        "t = Transpose <perm = [1, 0, 2, 3]> (a) u = Transpose <perm = [1, 0, 2, 3]> (b)"
        " p = MatMul(t, u) y = Transpose <perm = [1, 0, 2, 3]> (p)",
        (3, 2, 4, 5), (3, 2, 5, 6), 0),
    "batches and matrices": (
        "t = Transpose <perm = [1, 0, 3, 2]> (a) u = Transpose <perm = [1, 0, 3, 2]> (b)"
        " p = MatMul(t, u) y = Transpose <perm = [1, 0, 3, 2]> (p)",
        (3, 2, 5, 4), (3, 2, 6, 5), 0),
    "one batch of many": (
        f"t = Transpose {SWAP} (a) u = Transpose {SWAP} (b) p = MatMul(t, u)"
        f" y = Transpose {SWAP} (p)",
        (1, 3, 5, 4), (2, 1, 6, 5), 0),
    "square of one tensor": (
        f"t = Transpose {SWAP} (a) p = MatMul(t, t) q = Transpose {SWAP} (p) y = Add(q, b)",
        (2, 3, 4, 4), (4,), 0),
}  # fmt: skip


@pytest.mark.parametrize(("body", "a", "b", "left"), PRODUCTS.values(), ids=PRODUCTS)
def test_a_product_transposed_is_that_of_its_transposed_operands_exchanged(body, a, b, left):
    model, feeds = products(body, a, b, max(len(a), len(b)))
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph).count("Transpose") == left
    assert_same_function(model, result.graph, feeds, 1e-6)


APART = {
    "rows and batches exchanged": (
        "t = Transpose <perm = [2, 1, 0, 3]> (a) p = MatMul(t, b)"
        " y = Transpose <perm = [2, 1, 0, 3]> (p)",
        (4, 3, 2, 5), (1, 1, 5, 6)),
    "other ranks": (
        f"t = Transpose {SWAP} (a) p = MatMul(t, b) y = Transpose {SWAP} (p)",
        (2, 3, 5, 4), (5, 6)),
    "a vector": ("t = Transpose(a) y = MatMul(b, t)", (4, 5), (5,)),
}  # fmt: skip


@pytest.mark.parametrize(("body", "a", "b"), APART.values(), ids=APART)
def test_a_product_keeps_its_layout_otherwise(body, a, b):
    model, feeds = products(body, a, b, 1 if len(b) == 1 else len(a))
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph) == [node.op_type for node in model.graph.node]
    assert_same_function(model, result.graph, feeds, 1e-6)


def test_weights_stay_the_second_operand():
    body = "t = Transpose(a) p = MatMul(t, w) q = Transpose(p) y = Add(q, b)"
    model, feeds = products(body, (5, 4), (4,), 2, {"w": normal(5, 6)})
    result = run_pass(planish.load(model), PASS)
    (product,) = (node for node in result.graph.nodes if node.op == "MatMul")
    assert product.inputs[1].name == "w"
    assert_same_function(model, result.graph, feeds, 1e-6)


def test_attention_over_channels_first_needs_two_transposes():
    body = f"""
        q = Transpose {SWAP} (a) s = MatMul(q, b) m = Softmax <axis = -1> (s)
        c = MaxPool <kernel_shape = [1, 1]> (b) v = Transpose {SWAP} (c)
        r = MatMul(m, v) o = Transpose {SWAP} (r) y = MaxPool <kernel_shape = [1, 1]> (o)"""
    model, feeds = products(body, (1, 2, 8, 9), (1, 2, 8, 9), 4)
    result = run_pass(planish.load(model), PASS)
    assert ops(result.graph).count("Transpose") == 2
    assert_same_function(model, result.graph, feeds, 1e-6)
