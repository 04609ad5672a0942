"""QuantizeLinear / DequantizeLinear pairs put into a graph.

    y = Conv(DQ(Q(x)), DQ(w_q), DQ(b_q))      b_q in int32, at scale s_x * s_w

A runtime that knows the pattern computes it on integers; any other computes the same in float.
Source: ONNX operators QuantizeLinear and DequantizeLinear; Jacob et al. (CVPR 2018), section 2.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.edit import Edit
from ...ir.infer import TensorType
from ...ir.view import View
from .formats import Format
from .grid import Grid, grid_of_weights
from .operators import Unit, bounds, weight_axis
from .placement import Placement, is_dequantized

Array = np.ndarray[Any, Any]

# Biases stay this far inside int32, so that sums of products find room beside them.
_MOST_BIAS = 2.0**30
_INT32 = Format(32, signed=True)


class Inserter:
    """Puts the pairs of one placement into a graph, through `edit`."""

    def __init__(self, edit: Edit, view: View, weights: Format, per_channel: bool) -> None:
        self._edit = edit
        self._view = view
        self._weights = weights
        self._per_channel = per_channel
        self._stored: dict[tuple[int, bytes], tuple[gs.Constant, gs.Constant, gs.Constant]] = {}

    def insert(self, placement: Placement, grids: Mapping[int, Grid]) -> None:
        """Quantize weights and tensors; `grids` by id of the tensor, one object for each group."""
        for unit in placement.units:
            if unit.is_linear:
                scale = grids[id(unit.inputs[0])].scale
                self._quantize_weights(unit.node, scale)
            if unit.bounded is not None and id(unit.outputs[0]) in grids:
                self._drop_bound(unit, grids[id(unit.outputs[0])])
        shared: dict[int, tuple[gs.Constant, gs.Constant]] = {}
        for group in placement.groups:
            for tensor in group:
                if not is_dequantized(tensor, self._view) and self._edit.begin():
                    grid = grids[id(tensor)]
                    if id(grid) not in shared:
                        shared[id(grid)] = self._parameters(grid, tensor.name)
                    self._pair(tensor, shared[id(grid)])

    def _parameters(self, grid: Grid, name: str) -> tuple[gs.Constant, gs.Constant]:
        zero = grid.zero_point.astype(grid.format.dtype)
        return (
            self._edit.constant(grid.scale, f"{name}_scale"),
            self._edit.constant(zero, f"{name}_zero_point"),
        )

    def _pair(self, tensor: gs.Tensor, parameters: tuple[gs.Constant, gs.Constant]) -> None:
        edit, view = self._edit, self._view
        found = view.type(tensor)
        kind = None if found is None else TensorType(parameters[1].dtype, found.shape)
        producer, readers = view.producer(tensor), view.readers(tensor)
        quantized = edit.variable(f"{tensor.name}_quantized", kind)
        if view.is_output(tensor):
            # The name is the graph's, so what computes it gives its result another one.
            assert producer is not None
            source: gs.Tensor = edit.variable(f"{tensor.name}_float", found)
            edit.rename_output(producer, tensor, source)
            result = tensor
        else:
            source, result = tensor, edit.variable(f"{tensor.name}_dequantized", found)
        at = producer if producer is not None else readers[0]
        for reader in readers:
            for position, read in enumerate(reader.inputs):
                if read is source or read is tensor:
                    edit.set_input(reader, position, result)
        edit.node("QuantizeLinear", [source, *parameters], [quantized], at=at)
        edit.node("DequantizeLinear", [quantized, *parameters], [result], at=at)

    def _drop_bound(self, unit: Unit, grid: Grid) -> None:
        """Remove a Relu or Clip whose bounds are where the integers end."""
        bounded = unit.bounded
        assert bounded is not None
        low, high = bounds(bounded, self._view)
        ends = grid.quantize(np.array([low, min(high, 3e38)]))
        if int(ends[0]) != grid.format.qmin or int(ends[1]) != grid.format.qmax:
            return
        if not self._edit.begin():
            return
        result = bounded.outputs[0]
        self._edit.remove(bounded)
        self._edit.rename_output(unit.node, unit.node.outputs[0], result)

    def _quantize_weights(self, node: gs.Node, input_scale: Array) -> None:
        edit, view = self._edit, self._view
        weight = view.constant(node.inputs[1])
        if weight is None or not edit.begin():
            return
        axis = weight_axis(node, weight.ndim) if self._per_channel else None
        grid = grid_of_weights(weight, self._weights, axis)
        bias = view.constant(node.inputs[2]) if len(node.inputs) > 2 else None
        if bias is not None:
            grid = _roomy(grid, bias, float(input_scale))
        name = node.inputs[1].name
        self._dequantized(node, 1, name, weight, grid)
        if bias is not None:
            channels = grid.scale.size if grid.axis is not None else bias.size
            full = np.broadcast_to(bias.reshape(-1), (max(bias.size, channels),))
            scale = np.float64(input_scale) * grid.scale.astype(np.float64)
            if grid.axis is not None and full.size != channels:  # groups of a ConvTranspose
                scale = np.tile(scale, full.size // channels)
            bias_axis = 0 if scale.ndim else None
            zero = np.zeros(scale.shape, np.int64)
            stored = Grid(scale.astype(np.float32), zero, _INT32, bias_axis)
            self._dequantized(node, 2, node.inputs[2].name, full, stored)

    def _dequantized(
        self, node: gs.Node, position: int, name: str, values: Array, grid: Grid
    ) -> None:
        edit = self._edit
        key = (id(node.inputs[position]), grid.scale.tobytes())
        if key not in self._stored:
            integers = grid.quantize(values)
            self._stored[key] = (
                edit.constant(integers, f"{name}_quantized"),
                edit.constant(grid.scale, f"{name}_scale"),
                edit.constant(grid.zero_point.astype(grid.format.dtype), f"{name}_zero_point"),
            )
        result = edit.variable(
            f"{name}_dequantized", TensorType(np.dtype(np.float32), values.shape)
        )
        attrs = {} if grid.axis is None else {"axis": grid.axis}
        edit.node("DequantizeLinear", self._stored[key], [result], attrs, at=node)
        edit.set_input(node, position, result)


def _roomy(grid: Grid, bias: Array, input_scale: float) -> Grid:
    """Return `grid` with scales at which `bias` fits into int32."""
    magnitude = np.abs(bias.astype(np.float64)).reshape(-1)
    if grid.axis is None or magnitude.size % grid.scale.size:
        least = magnitude.max(initial=0.0)
    else:
        least = magnitude.reshape(-1, grid.scale.size).max(axis=0)
    least = np.asarray(least / (input_scale * _MOST_BIAS))
    if bool(np.all(grid.scale >= least)):
        return grid
    return replace(grid, scale=np.maximum(grid.scale, least.astype(np.float32)))
