"""Quantized graphs as text, and what a target makes of them beside ONNX Runtime's results."""

from __future__ import annotations

import numpy as np
import onnx

import planish

from tests.helpers import Array, model_of, run_ort

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
        self,
        name: str,
        shape: tuple[int, ...],
        *,
        axis: int | None = 0,
        zero: int = 0,
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


def check(
    model: onnx.ModelProto, feeds: dict[str, Array], steps: dict[str, float], target: str = "cpu"
) -> None:
    """Compare with ONNX Runtime: `steps` gives the size of one step of each output."""
    expected = run_ort(model, feeds)
    found = planish.lower(planish.load(model), backend="tvm", target=target, threads=1)(feeds)
    for name, step in steps.items():
        assert found[name].dtype == expected[name].dtype
        assert found[name].shape == expected[name].shape
        off = np.abs(found[name].astype(np.float64) - expected[name].astype(np.float64)) / step
        assert off.max() < 1.01, (name, off.max())
        assert (off > 0.01).mean() <= max(MOST_DIFFERENT, 1.5 / off.size), (
            name,
            (off > 0.01).mean(),
        )
        assert len(np.unique(expected[name])) > 8, "the test's numbers are degenerate"
