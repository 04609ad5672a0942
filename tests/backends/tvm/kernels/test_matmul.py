"""Products of matrices against float64: sizes that fill no tile, batches, unknown rows."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.backends.tvm.instructions import make_runnable
from tests.helpers import graph_of, relative_error

pytest.importorskip("tvm")


def check(left, right, *, sizes="", fed=False, target="cpu", rows=()) -> None:
    """Compare the product of random matrices, with each of `rows` in place of the first size."""
    normal = np.random.default_rng([*left, *right]).standard_normal
    w = np.abs(normal(right)).astype(np.float32)  # nothing cancels
    declared = sizes or ", ".join(map(str, left))
    inputs = f"float[{declared}] x"
    inputs += f", float[{', '.join(map(str, right))}] w" if fed else ""
    # What comes before and after is not the product's own.
    text = f"g ({inputs}) => (float[] y) {{ a = Abs(x) m = MatMul(a, w) y = Neg(m) }}"
    graph = graph_of(text, {} if fed else {"w": w})
    compiled = planish.lower(graph, "tvm", target, 2)
    for shape in [(count, *left[1:]) for count in rows] or [left]:
        x = normal(shape).astype(np.float32)
        found = compiled({"x": x, **({"w": w} if fed else {})})["y"]
        wanted = -(np.abs(x.astype(np.float64)) @ w.astype(np.float64))
        assert relative_error(wanted.astype(np.float32), found) <= 1e-6


@pytest.mark.parametrize("rows", [1, 5, 6, 13])
def test_rows_and_columns_that_fill_no_tile(rows) -> None:
    """One network for each number of rows, with a product for each number of columns."""
    columns = (1, 7, 8, 16, 17, 43)
    normal = np.random.default_rng(rows).standard_normal
    x = normal((rows, 9)).astype(np.float32)
    weights = {f"w{n}": np.abs(normal((9, n))).astype(np.float32) for n in columns}
    outputs = ", ".join(f"float[] y{n}" for n in columns)
    body = " ".join(f"m{n} = MatMul(a, w{n}) y{n} = Neg(m{n})" for n in columns)
    text = f"g (float[{rows}, 9] x) => ({outputs}) {{ a = Abs(x) {body} }}"
    found = planish.lower(graph_of(text, weights), "tvm", threads=2)({"x": x})
    for n in columns:
        wanted = -(np.abs(x.astype(np.float64)) @ weights[f"w{n}"].astype(np.float64))
        assert relative_error(wanted.astype(np.float32), found[f"y{n}"]) <= 1e-6, f"{n} columns"


@pytest.mark.parametrize("fed", [False, True])
@pytest.mark.parametrize(
    ("left", "right"),
    [((2, 3, 7, 5), (5, 19)), ((2, 3, 7, 5), (2, 3, 5, 19)), ((4, 1, 6), (4, 6, 33)),
     ((1, 2, 3, 4, 5), (1, 2, 3, 5, 2)), ((3, 2, 4), (1, 4, 5)), ((2, 4), (3, 4, 5)),
     ((2, 1), (1, 3))],
)  # fmt: skip
def test_batches(left, right, fed) -> None:
    check(left, right, fed=fed)


@pytest.mark.parametrize("fed", [False, True])
def test_rows_that_are_not_known(fed) -> None:
    check((1, 3, 8), (8, 21), sizes="N, 3, 8", fed=fed, rows=(1, 4, 11))
    check((1, 8), (8, 5), sizes="N, 8", fed=fed, rows=(1, 4, 11))


def test_a_batch_of_matrices_that_is_not_known() -> None:
    text = "g (float[N, 2, 7, 7] x, float[N, 2, 7, 7] w) => (float[] y) { y = MatMul(x, w) }"
    compiled = planish.lower(graph_of(text), "tvm", threads=2)
    for images in (1, 3):
        x, w = (np.random.default_rng(n).random((images, 2, 7, 7), np.float32) for n in (1, 2))
        found = compiled({"x": x, "w": w})["y"]
        wanted = x.astype(np.float64) @ w.astype(np.float64)
        assert relative_error(wanted.astype(np.float32), found) <= 1e-6


@pytest.mark.parametrize("isa", ["neon", "avx2", "avx512"])
def test_vectors_of_every_length(isa, monkeypatch) -> None:
    check((2, 27, 10), (10, 75), target=make_runnable(isa, monkeypatch))


def test_a_matrix_that_several_products_share() -> None:
    x, w = (np.random.default_rng(n).standard_normal((6, 6)).astype(np.float32) for n in (1, 2))
    text = "g (float[6, 6] x) => (float[] y) { a = MatMul(x, w) y = MatMul(a, w) }"
    found = planish.lower(graph_of(text, {"w": w}), "tvm", threads=1)({"x": x})["y"]
    wanted = x.astype(np.float64) @ w.astype(np.float64) @ w.astype(np.float64)
    assert relative_error(wanted.astype(np.float32), found) <= 1e-6
