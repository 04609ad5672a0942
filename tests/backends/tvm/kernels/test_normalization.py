"""Layer, instance and group normalization against float64, where the mean is large as well."""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.backends.tvm.instructions import make_runnable
from tests.backends.tvm.quantized_net import MOST_DIFFERENT
from tests.helpers import Array, graph_of, model_using, relative_error, run_ort

pytest.importorskip("tvm")

from planish.backends.contract.prepare import prepare
from planish.backends.tvm.kernels.channel_normalization import ChannelNormalization
from planish.backends.tvm.kernels.pack import Pack
from planish.backends.tvm.kernels.repack import Repack
from planish.backends.tvm.program.emit_graph import BlockedEmitter
from planish.backends.tvm.program.lowering import lower_graph
from planish.backends.tvm.spec.machine import MACHINES

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


def images(channels: int, inside: str = ""):
    """Return a network of a normalization over the channels of images, between convolutions."""
    shapes = {
        "w": (channels, 3, 3, 3),
        "s": (channels,),
        "b": (channels,),
        "v": (8, channels, 3, 3),
    }
    weights = {
        name: np.random.default_rng(i).standard_normal(shape).astype(np.float32)
        for i, (name, shape) in enumerate(shapes.items())
    }
    body = f"""a = Conv <pads = [1, 1, 1, 1]> (x, w) t = Transpose <perm = [0, 2, 3, 1]> (a)
               l = LayerNormalization <axis = -1, epsilon = 1e-6> (t, s, b) {inside}
               u = Transpose <perm = [0, 3, 1, 2]> (l) y = Conv <pads = [1, 1, 1, 1]> (u, v)"""
    outputs = "float[] z, " if inside else ""
    return model_using(weights, body, "float[N, 3, 9, 7] x", outputs=outputs)


def kernels_of(model, isa: str = "avx512") -> list[type]:
    lowered = lower_graph(BlockedEmitter(prepare(planish.load(model)), MACHINES[isa]))
    return [type(op) for op in lowered.kernels]


@pytest.mark.parametrize("channels", [5, 16, 40])
def test_channels_of_images_are_brought_to_mean_0_where_they_lie(channels) -> None:
    model = images(channels)
    assert kernels_of(model).count(ChannelNormalization) == 1
    assert kernels_of(model).count(Repack) <= 1  # the result's
    x = np.random.default_rng(1).standard_normal((2, 3, 9, 7)).astype(np.float32) + 3
    found = planish.lower(planish.load(model), "tvm", threads=2)({"x": x})["y"]
    assert relative_error(run_ort(model, {"x": x})["y"], found) <= 1e-6


def test_bytes_are_normalized_where_they_lie() -> None:
    """Passes leave Transposes where they move bytes."""
    normal = np.random.default_rng(2).standard_normal
    weights = {
        "s": normal(20).astype(np.float32), "b": normal(20).astype(np.float32),
        "xs": np.float32(0.05), "xz": np.uint8(131), "ys": np.float32(0.04), "yz": np.uint8(120),
        "v": np.ones((20, 1, 3, 3), np.float32),
    }  # fmt: skip
    body = """q = QuantizeLinear (x, xs, xz) t = Transpose <perm = [0, 2, 3, 1]> (q)
              d = DequantizeLinear (t, xs, xz) l = LayerNormalization (d, s, b)
              r = QuantizeLinear (l, ys, yz) u = Transpose <perm = [0, 3, 1, 2]> (r)
              y = DequantizeLinear (u, ys, yz)
              z = Conv <group = 20, pads = [1, 1, 1, 1]> (y, v)"""
    model = model_using(weights, body, "float[N, 20, 9, 7] x", outputs="float[] z, ")
    made = kernels_of(model, "avx512-vnni")
    assert made[:2] == [Pack, ChannelNormalization]
    x = normal((2, 20, 9, 7)).astype(np.float32)
    expected = run_ort(model, {"x": x})
    found = planish.lower(planish.load(model), "tvm")({"x": x})
    steps = np.abs(np.rint((found["y"] - expected["y"]) / weights["ys"]))
    assert steps.max() <= 1
    assert np.mean(steps > 0) <= MOST_DIFFERENT
    away = np.abs(found["z"] - expected["z"]) > weights["ys"] / 2
    assert np.mean(away) <= 9 * MOST_DIFFERENT


def test_channels_of_rows_too() -> None:
    """Of three axes, to bring channels last and back is the same."""
    normal = np.random.default_rng(0).standard_normal
    shapes = {"w": (20, 3, 3), "s": (20,), "v": (8, 20, 1)}
    weights = {name: normal(shape).astype(np.float32) for name, shape in shapes.items()}
    body = """a = Conv (x, w) t = Transpose <perm = [0, 2, 1]> (a) l = LayerNormalization (t, s)
              u = Transpose <perm = [0, 2, 1]> (l) y = Conv (u, v)"""
    model = model_using(weights, body, "float[N, 3, 9] x")
    assert kernels_of(model).count(ChannelNormalization) == 1
    x = normal((2, 3, 9)).astype(np.float32)
    found = planish.lower(planish.load(model), "tvm")({"x": x})["y"]
    assert relative_error(run_ort(model, {"x": x})["y"], found) <= 1e-6


@pytest.mark.parametrize("inside", ["z = Relu (t)", "z = Abs (l)"])
def test_channels_last_that_are_read_elsewhere_are_stored(inside) -> None:
    model = images(20, inside)
    assert ChannelNormalization not in kernels_of(model)
    x = np.random.default_rng(1).standard_normal((2, 3, 9, 7)).astype(np.float32)
    found, expected = planish.lower(planish.load(model), "tvm")({"x": x}), run_ort(model, {"x": x})
    for name in "yz":
        assert relative_error(expected[name], found[name]) <= 1e-6
