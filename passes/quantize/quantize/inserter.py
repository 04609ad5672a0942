"""QuantizeLinear / DequantizeLinear pairs put into a graph.

    y = Conv(DQ(Q(x)), DQ(w_q), DQ(b_q))      b_q in int32, at scale s_x * s_w

A runtime that knows the pattern computes it on integers; any other computes the same in float.
Source: ONNX operators QuantizeLinear and DequantizeLinear; Jacob et al. (CVPR 2018), section 2.4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import node_key
from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.ops.linear.operators import bias_of, is_absent_bias, output_axis
from ....ir.ops.quantization.nodes import DEQUANTIZE, quantizer
from ....ir.ops.quantization.weights import weight_scale, weight_values
from ..grids.formats import IntegerFormat
from ..grids.grid import QuantizationGrid, grid_of_weights
from ..qdq.scoped_views import ScopedViews
from ..qdq.units import BOUNDING, Unit, bounds
from .placement import Placement
from .scheme import QuantizationScheme
from .tensor_pairs import TensorPairs

Array = np.ndarray[Any, Any]

# Biases stay this far inside int32, so that sums of products find room beside them.
_MOST_BIAS = 2.0**30
_LARGE = float(np.finfo(np.float32).max)
_INT32 = IntegerFormat(32, signed=True)


class PairInserter:
    """Puts the pairs of one placement into a graph, through `edit`."""

    def __init__(
        self,
        edit: Edit,
        views: ScopedViews,
        scheme: QuantizationScheme,
        steps: Mapping[str, Array],
    ) -> None:
        self._edit = edit
        self._views = views
        self._scheme = scheme
        self._steps = steps
        self._pairs = TensorPairs(edit, views)
        self._stored: dict[tuple[int, bytes], tuple[gs.Constant, ...]] = {}

    def insert(self, placement: Placement, grids: Mapping[int, QuantizationGrid]) -> None:
        """Quantize weights and tensors; `grids` by id of the tensor, one object for each group."""
        scopes = self._scopes(placement)
        for unit in placement.units:
            if unit.is_linear:
                self._quantize_weights(unit.node, grids[id(unit.inputs[0])].scale)
            if unit.node.op == "AveragePool" and "dilations" in unit.node.attrs:
                self._without_dilations(unit.node)
            if unit.bounded is not None and self._is_implied(unit.bounded, grids):
                self._drop_bound(unit)
        shared: dict[int, tuple[gs.Constant, ...]] = {}
        for tensor in placement.tensors:
            known = self._pairs.quantizes(tensor)
            if known is not None:
                self._pairs.pass_in(tensor, known, scopes[id(tensor)])
            elif self._edit.begin():
                grid = grids[id(tensor)]
                if id(grid) not in shared:
                    shared[id(grid)] = self._parameters(grid, tensor.name)
                self._put(tensor, grid, shared[id(grid)], scopes[id(tensor)])
        for unit in placement.units:
            if unit.node.op in BOUNDING and self._is_implied(unit.node, grids):
                self._bypass(unit.node)

    def _scopes(self, placement: Placement) -> dict[int, list[gs.Graph]]:
        """Return the scopes in which units read or make each tensor, by its id."""
        found: dict[int, dict[int, gs.Graph]] = {}
        for unit in placement.units:
            scope = self._views.scope_of(unit.node)
            for tensor in (*unit.inputs, *unit.outputs):
                found.setdefault(id(tensor), {})[id(scope)] = scope
        return {key: list(scopes.values()) for key, scopes in found.items()}

    def _put(
        self,
        tensor: gs.Tensor,
        grid: QuantizationGrid,
        parameters: tuple[gs.Constant, ...],
        scopes: Sequence[gs.Graph],
    ) -> None:
        values = self._views.of_tensor(tensor).constant(tensor)
        if values is not None:
            self._pairs.store(tensor, grid.quantize(values), scopes, parameters)
        else:
            self._pairs.pair(tensor, scopes, parameters)

    def _parameters(self, grid: QuantizationGrid, name: str) -> tuple[gs.Constant, ...]:
        scale = self._edit.constant(grid.scale, f"{name}_scale")
        if grid.format == _INT32:
            return (scale,)  # int32 has no zero point (ONNX operator DequantizeLinear)
        zero = grid.zero_point.astype(grid.format.dtype)
        return scale, self._edit.constant(zero, f"{name}_zero_point")

    def _without_dilations(self, node: gs.Node) -> None:
        """Leave ones out: ONNX Runtime copies them to its integer pool, and then refuses them."""
        if self._edit.begin():
            attrs = {key: value for key, value in node.attrs.items() if key != "dilations"}
            inputs, outputs = list(node.inputs), list(node.outputs)
            self._edit.remove(node)
            self._edit.node(node.op, inputs, outputs, attrs, at=node)

    def _is_implied(self, node: gs.Node, grids: Mapping[int, QuantizationGrid]) -> bool:
        """Say whether the grid of what a Relu or Clip gives ends where its bounds are."""
        grid = grids.get(id(node.outputs[0]))
        if grid is None:
            return False
        low, high = bounds(node, self._views.of_node(node))
        ends = grid.quantize(np.array([max(low, -_LARGE), min(high, _LARGE)]))
        form = grid.format
        below = np.isinf(low) or (form.ends_below and int(ends[0]) == form.qmin)
        above = np.isinf(high) or (form.ends_above and int(ends[1]) == form.qmax)
        return below and above

    def _drop_bound(self, unit: Unit) -> None:
        """Remove the Relu or Clip behind the unit, whose own result takes its name."""
        assert unit.bounded is not None
        if self._edit.begin():
            result = unit.bounded.outputs[0]
            self._edit.remove(unit.bounded)
            self._edit.rename_output(unit.node, unit.node.outputs[0], result)

    def _bypass(self, node: gs.Node) -> None:
        """Let the QuantizeLinear behind a Relu or Clip read what that reads."""
        reader = quantizer(node.outputs[0], self._views.of_node(node))
        if reader is not None and self._edit.begin():
            self._edit.set_input(reader, 0, node.inputs[0])
            self._edit.remove(node)

    def _quantize_weights(self, node: gs.Node, input_scale: Array) -> None:
        view = self._views.of_node(node)
        weight = weight_values(node.inputs[1], view)
        assert weight is not None
        given = bias_of(node)
        bias = None if given is None else view.constant(given)
        bias = None if is_absent_bias(node, bias) else bias
        scale = weight_scale(node.inputs[1], view)
        if scale is None:
            if not self._edit.begin():
                return
            # A stack of matrices has none that is one of channels alone.
            apart = self._scheme.per_channel and (node.op != "MatMul" or weight.ndim == 2)
            axis = output_axis(node) if apart else None
            grid = grid_of_weights(weight, self._scheme.weights, axis)
            if axis is not None:
                grid = _clipped(grid, self._steps.get(node_key(node)))
            if bias is not None:
                grid = _roomy(grid, bias, float(input_scale))
            scale = grid.scale
            self._dequantized(node, 1, node.inputs[1].name, weight, grid)
        if bias is not None and self._edit.begin():
            full, grid = _bias_grid(bias, np.float64(input_scale) * scale.astype(np.float64))
            self._dequantized(node, 2, node.inputs[2].name, full, grid)

    def _dequantized(
        self, node: gs.Node, position: int, name: str, values: Array, grid: QuantizationGrid
    ) -> None:
        edit = self._edit
        key = (id(node.inputs[position]), grid.scale.tobytes())
        if key not in self._stored:
            integers = grid.quantize(values)
            self._stored[key] = (
                edit.constant(integers, f"{name}_quantized"),
                *self._parameters(grid, name),
            )
        result = edit.variable(
            f"{name}_dequantized", TensorType(np.dtype(np.float32), values.shape)
        )
        attrs = {} if grid.axis is None else {"axis": grid.axis}
        edit.node(DEQUANTIZE, self._stored[key], [result], attrs, at=node)
        edit.set_input(node, position, result)


def _bias_grid(bias: Array, scale: Array) -> tuple[Array, QuantizationGrid]:
    """Return the bias at full length, and its grid at `scale` = s_x * s_w.

    A ConvTranspose has one scale for the same channel of all groups; a bias of one value stands for
    all channels.
    """
    size = max(bias.size, scale.size)
    full = np.broadcast_to(bias.reshape(-1), (size,))
    if scale.ndim:
        scale = np.tile(scale, size // scale.size)
    zero = np.zeros(scale.shape, np.int64)
    return full, QuantizationGrid(scale.astype(np.float32), zero, _INT32, 0 if scale.ndim else None)


def _clipped(grid: QuantizationGrid, steps: Array | None) -> QuantizationGrid:
    """Return `grid` with `steps` [M] for scales, where they are not NaN."""
    if steps is None:
        return grid
    scale = np.where(np.isnan(steps), grid.scale, steps).astype(np.float32)
    return replace(grid, scale=scale)


def _roomy(grid: QuantizationGrid, bias: Array, input_scale: float) -> QuantizationGrid:
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
