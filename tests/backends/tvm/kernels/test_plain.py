"""Element-wise operators on tensors as ONNX has them, on their own and behind a product."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.helpers import model_of, relative_error, run_ort

pytest.importorskip("tvm")

# What broadcasts to [n, 5, 3, 37] in every way: by one axis, by some, by none.
OPERANDS = [(37,), (3, 1), (5, 1, 1), (5, 1, 37), (1, 5, 3, 37), (1, 1, 3, 1), (1, 1, 1, 1)]


def normal(*shape: int):
    return np.random.default_rng(shape).standard_normal(shape).astype(np.float32)


def check(text: str, weights, feeds, *, alone: str) -> None:
    """Compare with ONNX Runtime; `alone`: the kernel that gives each of the results."""
    model = model_of(text, weights)
    compiled = planish.lower(planish.load(model), "tvm", threads=2, optimize=False)
    for each in feeds:
        for name, expected in run_ort(model, each).items():
            found = compiled(each)[name]
            assert found.shape == expected.shape
            assert relative_error(expected, found) <= 2e-6, name
    for output in model.graph.output:
        (kernel,) = compiled.kernels_of(output.name)
        assert alone in kernel


def nodes_for(shapes, first: str) -> str:
    """Return one product for each of `shapes`, with a bias of it and SiLU behind; y0, y1, ..."""
    return " ".join(
        f"{first.format(i)} a{i} = Add (m{i}, b{i}) s{i} = Sigmoid (a{i}) y{i} = Mul (a{i}, s{i})"
        for i in range(len(shapes))
    )


def outputs_for(shapes) -> str:
    return ", ".join(f"float[] y{i}" for i in range(len(shapes)))


@pytest.mark.parametrize("given", [False, True], ids=["constant", "fed"])
@pytest.mark.parametrize("batch", ["n", "2"])
def test_operands_broadcast(batch, given) -> None:
    """One chain reads all of them, which takes as many axes as there are."""
    values = {f"c{i}": normal(*shape) for i, shape in enumerate(OPERANDS)}
    steps = " ".join(
        f"t{i + 1} = {'Add' if i % 2 else 'Mul'} (t{i}, c{i})" for i in range(len(OPERANDS))
    )
    inputs = [f"float{list(v.shape)} {name}" for name, v in values.items()] if given else []
    declared = ", ".join([f"float[{batch}, 5, 3, 37] x", *inputs])
    text = (
        f"g ({declared}) => (float[] y) {{ t0 = Tanh (x) {steps} "
        f"s = Sigmoid (t{len(OPERANDS)}) y = Mul (t{len(OPERANDS)}, s) }}"
    )
    fed = values if given else {}
    sizes = (1, 2, 3) if batch == "n" else (2,)
    feeds = [{"x": normal(size, 5, 3, 37), **fed} for size in sizes]
    check(text, {} if given else values, feeds, alone="elementwise")


@pytest.mark.parametrize("shape", ["5000", "2, 4500", "n, 4801", "n", "1, 1, 1", "n, 3"])
def test_rows_of_every_length(shape) -> None:
    """Long ones are cut where they can be, and short ones are no vector."""
    text = f"g (float[{shape}] x) => (float[] y) {{ a = Abs (x) y = Sqrt (a) }}"
    sizes = [tuple(n if s == "n" else int(s) for s in shape.split(", ")) for n in (1, 3)]
    check(text, {}, [{"x": normal(*size)} for size in sizes], alone="elementwise")


def test_what_has_none_of_the_sizes_of_the_result() -> None:
    text = "g (float[3, 1, 37] x, float[5, 1] z) => (float[] y) { a = Sub (x, z) y = Relu (a) }"
    check(text, {}, [{"x": normal(3, 1, 37), "z": normal(5, 1)}], alone="elementwise")


@pytest.mark.parametrize("rows", ["n", "3"])
def test_what_follows_a_product_of_rows(rows) -> None:
    """Columns have an operand each, or the rows of an image have."""
    shapes = [(43,), (1, 43), (17, 1), (17, 43), (1, 17, 43)]
    weights = {f"b{i}": normal(*shape) for i, shape in enumerate(shapes)}
    text = (
        f"g (float[{rows}, 17, 9] x) => ({outputs_for(shapes)}) "
        f"{{ {nodes_for(shapes, 'm{0} = MatMul (x, w)')} }}"
    )
    feeds = [{"x": normal(count, 17, 9)} for count in ((1, 3) if rows == "n" else (3,))]
    check(text, {"w": normal(9, 43), **weights}, feeds, alone="matmul")


def test_what_follows_a_product_of_images() -> None:
    """Heads of an attention have a bias each, which all images share."""
    shapes = [(19,), (5, 1), (5, 19), (4, 1, 19), (4, 5, 19), (2, 4, 5, 19)]
    weights = {f"b{i}": normal(*shape) for i, shape in enumerate(shapes)}
    text = (
        f"g (float[2, 4, 5, 6] x, float[2, 4, 6, 19] w) => ({outputs_for(shapes)}) "
        f"{{ {nodes_for(shapes, 'm{0} = MatMul (x, w)')} }}"
    )
    check(text, weights, [{"x": normal(2, 4, 5, 6), "w": normal(2, 4, 6, 19)}], alone="matmul")


def test_what_follows_and_has_an_index_of_its_own() -> None:
    """An operand of each image but not of each row is read by a kernel behind the product."""
    text = (
        "g (float[n, 17, 9] x, float[n, 1, 43] b) => (float[] y) "
        "{ m = MatMul (x, w) a = Add (m, b) y = Relu (a) }"
    )
    feeds = [{"x": normal(n, 17, 9), "b": normal(n, 1, 43)} for n in (1, 3)]
    check(text, {"w": normal(9, 43)}, feeds, alone="elementwise")


def test_a_product_that_is_read_again() -> None:
    text = (
        "g (float[3, 17, 9] x) => (float[] y, float[] m) { m = MatMul (x, w) a = Add (m, b) "
        "s = Sigmoid (m) y = Mul (a, s) }"
    )
    check(text, {"w": normal(9, 43), "b": normal(43)}, [{"x": normal(3, 17, 9)}], alone="")


def test_rows_of_an_unknown_number_fill_tiles_and_parts_of_them() -> None:
    feeds = [{"x": normal(rows, 1, 9)} for rows in (1, 13, 15, 29, 225, 241)]
    text = "g (float[n, 1, 9] x) => (float[] y) { m = MatMul (x, w) y = Add (m, b) }"
    check(text, {"w": normal(9, 35), "b": normal(35)}, feeds, alone="matmul")
