"""Quantized graphs through the TVM backend: as integers, and equal to ONNX Runtime's results."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planish
from planish.backends.contract.prepare import prepare
from planish.backends.tvm.kernels.convolution import Convolution
from planish.backends.tvm.kernels.dot import ByteDot
from planish.backends.tvm.kernels.transposed import Transposed
from planish.backends.tvm.program.emit_graph import BlockedEmitter
from planish.backends.tvm.program.lowering import lower_graph
from planish.backends.tvm.spec.machine import MACHINES, host_isa, runs_here
from planish.ir.core.errors import BackendError

from .instructions import assembly_of, each_isa, make_runnable
from .quantized_net import MOST_DIFFERENT, Net, check
from tests.effort import examples
from tests.helpers import Array, model_of, run_ort

pytest.importorskip("tvm")


def kernels(graph: gs.Graph) -> list[Any]:
    """Return what the kernels of `graph` compute, on a machine with a dot product of bytes."""
    return list(lower_graph(BlockedEmitter(prepare(graph), MACHINES["avx512-vnni"])).kernels)


def conv_net(
    channels: int, outputs: int, size: tuple[int, ...], *, kernel: int = 3, attributes: str = "",
    group: int = 1, dtype: type = np.uint8, zero: int = 113, weight_zero: int = 0,
    weight_dtype: type = np.int8, axis: int | None = 0, bias: str = "integer", y_zero: int = 20,
    seed: int = 0,
) -> tuple[onnx.ModelProto, dict[str, Array], float]:  # fmt: skip
    """Return a quantized Conv and Relu, an input, and the step of its output."""
    net = Net(seed, dtype)
    shift = 128 if dtype is np.int8 else 0
    x_scale = 0.03
    x = net.quantized("x", x_scale, zero - shift)
    shape = (outputs, channels // group, *[kernel] * len(size))
    w = net.integers("w", shape, axis=axis, zero=weight_zero, dtype=weight_dtype)
    given = [x, w]
    if bias == "integer":
        given.append(net.bias("b", outputs, net.weights["w_s"] * x_scale))
    elif bias == "float":
        values = net.random.standard_normal(outputs).astype(np.float32)
        given.append(net.constant("b", values))
    attributes = attributes or 'auto_pad = "SAME_UPPER"'
    net.op(f"c = Conv <group = {group}, {attributes}> ({', '.join(given)})")
    net.op("r = Relu(c)")
    step = 0.02 * float(np.sqrt(np.prod(shape[1:])))
    net.quantized("r", step, y_zero - shift)
    net.op("y = Identity(r_d)")
    sizes = ", ".join(map(str, size))
    model = net.model(f"float[N, {channels}, {sizes}] x", "float[] y")
    feed = net.random.standard_normal((2, channels, *size)).astype(np.float32) * 1.5
    return model, {"x": feed}, step


CONVOLUTIONS = [
    {"channels": 16, "outputs": 16, "size": (9, 9)},
    {"channels": 32, "outputs": 48, "size": (5, 7), "dtype": np.int8},
    {
        "channels": 33,
        "outputs": 17,
        "size": (6, 5),
        "attributes": "pads = [1, 0, 2, 1], dilations = [2, 1]",
    },
    {
        "channels": 3,
        "outputs": 20,
        "size": (15, 13),
        "kernel": 7,
        "attributes": "pads = [3, 3, 3, 3], strides = [2, 2]",
    },
    {"channels": 24, "outputs": 36, "size": (6, 6), "group": 3},
    {"channels": 40, "outputs": 40, "size": (6, 5), "group": 5, "dtype": np.int8},
    {"channels": 36, "outputs": 36, "size": (5, 9), "group": 9, "bias": "float"},
    {"channels": 24, "outputs": 48, "size": (6, 5), "group": 6, "kernel": 1},
    {"channels": 20, "outputs": 20, "size": (6, 5), "group": 10},
    {"channels": 24, "outputs": 24, "size": (6, 5), "group": 24},
    {"channels": 24, "outputs": 24, "size": (6, 5), "group": 24, "dtype": np.int8, "bias": "float"},
    {
        "channels": 24,
        "outputs": 24,
        "size": (9, 31),
        "group": 24,
        "kernel": 5,
        "attributes": "pads = [0, 3, 2, 1], strides = [1, 2], dilations = [2, 1]",
    },
    {"channels": 17, "outputs": 17, "size": (6, 17), "group": 17, "kernel": 7, "dtype": np.int8},
    {
        "channels": 16,
        "outputs": 16,
        "size": (9, 9),
        "group": 16,
        "attributes": "dilations = [1, 2]",
    },
    {"channels": 16, "outputs": 16, "size": (2, 4, 9), "group": 16, "kernel": 2},
    {"channels": 20, "outputs": 40, "size": (7, 7), "kernel": 1, "bias": "float"},
    {
        "channels": 20,
        "outputs": 40,
        "size": (8, 7),
        "kernel": 1,
        "attributes": "strides = [2, 3]",
        "bias": "none",
    },
    {"channels": 16, "outputs": 18, "size": (19,), "attributes": "pads = [2, 0]"},
    {"channels": 5, "outputs": 18, "size": (3, 4, 5), "kernel": 2},
    {"channels": 16, "outputs": 16, "size": (6, 6), "weight_dtype": np.uint8, "weight_zero": 128},
    {
        "channels": 16,
        "outputs": 16,
        "size": (6, 6),
        "weight_dtype": np.uint8,
        "weight_zero": 7,
        "axis": None,
    },
    {"channels": 16, "outputs": 16, "size": (6, 6), "weight_zero": -3},
    {"channels": 16, "outputs": 16, "size": (6, 6), "axis": None, "zero": 0, "y_zero": 0},
]


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_a_convolution_of_every_kind(case) -> None:
    model, feeds, step = conv_net(**case)
    check(model, feeds, {"y": step})


def test_parts_on_one_grid_are_written_where_they_are_joined() -> None:
    net = Net(9)
    x = net.quantized("x", 0.03, 90)
    joined = [x]
    for place, outputs in enumerate((20, 32, 16)):
        name, channels = f"c{place}", 16 + sum((20, 32, 16)[:place])
        net.integers(f"w{name}", (outputs, channels, 1, 1))
        net.op(f"{name} = Conv ({x}, w{name})")
        joined.append(net.quantized(name, 0.4, 90))
        net.op(f"{name}_r = Relu({joined[-1]})")
        joined[-1] = net.quantized(f"{name}_r", 0.03, 90)
        net.op(f"j{place} = Concat <axis = 1> ({', '.join(joined)})")
        x = net.quantized(f"j{place}", 0.03, 90)
    net.op(f"y = Identity({x})")
    model = net.model("float[2, 16, 6, 5] x", "float[] y")
    found = [type(op).__name__ for op in kernels(planish.load(model))]
    assert found.count("Elementwise") == 0, "parts are copied"
    check(model, {"x": net.random.standard_normal((2, 16, 6, 5)).astype(np.float32)}, {"y": 0.03})


def test_channels_of_zeros_are_added_on_the_way() -> None:
    net = Net(8)
    net.constant("pads", np.array([0, 0, 0, 0, 0, 1, 0, 0]))
    net.op("p = Pad(x, pads)")
    p = net.quantized("p", 0.03, 90)
    net.integers("w", (20, 4, 3, 3))
    net.op(f"c = Conv <pads = [1, 1, 1, 1]> ({p}, w)")
    net.quantized("c", 0.1, 120)
    net.op("y = Identity(c_d)")
    model = net.model("float[N, 3, 9, 7] x", "float[] y")
    assert [type(op).__name__ for op in kernels(planish.load(model))][:2] == ["Pack", "Convolution"]
    check(model, {"x": net.random.standard_normal((2, 3, 9, 7)).astype(np.float32)}, {"y": 0.1})


@settings(max_examples=examples(6))
@given(
    channels=st.integers(1, 40),
    outputs=st.integers(1, 40),
    size=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    kernel=st.integers(1, 3),
    dtype=st.sampled_from([np.uint8, np.int8]),
    zero=st.integers(0, 255),
    y_zero=st.integers(0, 100),
    axis=st.sampled_from([0, None]),
    bias=st.sampled_from(["integer", "float", "none"]),
    seed=st.integers(0, 1000),
)
def test_any_convolution(**case) -> None:
    model, feeds, step = conv_net(**case)
    expected = run_ort(model, feeds)["y"]
    found = planish.lower(planish.load(model), backend="tvm", threads=1)(feeds)["y"]
    off = np.abs(found - expected) / step
    assert off.max() < 1.01
    assert (off > 0.01).mean() <= max(MOST_DIFFERENT, 1.5 / off.size)


def body_net(
    body: str, *, zero: int = 90, dtype: type = np.uint8, constants: dict[str, Array] | None = None
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """Return x -> quantized Conv a_d (20 channels, 8x6) and b_d (other grid) -> `body` -> y.

    Lines `QDQ name scale zero` stand for a pair on a grid.
    """
    net = Net(3, dtype)
    shift = 128 if dtype is np.int8 else 0
    x = net.quantized("x", 0.03, zero - shift)
    for name, scale, offset in (("a", 0.1137, zero), ("b", 0.1719, 140)):
        w = net.integers(f"w{name}", (20, 6, 1, 1))
        net.op(f"{name} = Conv <kernel_shape = [1, 1]> ({x}, {w})")
        net.quantized(name, scale, offset - shift)
    for name, values in (constants or {}).items():
        net.constant(name, values)
    for line in body.strip().splitlines():
        word, *rest = line.split()
        if word == "QDQ":
            net.quantized(rest[0], float(rest[1]), int(rest[2]) - shift)
        else:
            net.op(line)
    model = net.model("float[N, 6, 8, 6] x", "float[] y")
    feed = net.random.standard_normal((2, 6, 8, 6)).astype(np.float32)
    return model, {"x": feed}


ASYMMETRIC = 'coordinate_transformation_mode = "asymmetric"'
_BODIES = """
max pool, same grid:
    p = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (a_d)
    QDQ p 0.1137 90
