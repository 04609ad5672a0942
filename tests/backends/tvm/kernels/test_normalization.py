"""Layer, instance and group normalization against float64, where the mean is large as well."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.backends.tvm.instructions import make_runnable
from tests.helpers import Array, graph_of, relative_error

pytest.importorskip("tvm")

LAYER = "y = LayerNormalization <axis = {axis}, epsilon = 0.001> (x, s, b)"
INSTANCE = "y = InstanceNormalization <epsilon = 0.001> (x, s, b)"
GROUP = "y = GroupNormalization <num_groups = {groups}, epsilon = 0.001> (x, s, b)"


def normalized(x: Array, rows: tuple[int, ...], scale, shift) -> Array:
    """Return `x` seen as `rows`, the last axis to be normalized; parameters broadcast to `x`."""
    wide = x.astype(np.float64).reshape(rows)
    centred = wide - wide.mean(-1, keepdims=True)
    found = centred / np.sqrt(np.square(centred).mean(-1, keepdims=True) + np.float32(1e-3))
    return (found.reshape(x.shape) * scale + shift).astype(np.float32)


def check(text: str, shape, rows, broadcast, parameters, means, *, sizes="", target="cpu"):
    """Compare for numbers about each of `means`."""
    normal = np.random.default_rng(shape).standard_normal
    scale, shift = (normal(parameters).astype(np.float32) for _ in range(2))
    header = '<ir_version: 10, opset_import: ["" : 21]>'
    declared = sizes or ", ".join(map(str, shape))
    model = f"{header} g (float[{declared}] x) => (float[] y) {{ {text} }}"
    graph = graph_of(model, {"s": scale, "b": shift})
    compiled = planish.lower(graph, "tvm", target, 2)
    for mean in means:
        x = (normal(shape) + mean).astype(np.float32)
        found = compiled({"x": x})["y"]
        wanted = normalized(x, rows, *(p.reshape(broadcast) for p in (scale, shift)))
        assert found.shape == x.shape
        assert relative_error(wanted, found) <= 1e-6, mean


@pytest.mark.parametrize(("shape", "axis"), [((2, 3, 5, 7), -1), ((3, 41), 1), ((2, 6, 5, 7), 1)])
def test_layers(shape, axis) -> None:
    row = shape[axis:]
    rows = (*shape[: len(shape) - len(row)], -1)
    check(LAYER.format(axis=axis), shape, rows, row, row, (0, 1000, -30000))


@pytest.mark.parametrize("shape", [(2, 5, 33), (1, 3, 6, 7), (2, 4, 1, 1), (1, 3, 2, 3, 5)])
def test_instances(shape) -> None:
    ones = [1] * (len(shape) - 2)
    check(INSTANCE, shape, (*shape[:2], -1), (-1, *ones), shape[1:2], (0, 1000))


@pytest.mark.parametrize(("groups", "side"), [(1, 3), (2, 5), (3, 4), (6, 1)])
def test_groups(groups, side) -> None:
    shape = (2, 6, side, side)
    check(GROUP.format(groups=groups), shape, (2, groups, -1), (-1, 1, 1), (6,), (0, 1000))


def test_the_scales_of_groups_in_opset_18() -> None:
    shape = (2, 6, 3, 3)
    normal = np.random.default_rng(0).standard_normal
    scale, shift = (normal(2).astype(np.float32) for _ in range(2))
    x = normal(shape).astype(np.float32)
    header = '<ir_version: 10, opset_import: ["" : 18]>'
    node = GROUP.format(groups=2)
    text = f"{header} g (float[2, 6, 3, 3] x) => (float[] y) {{ {node} }}"
    found = planish.lower(graph_of(text, {"s": scale, "b": shift}), "tvm", threads=1)({"x": x})
    each = (np.repeat(p, 3).reshape(-1, 1, 1) for p in (scale, shift))
    assert relative_error(normalized(x, (2, 2, -1), *each), found["y"]) <= 1e-6


@pytest.mark.parametrize("isa", ["neon", "avx2", "avx512"])
def test_vectors_of_every_length(isa, monkeypatch) -> None:
    target = make_runnable(isa, monkeypatch)
    text = LAYER.format(axis=-1)
    check(text, (3, 77), (3, -1), (77,), (77,), (50,), sizes="N, 77", target=target)


@pytest.mark.parametrize("kind", ["layer", "instance", "group"])
def test_a_batch_that_is_not_known(kind) -> None:
    shape = (3, 4, 5, 2)
    cases = {
        "layer": (LAYER.format(axis=2), (3, 4, -1), (5, 2), (5, 2)),
        "instance": (INSTANCE, (3, 4, -1), (4, 1, 1), (4,)),
        "group": (GROUP.format(groups=2), (3, 2, -1), (4, 1, 1), (4,)),
    }
    text, rows, broadcast, parameters = cases[kind]
    check(text, shape, rows, broadcast, parameters, (7,), sizes="N, 4, 5, 2")


def test_no_shift_and_parameters_that_are_fed() -> None:
    text = """g (float[2, 9] x, float[9] s) => (float[] y, float[] z) {
        y = LayerNormalization <epsilon = 0.001> (x, s)
        z = LayerNormalization <epsilon = 0.001> (x, s, s)
    }"""
    x, s = (np.random.default_rng(n).standard_normal((2, 9)).astype(np.float32) for n in (1, 2))
    found = planish.lower(graph_of(text), "tvm", threads=1)({"x": x, "s": s[0]})
    assert relative_error(normalized(x, (2, -1), s[0], 0), found["y"]) <= 1e-6
    assert relative_error(normalized(x, (2, -1), s[0], s[0]), found["z"]) <= 1e-6
