"""Quantized graphs through the TVM backend: as integers, and equal to ONNX Runtime's results."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import planish
from planish.backends.tvm.lowering import lower_graph, prepare
from planish.backends.tvm.machine import MACHINES, host_isa

from tests.helpers import Array, model_of, run_ort

pytest.importorskip("tvm")

VNNI = host_isa() in ("avx512-vnni", "avx512-bf16")
MOST_DIFFERENT = 0.005  # results at a tie, where another order of float32 sums rounds elsewhere


class Net:
    """ONNX text under construction, every tensor between a QuantizeLinear and its inverse."""

    def __init__(self, seed: int = 0, dtype: type = np.uint8) -> None:
        self.lines: list[str] = []
        self.weights: dict[str, Array] = {}
        self.random = np.random.default_rng(seed)
        self.dtype = dtype

    def constant(self, name: str, values: Array) -> str:
        self.weights[name] = np.asarray(values)
        return name

    def quantized(self, name: str, scale: float, zero: int) -> str:
        """Return what stands for `name` behind a pair on this grid."""
        self.constant(f"{name}_s", np.float32(scale))
        self.constant(f"{name}_z", self.dtype(zero))
        self.lines.append(f"{name}_q = QuantizeLinear({name}, {name}_s, {name}_z)")
        self.lines.append(f"{name}_d = DequantizeLinear({name}_q, {name}_s, {name}_z)")
        return f"{name}_d"

    def integers(
        self, name: str, shape: tuple[int, ...], *, axis: int | None = 0, zero: int = 0,
        dtype: type = np.int8,
    ) -> str:
        """Return a weight stored as integers, on one grid for each channel of `axis`."""
        ends = np.iinfo(dtype)
        values = self.random.integers(max(ends.min, -127), ends.max + 1, shape).astype(dtype)
        size = 1 if axis is None else shape[axis]
        scale = self.random.uniform(0.002, 0.01, size).astype(np.float32)
        zeros = np.full(size, zero, dtype)
        self.constant(f"{name}_q", values)
        self.constant(f"{name}_s", scale if axis is not None else scale[0])
        self.constant(f"{name}_z", zeros if axis is not None else zeros[0])
        attribute = "" if axis is None else f"<axis = {axis}>"
        self.lines.append(f"{name} = DequantizeLinear {attribute} ({name}_q, {name}_s, {name}_z)")
        return name

    def bias(self, name: str, size: int, scale: Array) -> str:
        """Return an int32 bias on the grid of the products."""
        self.constant(f"{name}_q", self.random.integers(-4000, 4000, size).astype(np.int32))
        self.constant(f"{name}_s", np.broadcast_to(scale, (size,)).astype(np.float32))
        self.lines.append(f"{name} = DequantizeLinear <axis = 0> ({name}_q, {name}_s)")
        return name

    def op(self, line: str) -> None:
        self.lines.append(line)

    def model(self, inputs: str, outputs: str) -> onnx.ModelProto:
        body = "\n".join(self.lines)
        return model_of(f"g ({inputs}) => ({outputs}) {{ {body} }}", self.weights)


def check(model: onnx.ModelProto, feeds: dict[str, Array], steps: dict[str, float]) -> None:
    """Compare with ONNX Runtime: `steps` gives the size of one step of each output."""
    expected = run_ort(model, feeds)
    found = planish.lower(planish.load(model), backend="tvm", threads=1)(feeds)
    for name, step in steps.items():
        assert found[name].dtype == expected[name].dtype
        assert found[name].shape == expected[name].shape
        off = np.abs(found[name].astype(np.float64) - expected[name].astype(np.float64)) / step
        assert off.max() < 1.01, (name, off.max())
        assert (off > 0.01).mean() <= max(MOST_DIFFERENT, 1.5 / off.size), (name, (off > 0.01).mean())
        assert len(np.unique(expected[name])) > 8, "the test's numbers are degenerate"


def kernels(model: onnx.ModelProto) -> list[object]:
    """Return what the kernels of `model` compute."""
    graph = planish.load(model)
    return list(lower_graph(prepare(graph), MACHINES["avx512-vnni"]).kernels)


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
    dict(channels=16, outputs=16, size=(9, 9)),
    dict(channels=32, outputs=48, size=(5, 7), dtype=np.int8),
    dict(channels=33, outputs=17, size=(6, 5), attributes="pads = [1, 0, 2, 1], dilations = [2, 1]"),
    dict(channels=3, outputs=20, size=(15, 13), kernel=7, attributes="pads = [3, 3, 3, 3], strides = [2, 2]"),
    dict(channels=24, outputs=36, size=(6, 6), group=3),
    dict(channels=24, outputs=24, size=(6, 5), group=24),
    dict(channels=24, outputs=24, size=(6, 5), group=24, dtype=np.int8, bias="float"),
    dict(channels=20, outputs=40, size=(7, 7), kernel=1, bias="float"),
    dict(channels=20, outputs=40, size=(8, 7), kernel=1, attributes="strides = [2, 3]", bias="none"),
    dict(channels=16, outputs=18, size=(19,), attributes="pads = [2, 0]"),
    dict(channels=5, outputs=18, size=(3, 4, 5), kernel=2),
    dict(channels=16, outputs=16, size=(6, 6), weight_dtype=np.uint8, weight_zero=128),
    dict(channels=16, outputs=16, size=(6, 6), weight_dtype=np.uint8, weight_zero=7, axis=None),
    dict(channels=16, outputs=16, size=(6, 6), weight_zero=-3),
    dict(channels=16, outputs=16, size=(6, 6), axis=None, zero=0, y_zero=0),
]  # fmt: skip


@pytest.mark.parametrize("case", CONVOLUTIONS, ids=str)
def test_a_convolution_of_every_kind(case) -> None:
    model, feeds, step = conv_net(**case)
    check(model, feeds, {"y": step})


@settings(max_examples=12, deadline=None)
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