max pool, other grid:
    p = MaxPool <kernel_shape = [2, 2]> (a_d)
    QDQ p 0.09 70
average pool:
    p = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (a_d)
    QDQ p 0.05 90
global average:
    p = GlobalAveragePool(a_d)
    QDQ p 0.02 120
global maximum:
    p = GlobalMaxPool(a_d)
    QDQ p 0.1137 90
sum:
    p = Add(a_d, b_d)
    QDQ p 0.2 100
sum of a network's two ends:
    s = Add(a_d, b_d)
    r = Relu(s)
    QDQ r 0.15 3
    p = Add(r_d, a_d)
    QDQ p 0.2 100
product:
    p = Mul(a_d, b_d)
    QDQ p 0.6 100
gate:
    g = GlobalAveragePool(b_d)
    QDQ g 0.05 110
    t = Sigmoid(g_d)
    QDQ t 0.004 0
    p = Mul(a_d, t_d)
    QDQ p 0.07 90
silu:
    t = Sigmoid(a_d)
    QDQ t 0.004 0
    p = Mul(a_d, t_d)
    QDQ p 0.07 10
silu and a sum:
    t = Sigmoid(a_d)
    QDQ t 0.004 0
    m = Mul(a_d, t_d)
    QDQ m 0.07 10
    p = Add(m_d, b_d)
    QDQ p 0.13 100
