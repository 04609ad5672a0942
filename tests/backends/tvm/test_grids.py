"""The grid that a QuantizeLinear puts numbers on: halves to even, then the zero point, then ends.

Scales are powers of two here, so that float32 is exact in any order, and so are the comparisons.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import planish
from planish.backends.tvm.check.chain import run_chain
from planish.backends.tvm.graph.quantized import TensorQuantization
from planish.backends.tvm.program.requantize import ChainOperand, requantized
from planish.backends.tvm.spec.chain import (
    ChainStep,
    ConstantInput,
    ElementwiseChain,
    OperandInput,
    StepInput,
)

from tests.effort import examples
from tests.helpers import Array, model_of, run_ort

pytest.importorskip("tvm")

BYTES = ("uint8", "int8")
ENDS = st.integers(-80, 80).map(lambda eighths: eighths / 8)


@st.composite
def grids(draw: st.DrawFn) -> TensorQuantization:
    dtype = draw(st.sampled_from(BYTES))
    ends = np.iinfo(dtype)
    zero = draw(st.integers(int(ends.min), int(ends.max)))
    return TensorQuantization(2.0 ** draw(st.integers(-6, 0)), zero, dtype)


def run(steps: Any, operands: list[ChainOperand], value: Array) -> Array:
    """Return what ONNX Runtime makes of a chain with operands of one number a channel."""
    given = [np.asarray(operand.values).reshape(1, -1, 1, 1, 1) for operand in operands]
    return run_chain(ElementwiseChain(tuple(steps)), value, given, 0.0)[0]


@settings(max_examples=examples(200))
@given(grid=grids(), other=grids(), low=ENDS, width=ENDS.map(abs), shift=ENDS, relu=st.booleans())
@example(TensorQuantization(0.125, 0, "uint8"), TensorQuantization(1.0, 3, "int8"),
         -3.0, 2.5, 0.0, False)  # fmt: skip
@example(TensorQuantization(0.5, -3, "int8"), TensorQuantization(1.0, 3, "int8"),
         0.75, 1.0, 0.0, False)  # fmt: skip
def test_less_arithmetic_gives_the_same_bytes(grid, other, low, width, shift, relu) -> None:
    """A product, a sum with bytes on another grid, bounds in or outside the grid, and its bytes."""
    last = StepInput
    bounds = ("Relu", ()) if relu else ("Clip", (("max", low + width), ("min", low)))
    factors, shifts = np.float32([0.25, -0.5, 2.0]), np.float32([0.0, shift, -shift])
    steps = [
        ChainStep("Mul", (last(-1), OperandInput(0))),
        ChainStep("Add", (last(0), OperandInput(1))),
        ChainStep("QuantizeLinear", (last(1),), other.attrs),
        ChainStep("DequantizeLinear", (last(2),), other.attrs),
        ChainStep("Mul", (last(3), ConstantInput(0.5))),
        ChainStep("Add", (last(4), last(1))),
        ChainStep(bounds[0], (last(5),), bounds[1]),
        ChainStep("QuantizeLinear", (last(6),), grid.attrs),
    ]
    given = [ChainOperand(factors), ChainOperand(shifts)]
    value = np.random.default_rng(0).integers(-600, 600, (1, 3, 1, 8, 16)).astype(np.float32) / 16
    before = run(steps, given, value)
    assert np.array_equal(run(*requantized(steps, given, 3), value), before)


# Each line is a result before its grid; `d`, `e`: two dequantized inputs, `u`: rows of a third.
LAYERS = {
    "pointwise": "Conv(d, w1)",
    "window": "Conv <pads = [1, 1, 1, 1]> (d, w3)",
    "depthwise": "Conv <pads = [1, 1, 1, 1], group = 8> (d, wd)",
    "product": "MatMul(u, wm)",
    "residual": "Add(d, e)",
    "pool": "AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (d)",
    "whole": "GlobalAveragePool(d)",
    "float": "Mul(x, half)",
    "as it is": "Identity(x)",
    "table": "HardSwish(window_d)",
}
WEIGHTS = {"w1": (16, 8, 1, 1), "w3": (16, 8, 3, 3), "wd": (8, 1, 3, 3), "wm": (16, 24)}


def network(zeros: list[int], exponents: list[int], dtype: str, low: float, high: float):
    """Return a network of all layers, each followed by bounds (but the last) and its own grid."""
    random = np.random.default_rng(0)
    first = int(np.iinfo(dtype).min)
    held: dict[str, Array] = {
        "half": np.float32(0.5), "ws": np.float32(0.125), "wz": np.int8(0),
        "low": np.float32(low), "high": np.float32(high),
        "s": np.float32(2**-4), "z": np.dtype(dtype).type(zeros[0] + first),
    }  # fmt: skip
    lines = []
    for name, source in (("d", "x"), ("e", "x2"), ("u", "rows")):
        lines += [f"{name}q = QuantizeLinear({source}, s, z)",
                  f"{name} = DequantizeLinear({name}q, s, z)"]  # fmt: skip
    for name, shape in WEIGHTS.items():
        held[f"{name}q"] = random.integers(-8, 9, shape).astype(np.int8)
        lines.append(f"{name} = DequantizeLinear({name}q, ws, wz)")
    outputs = []
    for at, (layer, line) in enumerate(LAYERS.items()):
        name = layer.replace(" ", "_")
        held[f"{name}_s"] = np.float32(2.0 ** exponents[at])
        held[f"{name}_z"] = np.dtype(dtype).type(zeros[at] + first)
        bounded = "Clip" if at % 2 else "Identity"
        lines += [
            f"{name}_r = {line}",
            f"{name}_c = {bounded}({name}_r{', low, high' if at % 2 else ''})",
            f"{name}_q = QuantizeLinear({name}_c, {name}_s, {name}_z)",
            f"{name}_d = DequantizeLinear({name}_q, {name}_s, {name}_z)",
            f"{name}_y = Identity({name}_d)",
        ]
        outputs.append(f"float[] {name}_y")
    given = "float[1, 8, 8, 8] x, float[1, 8, 8, 8] x2, float[5, 16] rows"
    return model_of(f"g ({given}) => ({', '.join(outputs)}) {{ {' '.join(lines)} }}", held)


@settings(max_examples=3)
@given(
    zeros=st.lists(st.integers(0, 255), min_size=len(LAYERS), max_size=len(LAYERS)),
    exponents=st.lists(st.integers(-4, -1), min_size=len(LAYERS), max_size=len(LAYERS)),
    dtype=st.sampled_from(BYTES),
    low=ENDS,
    width=ENDS.map(abs),
)
@example([3, 127, 1, 77, 129, 117, 131, 101, 99, 133], [-3] * len(LAYERS), "int8", -2.3125, 4.6875)
def test_kernels_reach_the_grid_that_onnx_says(zeros, exponents, dtype, low, width) -> None:
    model = network(zeros, exponents, dtype, low, low + width)
    random = np.random.default_rng(1)
    sizes = {"x": (1, 8, 8, 8), "x2": (1, 8, 8, 8), "rows": (5, 16)}
    feeds = {n: random.standard_normal(size).astype(np.float32) * 3 for n, size in sizes.items()}
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1, check_kernels=False)
    found, expected = compiled(feeds), run_ort(model, feeds)
    for name, values in expected.items():
        assert np.array_equal(found[name], values), (name, np.mean(found[name] != values))


def test_three_channels_beside_a_convolution_are_in_blocks_of_four() -> None:
    """Its sums take whole vectors, and tables have as many lanes as what reads them."""
    held = {
        "s": np.float32(0.125), "z": np.int8(3),
        "wq": np.random.default_rng(0).integers(-8, 9, (3, 3, 3, 3)).astype(np.int8),
    }  # fmt: skip
    lines = ["a = QuantizeLinear(x, s, z) b = DequantizeLinear(a, s, z)"]
    lines += ["w = DequantizeLinear(wq, s) c = Conv <pads = [1, 1, 1, 1]> (b, w) e = Add(c, b)"]
    lines += ["d = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (b)"]
    lines += ["eq = QuantizeLinear(e, s, z) k = DequantizeLinear(eq, s, z)"]
    for before, after in (("d", "f"), ("h", "j")):
        lines.append(f"{after}q = QuantizeLinear({before}, s, z)")
        lines.append(f"{after} = DequantizeLinear({after}q, s, z)")
        lines += ["h = HardSwish(f)"] if after == "f" else ["y = Identity(j)"]
    model = model_of(
        f"g (float[1, 3, 8, 8] x) => (float[] y, float[] k) {{ {' '.join(lines)} }}", held
    )
    feeds = {"x": np.random.default_rng(1).standard_normal((1, 3, 8, 8)).astype(np.float32)}
    compiled = planish.lower(planish.load(model), backend="tvm", threads=1, check_kernels=False)
    found, expected = compiled(feeds), run_ort(model, feeds)
    assert all(np.array_equal(found[name], expected[name]) for name in "yk")
