"""Sums along axes, against float64: of any length, along any axes, in any vectors."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import planish

from tests.backends.tvm.instructions import make_runnable
from tests.helpers import Array, graph_of

pytest.importorskip("tvm")

SUMS: dict[str, Callable[..., Array]] = {
    "ReduceL1": lambda x, **along: np.abs(x).sum(**along),
    "ReduceL2": lambda x, **along: np.sqrt(np.square(x).sum(**along)),
    "ReduceLogSum": lambda x, **along: np.log(x.sum(**along)),
    "ReduceMean": np.mean,
    "ReduceSum": np.sum,
    "ReduceSumSquare": lambda x, **along: np.square(x).sum(**along),
}


def lowered(op: str, sizes: str, axes: tuple[int, ...], *, keepdims: int = 1, target: str = "cpu"):
    wanted = f"axes = {list(axes)}, keepdims = {keepdims}"
    header = '<ir_version: 8, opset_import: ["" : 11]>'
    text = f"{header} g (float[{sizes}] x) => (float[] y) {{ y = {op} <{wanted}> (x) }}"
    return planish.lower(graph_of(text), "tvm", target, 2)


def check(op: str, shape: tuple[int, ...], axes: tuple[int, ...], sizes: str = "", **given) -> None:
    x = np.random.default_rng(shape).uniform(0.1, 1, shape).astype(np.float32)
    if op != "ReduceLogSum":
        x[..., ::3] *= -0.5
    found = lowered(op, sizes or ", ".join(map(str, shape)), axes, **given)({"x": x})["y"]
    keep = bool(given.get("keepdims", 1))
    expected = SUMS[op](x.astype(np.float64), axis=axes, keepdims=keep)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 5e-7 * max(1.0, np.abs(expected).max())


@pytest.mark.parametrize("op", SUMS)
def test_along_the_last_axis_and_along_others(op) -> None:
    check(op, (3, 75), (1,))
    check(op, (3, 21, 5), (1,), keepdims=0)


@pytest.mark.parametrize("shape", [(7,), (64,), (129,), (3, 1, 2), (2, 4, 1), (2, 600, 37)])
def test_any_length(shape) -> None:
    check("ReduceSum", shape, (len(shape) // 2,))


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 2), (1, 3), (0, 3), (1, 2)])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_several_axes(axes, keepdims) -> None:
    check("ReduceMean", (3, 4, 5, 6), axes, keepdims=keepdims)


@pytest.mark.parametrize("axes", [(0, 3), (0, 2), (1, 3), (0, 1, 3)])
def test_several_axes_of_which_some_have_one_element(axes) -> None:
    for op in ("ReduceMean", "ReduceL2", "ReduceLogSum"):
        check(op, (1, 3, 1, 4), axes)


def test_an_unknown_number_of_rows() -> None:
    check("ReduceL2", (5, 4, 6), (1,), "N, 4, 6")
    check("ReduceL1", (5, 4, 6), (1, 2), "N, 4, 6", keepdims=0)


@pytest.mark.parametrize("isa", ["neon", "avx2"])
def test_vectors_of_every_length(isa, monkeypatch) -> None:
    target = make_runnable(isa, monkeypatch)
    check("ReduceSumSquare", (2, 70), (1,), target=target)
    check("ReduceSum", (2, 9, 18), (1,), target=target)


@pytest.mark.parametrize(("shape", "axis"), [((1, 400_000), 1), ((1, 60_000, 5), 1)])
def test_a_long_sum_of_one_sign_keeps_its_places(shape, axis) -> None:
    """One by one, in float32, a tenth added often enough drifts by more than a thousandth."""
    x = np.full(shape, 0.1, np.float32)
    found = lowered("ReduceSum", ", ".join(map(str, shape)), (axis,))({"x": x})["y"]
    exact = shape[axis] * float(np.float32(0.1))
    assert np.abs(found / exact - 1).max() <= 1e-5