clip:
    p = Clip(a_d, low, high)
    QDQ p 0.03 10
concat:
    p = Concat <axis = 1> (a_d, b_d)
    QDQ p 0.2 100
concat on one grid:
    p = Concat <axis = 1> (a_d, a_d)
    QDQ p 0.1137 90
enlargement:
    p = Resize <nearest_mode = "floor", ASYMMETRIC> (a_d, , scales)
    QDQ p 0.1137 90
views:
    v = Reshape(a_d, blocks)
    t = Transpose <perm = [0, 2, 1, 3, 4]> (v)
    QDQ t 0.1137 90
    p = Reshape(t_d, whole)
    QDQ p 0.1137 90
joined rows of two grids:
    p = Concat <axis = 2> (a_d, b_d)
    QDQ p 0.2031 100
padding around a part:
    s, t = Split <axis = 1> (a_d, parts)
    wp = DequantizeLinear(wp_q, wp_s)
    p = Conv <pads = [1, 1, 1, 1]> (s, wp)
    QDQ p 2.37 100
no kernel of ours:
    p = Softmax <axis = 1> (a_d)
    QDQ p 0.004 0
read in two ways:
    s = Add(a_d, b_d)
    QDQ s 0.25 100
    m = Mul(s, s)
    p = Sub(m, s_d)
    QDQ p 2.0 100
