"""Scales put into a graph as Mul, and taken into the pairs that were put beside them.

    y -> Mul(t)   before   y over t: W / t, b / t         DQ(q; s) t = DQ(q; s t)

with one scale for each channel. Until then the graph says the same in plain operators.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from .....ir.core.variables import node_key
from .....ir.graph.edit import Edit
from .....ir.graph.view import View
from .....ir.ops.quantization.nodes import DEQUANTIZE, dequantizer
from ...equalize_ranges.rescale import rescaled, write
from ..calibration.observers import Range
from .border_tensors import BorderTensor
from .scales import ScaledTensor

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class _Placed:
    """A Mul `node` behind what `layer` gives over a scale; `key`: what that was called before."""

    node: gs.Node
    layer: gs.Node
    key: str
    scaled: ScaledTensor

    @property
    def source(self) -> str:
        return str(self.node.inputs[0].name)


class PlacedScales:
    """The scales of one graph, from when they are put there until they are in its pairs."""

    def __init__(self, edit: Edit, view: View) -> None:
        self._edit, self._view = edit, view
        self._placed: list[_Placed] = []

    def __bool__(self) -> bool:
        """Say whether there are any."""
        return bool(self._placed)

    def place(self, borders: Iterable[BorderTensor], scales: Mapping[str, ScaledTensor]) -> None:
        """Let the layers at those of `borders` that `scales` names give their results over them."""
        for border in borders:
            scaled = scales.get(border.tensor.name)
            if scaled is not None and self._edit.begin():
                self._placed.append(self._place(border, scaled))
        self._edit.commit()  # what follows reads the nodes in order

    def _place(self, border: BorderTensor, scaled: ScaledTensor) -> _Placed:
        edit, tensor, layer = self._edit, border.tensor, border.layer
        readers, key = self._view.readers(tensor), node_key(layer.node)
        found = edit.variable(f"{tensor.name}_scaled", self._view.type(tensor))
        edit.rename_output(border.last, tensor, found)
        edit.replace(found, tensor, readers)
        shape = (-1,) + (1,) * (layer.weight.ndim - 2)
        values = scaled.scale.astype(np.float32).reshape(shape)
        factor = edit.constant(values, f"{tensor.name}_factor")
        made = edit.node("Mul", [found, factor], [tensor], at=border.last)
        write(edit, rescaled(layer, np.ones(layer.inputs), 1 / scaled.scale))
        return _Placed(made, layer.node, key, scaled)

    def ranges(self) -> dict[str, Range]:
        """Return the ranges of what is over a scale, by tensor name."""
        return {placed.source: placed.scaled.span for placed in self._placed}

    def steps(self, given: Mapping[str, Array]) -> dict[str, Array]:
        """Return the steps `given` of weights as those have them that are over a scale."""
        own = {
            node_key(placed.layer): given[placed.key] / placed.scaled.scale
            for placed in self._placed
            if placed.key in given
        }
        return {**given, **own}

    def fold(self) -> None:
        """Take all scales into the DequantizeLinear before them."""
        for placed in self._placed:
            node = placed.node
            before = dequantizer(node.inputs[0], self._view)
            alone = before is not None and self._view.only_reader(before.outputs[0]) is node
            if before is not None and alone and self._edit.begin():
                self._fold(placed, before)

    def _fold(self, placed: _Placed, before: gs.Node) -> None:
        edit, node = self._edit, placed.node
        scale, zero = (self._view.constant(tensor) for tensor in before.inputs[1:3])
        assert scale is not None
        assert zero is not None
        scales = (scale.astype(np.float64) * placed.scaled.scale).astype(np.float32)
        parameters = [
            edit.constant(scales, f"{node.outputs[0].name}_scale"),
            edit.constant(np.full(scales.shape, zero), f"{node.outputs[0].name}_zero_point"),
        ]
        integers, result = before.inputs[0], node.outputs[0]
        edit.remove(node)
        edit.remove(before)
        edit.node(DEQUANTIZE, [integers, *parameters], [result], {"axis": 1}, at=before)
