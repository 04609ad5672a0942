"""Integer weights in a graph: the nodes that turn them into real numbers.

dequantize   w = DequantizeLinear(q, s, z)
arithmetic   w = Mul(Sub(Cast(q), Cast(z)), s)          in blocks: Reshape after it
lookup       w[i] = Mul(Sub(Cast(q[i]), Cast(z[i])), s[i])      of a table, which stays integers
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.graph.edit import Edit
from ....ir.graph.types import Shape, TensorType
from ....ir.ops.quantization.nodes import DEQUANTIZE
from ..grids.blocks import BlockGrid, Blocks, Search, fit_grid
from ..grids.formats import IntegerFormat
from .linear_weights import Array, LinearWeight


@dataclass(frozen=True, kw_only=True)
class WeightStorage:
    """How one weight is stored: integers, who shares a scale, and the nodes that multiply out.

    `oriented`: a matrix lies as [K, N], with Gemm's alpha multiplied in, which runtimes fuse.
    """

    form: Literal["dequantize", "arithmetic", "lookup"]
    integers: IntegerFormat
    blocks: Blocks
    symmetric: bool
    search: Search
    scale_type: type[np.floating[Any]]
    oriented: bool

    @property
    def scale_bytes(self) -> int:
        """Bytes of a scale and its zero point."""
        return np.dtype(self.scale_type).itemsize + int(not self.symmetric)

    def shape(self, weight: LinearWeight) -> tuple[int, ...]:
        """Return the shape in which `weight` is stored."""
        flipped = self.oriented and weight.role.transposed
        return tuple(weight.values.shape[::-1] if flipped else weight.values.shape)


def write_weight(edit: Edit, weight: LinearWeight, spelling: WeightStorage) -> None:
    """Replace `weight` by integers, and let its nodes read what they stand for."""
    role, values = weight.role, weight.values
    if spelling.oriented:
        values = np.ascontiguousarray((values.T if role.transposed else values) * role.alpha)
    grid = fit_grid(
        values,
        spelling.integers,
        spelling.blocks,
        symmetric=spelling.symmetric,
        search=spelling.search,
        scale_type=spelling.scale_type,
    )
    q = grid.quantize(values)
    writer = _WeightWriter(edit, weight.nodes[0], weight.tensor.name, weight.values.dtype)
    if spelling.form == "lookup":
        writer.look_up(q, grid, weight)
        return
    if spelling.form == "dequantize":
        made = writer.dequantize(q, grid)
    else:
        made = writer.arithmetic(q, grid)
    for node in weight.nodes:
        attrs = dict(node.attrs)
        if spelling.oriented and (attrs.keys() & {"transB", "alpha", "beta"}):
            inputs = [node.inputs[0], made, *node.inputs[2:]]
            outputs = list(node.outputs)
            for name in ("transB", "alpha", "beta"):
                attrs.pop(name, None)
            edit.remove(node)
            edit.node(node.op, inputs, outputs, attrs, at=node)
        else:
            edit.set_input(node, role.position, made)


@dataclass(frozen=True)
class _WeightWriter:
    """Adds the nodes before `at`; `name` is that of the weight, `dtype` its type."""

    edit: Edit
    at: gs.Node
    name: str
    dtype: np.dtype[Any]

    def dequantize(self, q: Array, grid: BlockGrid) -> gs.Tensor:
        """Return DequantizeLinear(q, s, z) of the weight's type."""
        inputs = [self._constant(q, "quantized"), self._scale(grid.scale)]
        if grid.zero_point.any():
            zero = grid.zero_point.astype(np.int32).astype(grid.format.dtype)
            inputs.append(self._constant(zero, "zero_point"))
        elif not grid.format.signed:
            inputs.append(self._constant(np.zeros(grid.scale.shape, grid.format.dtype), "zero"))
        attrs = {"axis": grid.blocks.axis}
        if grid.blocks.size is not None:
            attrs["block_size"] = grid.blocks.size
        return self._node(DEQUANTIZE, inputs, q.shape, attrs)

    def arithmetic(self, q: Array, grid: BlockGrid) -> gs.Tensor:
        """Return Mul(Sub(Cast(q), Cast(z)), s), one operator for each that is needed."""
        shape, axis, size = q.shape, grid.blocks.axis, grid.blocks.size
        if size is None:
            ones = [-1 if i == axis else 1 for i in range(q.ndim)]
            stored, narrow = shape, tuple(ones)
        else:  # [..., blocks, size, ...], so that scales broadcast
            stored = (*shape[:axis], shape[axis] // size, size, *shape[axis + 1 :])
            narrow = (*shape[:axis], shape[axis] // size, 1, *shape[axis + 1 :])
        whole = self._cast(self._constant(q.reshape(stored), "quantized"), stored)
        if grid.zero_point.any():
            zero = grid.zero_point.reshape(narrow).astype(np.int32).astype(grid.format.dtype)
            cast = self._cast(self._constant(zero, "zero_point"), zero.shape)
            whole = self._node("Sub", [whole, cast], stored)
        made = self._node("Mul", [whole, self._scale(grid.scale.reshape(narrow))], stored)
        if size is None:
            return made
        target = self.edit.constant(np.asarray(shape, np.int64), f"{self.name}_shape")
        return self._node("Reshape", [made, target], shape)

    def look_up(self, q: Array, grid: BlockGrid, weight: LinearWeight) -> None:
        """Let each node of `weight` look up integers and their scales, and multiply out those."""
        ones = [-1 if i == grid.blocks.axis else 1 for i in range(q.ndim)]
        table = self._constant(q, "quantized")
        scale = self._constant(grid.scale.reshape(ones), "scale")
        zero = grid.zero_point.reshape(ones).astype(np.int32).astype(grid.format.dtype)
        zeros = self._constant(zero, "zero_point") if zero.any() else None
        for node in weight.nodes:
            self._look_up(node, weight.view.shape(node.outputs[0]), table, scale, zeros)

    def _look_up(
        self,
        node: gs.Node,
        shape: Shape | None,
        table: gs.Tensor,
        scale: gs.Tensor,
        zeros: gs.Tensor | None,
    ) -> None:
        edit, y = self.edit, node.outputs[0]
        real = TensorType(self.dtype, shape)

        def real_entries(held: gs.Tensor) -> gs.Tensor:
            at = edit.variable(f"{y.name}_{held.name}", TensorType(np.dtype(held.dtype), None))
            edit.node(node.op, [held, node.inputs[1]], [at], dict(node.attrs), at=node)
            if held.dtype == self.dtype:
                return at
            made = edit.variable(f"{at.name}_real", TensorType(self.dtype, None))
            edit.node("Cast", [at], [made], {"to": dtypes.elem_type(self.dtype)}, at=node)
            return made

        edit.remove(node)
        whole = real_entries(table)
        if zeros is not None:
            moved = edit.variable(f"{y.name}_whole", real)
            edit.node("Sub", [whole, real_entries(zeros)], [moved], at=node)
            whole = moved
        edit.node("Mul", [whole, real_entries(scale)], [y], at=node)

    def _scale(self, scale: Array) -> gs.Tensor:
        held = self._constant(scale, "scale")
        return held if scale.dtype == self.dtype else self._cast(held, scale.shape)

    def _cast(self, tensor: gs.Tensor, shape: tuple[int, ...]) -> gs.Tensor:
        return self._node("Cast", [tensor], shape, {"to": dtypes.elem_type(self.dtype)})

    def _constant(self, values: Array, role: str) -> gs.Tensor:
        return self.edit.constant(values, f"{self.name}_{role}")

    def _node(
        self,
        op: str,
        inputs: list[gs.Tensor],
        shape: tuple[int, ...],
        attrs: dict[str, Any] | None = None,
    ) -> gs.Tensor:
        made = self.edit.variable(f"{self.name}_real", TensorType(self.dtype, shape))
        self.edit.node(op, inputs, [made], attrs, at=self.at)
        return made