one grid after another:
    QDQ a_d 0.2 90
    p = Relu(a_d_d)
    QDQ p 0.15 0
"""
BODIES = {
    name: textwrap.dedent(body).replace("ASYMMETRIC", ASYMMETRIC)
    for name, body in re.findall(r"^(\S.*):\n((?: .*\n)+)", _BODIES, re.M)
}
CONSTANTS = {
    "scales": np.array([1, 1, 2, 3], np.float32),
    "low": np.float32(-0.7),
    "high": np.float32(5.3),
    "blocks": np.array([0, 4, 5, 8, 6]),
    "whole": np.array([0, 20, 8, 6]),
    "parts": np.array([16, 4]),
    "wp_q": np.random.default_rng(4).integers(-127, 128, (8, 16, 3, 3)).astype(np.int8),
    "wp_s": np.float32(0.01),
}


SIGNED = ("sum", "max pool, same grid", "gate", "silu", "silu and a sum")


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, np.uint8) for name in BODIES), *((name, np.int8) for name in SIGNED)],
)
def test_what_follows(name, dtype) -> None:
    body = BODIES[name]
    used = {key: values for key, values in CONSTANTS.items() if key in body}
    model, feeds = body_net(body + "y = Identity(p_d)", dtype=dtype, constants=used)
    step = float(body.split()[-2])
    check(model, feeds, {"y": step})


def test_what_is_linear_before_a_rounding_is_one_product_and_one_sum() -> None:
    found = kernels(planish.load(conv_net(16, 16, (9, 9))[0]))
    (layer,) = [op for op in found if isinstance(op, Convolution)]
    assert [step.op for step in layer.epilogue.steps][:3] == ["Mul", "Add", "QuantizeLinear"]


def test_bytes_of_bytes_are_looked_up() -> None:
    model, _ = body_net(BODIES["silu"] + "y = Identity(p_d)")
    chains = [op.epilogue for op in kernels(planish.load(model)) if isinstance(op, Convolution)]
    assert ["Mul", "Add", "Lookup"] in [[step.op for step in chain.steps] for chain in chains]


def test_layers_that_differ_in_their_grids_share_a_kernel() -> None:
    net = Net(7)
    x = net.quantized("x", 0.03, 90)
    for name, scale in (("a", 0.11), ("b", 0.07)):
        w = net.integers(f"w{name}", (16, 16, 1, 1))
        net.op(f"{name} = Conv ({x}, {w})")
        x = net.quantized(name, scale, 90)
    net.op(f"y = Identity({x})")
    found = kernels(planish.load(net.model("float[1, 16, 8, 6] x", "float[] y")))
    assert len([op for op in found if isinstance(op, Convolution)]) == 1


# A table is read in another way where vectors are shorter.
@pytest.mark.parametrize("isa", [isa for isa in ("avx2", "avx512") if runs_here(isa)])
def test_tables_on_every_machine(isa) -> None:
    model, feeds = body_net(BODIES["silu and a sum"] + "y = Identity(p_d)")
    check(model, feeds, {"y": 0.13}, f"cpu{{isa={isa}}}")


# Those of this machine are among the convolutions of every kind.
@pytest.mark.parametrize("isa", each_isa("amx", "avx512-bf16", host_isa()))
@pytest.mark.parametrize("case", [CONVOLUTIONS[1], CONVOLUTIONS[3], CONVOLUTIONS[5]], ids=str)
def test_every_machine(isa, case, monkeypatch) -> None:
    model, feeds, step = conv_net(**case)
    expected = run_ort(model, feeds)["y"]
    graph = planish.load(model)
    target = make_runnable(isa, monkeypatch)
    found = planish.lower(graph, backend="tvm", target=target, threads=1)(feeds)["y"]
    off = np.abs(found - expected) / step
    assert off.max() < 1.01
    assert (off > 0.01).mean() <= MOST_DIFFERENT


@pytest.mark.parametrize(
    ("isa", "has"), [("avx512", False), ("avx512-vnni", True), ("avx512-bf16", True)]
)
@pytest.mark.usefixtures("optimized")
def test_the_instruction_is_used_where_there_is_one(isa, has) -> None:
    model, _, _ = conv_net(**CONVOLUTIONS[0])
    assert ("vpdpbusd" in assembly_of(planish.load(model), isa)) == has


def test_code_is_generated_for_a_machine_that_is_not_here() -> None:
    model, _, _ = conv_net(**CONVOLUTIONS[1])
    other = "avx2" if host_isa() == "neon" else "neon"
    target = f"cpu{{isa={other}}}"
    compiled = planish.lower(planish.load(model), backend="tvm", target=target, threads=1)
    with pytest.raises(BackendError, match=f"isa '{other}'"):
        compiled({})


LAYERS = {
    "Gemm": "m = Gemm <transB = 1> (x_d, w, b)",
    "Gemm with alpha": "m = Gemm <transB = 1, alpha = 0.5> (x_d, w)",
    "MatMul": "m = MatMul(x_d, w)",
    "MatMul and bias": "l = MatMul(x_d, w)\nm = Add(l, b)",
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_without_positions(name) -> None:
    net = Net(5)
    x = net.quantized("x", 0.03, 77)
    transposed = name.startswith("Gemm")
    net.integers("w", (30, 75) if transposed else (75, 30), axis=0 if transposed else 1)
    if "b)" in LAYERS[name]:
        net.bias("b", 30, net.weights["w_s"] * 0.03)
    net.op(LAYERS[name])
    net.quantized("m", 0.3, 120)
    net.op("y = Identity(m_d)")
    model = net.model("float[N, 75] x", "float[] y")
    assert x == "x_d"
    check(model, {"x": net.random.standard_normal((9, 75)).astype(np.float32)}, {"y": 0.3})


TRANSPOSED = {
    "strides": ((20, 18, 3, 3), "strides = [2, 2], pads = [1, 0, 1, 1]"),
    "no tap for some": ((20, 18, 2, 2), "strides = [3, 2], output_padding = [1, 0]"),
    "dilations": ((16, 40, 3, 2), "strides = [1, 2], dilations = [2, 1], pads = [1, 0, 0, 1]"),
    "few channels": ((3, 18, 4, 4), "strides = [2, 2], pads = [1, 1, 1, 1]"),
    "groups": ((24, 8, 4, 4), "strides = [2, 2], pads = [1, 1, 1, 1], group = 3"),
    "groups and one over": ((20, 4, 2, 2), "strides = [2, 2], group = 5"),
    "depthwise": ((20, 1, 4, 4), "strides = [2, 2], pads = [1, 1, 1, 1], group = 20"),
    "one axis": ((20, 18, 5), "strides = [2], pads = [2, 1]"),
    "three axes": ((8, 12, 2, 3, 2), "strides = [2, 1, 2]"),
}
# What they read is what floats read, in `test_networks.py`.
ALIKE = ("dilations", "groups", "one axis", "three axes")


@pytest.mark.parametrize(
    ("name", "dtype", "axis", "bias"),
    [
        pytest.param(
            name,
            *((np.int8, None, "float") if place % 3 else (np.uint8, 1, "integer")),
            marks=[pytest.mark.slow] if name in ALIKE else [],
        )
        for place, name in enumerate(TRANSPOSED)
    ],
)
def test_a_transposed_convolution_of_every_kind(name, dtype, axis, bias) -> None:
    shape, attributes = TRANSPOSED[name]
    net = Net(6, dtype)
    shift = 128 if dtype is np.int8 else 0
    x = net.quantized("x", 0.03, 77 - shift)
    net.integers("w", shape, axis=axis)
    (group,) = re.findall(r"group = (\d+)", attributes) or ["1"]
    outputs = shape[1] * int(group)
    if bias == "integer":
        net.bias("b", outputs, np.tile(net.weights["w_s"], int(group)) * np.float32(0.03))
    else:
        net.constant("b", net.random.standard_normal(outputs).astype(np.float32))
    net.op(f"c = ConvTranspose <{attributes}> ({x}, w, b)")
    step = 0.02 * float(np.sqrt(shape[0] / int(group) * np.prod(shape[2:]) / 2))
    net.quantized("c", step, 120 - shift)
    net.op("y = Identity(c_d)")
    sizes = (shape[0], 5, 6, 3)[: len(shape) - 1]
    model = net.model(f"float[N, {', '.join(map(str, sizes))}] x", "float[] y")
    (op,) = [op for op in kernels(planish.load(model)) if isinstance(op, Transposed)]
    assert isinstance(op.dot, ByteDot)
    feeds = {"x": net.random.standard_normal((2, *sizes)).astype(np.float32)}
    check(model, feeds, {"y": step})


def test_steps_by_input_channel_are_no_integers() -> None:
    """Products of channels with scales of their own cannot be added up before they are scaled."""
    net = Net(6)
    x = net.quantized("x", 0.03, 77)
    net.integers("w", (20, 18, 3, 3), axis=0)
    net.op(f"c = ConvTranspose <strides = [2, 2]> ({x}, w)")
    net.quantized("c", 0.23, 120)
    net.op("y = Identity(c_d)")
    model = net.model("float[N, 20, 5, 6] x", "float[] y")
    check(model, {"x": net.random.standard_normal((2, 20, 5, 6)).astype(np.float32)}, {"y": 0.23})


def network() -> onnx.ModelProto:
    """Return a small residual network with a depthwise layer, a join and a gate, in float32."""
    random = np.random.default_rng(1)

    def weight(*shape: int) -> Array:
        deviation = np.sqrt(2 / np.prod(shape[1:]))
        return (random.standard_normal(shape) * deviation).astype(np.float32)

    weights = {
        "w0": weight(24, 3, 3, 3),
        "w1": weight(24, 24, 3, 3),
        "w2": weight(24, 24, 3, 3),
        "w3": weight(24, 1, 3, 3),
        "w4": weight(20, 24, 1, 1),
        "w5": weight(20, 24, 1, 1),
        "w6": weight(10, 40),
        **{f"b{i}": 0.1 * weight(24, 1)[:, 0] for i in range(3)},
    }
    return model_of(
        """g (float[N, 3, 24, 20] x) => (float[] y) {
            c0 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w0, b0)
            r0 = Relu(c0)
            m0 = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (r0)
            c1 = Conv <pads = [1, 1, 1, 1]> (m0, w1, b1)
            r1 = Relu(c1)
            c2 = Conv <pads = [1, 1, 1, 1]> (r1, w2, b2)
            s2 = Add(c2, m0)
            r2 = Relu(s2)
            c3 = Conv <pads = [1, 1, 1, 1], group = 24> (r2, w3)
            t3 = Sigmoid(c3)
            a3 = Mul(c3, t3)
            c4 = Conv (a3, w4)
            c5 = Conv (r2, w5)
            j = Concat <axis = 1> (c4, c5)
            p = GlobalAveragePool(j)
            f = Flatten(p)
            y = Gemm <transB = 1> (f, w6)
        }""",
        weights,
    )


def images(count: int = 8) -> dict[str, Array]:
    random = np.random.default_rng(2)
    return {"x": random.standard_normal((count, 3, 24, 20)).astype(np.float32)}


@pytest.fixture(scope="module")
def quantized_network() -> gs.Graph:
    # All layers, whatever is faster here.
    pipeline = planish.Pipeline.parse("exact,quantize{measure=false}")
    return pipeline.run(planish.load(network()), feeds=[images()], verify="off").graph


def test_a_network_of_the_preset(quantized_network) -> None:
    feeds = images()
    expected = run_ort(planish.to_model(quantized_network), feeds)["y"]
    found = planish.lower(quantized_network, backend="tvm", threads=2)(feeds)["y"]
    noise = np.square(found.astype(np.float64) - expected).sum()
    signal = np.square(expected.astype(np.float64)).sum()
    # Bytes that rounded to the other side at a tie are all that differs.
    assert 10 * np.log10(signal / max(noise, 1e-30)) > 35
    assert (found.argmax(1) == expected.argmax(1)).all()


def test_nothing_between_two_integer_layers_is_stored_as_float32(quantized_network) -> None:
    found = kernels(quantized_network)
    dense = [op for op in found if isinstance(op, Convolution)]
    assert len(dense) == 6
    assert all(isinstance(op.dot, ByteDot) for op in dense)
    stored = [op.y.channels for op in found if op.y.dtype == "float32"]
    assert set(stored) == {10}
