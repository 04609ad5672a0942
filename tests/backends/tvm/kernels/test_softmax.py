"""Softmax along the last axes against float64, masks and what is no number included."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.backends.tvm.instructions import make_runnable
from tests.helpers import Array, graph_of, model_of, relative_error, run_ort

pytest.importorskip("tvm")


def softmax(x: Array) -> Array:
    powers = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    return (powers / powers.sum(-1, keepdims=True)).astype(np.float32)


def lowered(sizes: str, *, opset: int = 17, axis: int = -1, target: str = "cpu"):
    header = f'<ir_version: 8, opset_import: ["" : {opset}]>'
    text = f"{header} g (float[{sizes}] x) => (float[] y) {{ y = Softmax <axis = {axis}> (x) }}"
    return planish.lower(graph_of(text), "tvm", target, 2)


@pytest.mark.parametrize("length", [1, 3, 8, 31, 32, 33, 75])
def test_rows_of_any_length(length) -> None:
    x = np.random.default_rng(length).standard_normal((5, 2, length)).astype(np.float32) * 20
    found = lowered(f"5, N, {length}")({"x": x})["y"]
    assert relative_error(softmax(x), found) <= 1e-6


@pytest.mark.parametrize("isa", ["neon", "avx2", "avx512"])
def test_vectors_of_every_length(isa, monkeypatch) -> None:
    x = np.random.default_rng(1).standard_normal((4, 77)).astype(np.float32)
    found = lowered("4, 77", target=make_runnable(isa, monkeypatch))({"x": x})["y"]
    assert relative_error(softmax(x), found) <= 1e-6


def test_axes_are_one_before_opset_13() -> None:
    x = np.random.default_rng(1).standard_normal((2, 3, 7)).astype(np.float32)
    found = lowered("2, 3, 7", opset=11, axis=1)({"x": x})["y"]
    assert relative_error(softmax(x.reshape(2, 21)).reshape(2, 3, 7), found) <= 1e-6


def test_masks_and_what_is_no_number() -> None:
    x = np.random.default_rng(1).standard_normal((6, 40)).astype(np.float32)
    x[0, 3:] = -np.inf
    x[1] = -np.inf
    x[2, 5] = np.inf
    x[3, 39] = np.nan
    x[4] = -3e38
    x[5, :] = 1e38
    text = "g (float[6, 40] x) => (float[] y) { y = Softmax(x) }"
    wanted = run_ort(model_of(text), {"x": x})["y"]
    found = lowered("6, 40")({"x": x})["y"]
    assert np.array_equal(np.isnan(wanted), np.isnan(found))
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-30)
