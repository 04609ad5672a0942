"""What is pruned as one: single weights, or the kernels of convolutions.

Granularity        a unit                                         a layer's units
weight             one weight                                     all of them
N:M                one weight; N stay of M inputs in a row        for each output and tap
kernel             the taps from one input channel to one output  output by input channels
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.core.variables import is_standard, node_key
from ....ir.graph.view import View
from ....ir.ops.linear.operators import MATRIX_OPS
from ....ir.ops.linear.operators import from_blocks as stored_weight
from ....ir.ops.linear.operators import to_blocks as stored_blocks
from ....ir.ops.traits.groups import LAYERS
from ...engine.context import Context
from ...engine.node_names import NodeSelection
from .masked_weights import PrunableWeight, read_weight

Array = np.ndarray[Any, Any]
Values = Mapping[str, Array]


class Units(Protocol):
    """A row of units of one layer or group, that compete for their places."""

    @property
    def name(self) -> str:
        """What it is called in remarks."""

    @property
    def gone(self) -> Array:
        """[units], those that are masked wholly."""

    def weights(self) -> dict[str, Array]:
        """Return the weights that make the units, by name, without masks."""

    def pooled(self, values: Values, *, scaled: int = 0) -> Array:
        """Return the sums over each unit of `values`, given for each weight by its name.

        `scaled`: each times that power of the factor by which a normalization behind it scales.
        """

    def gated(self, values: Values) -> Array:
        """Return the sums where units leave their layers, after a normalization that follows."""


@dataclass(frozen=True)
class WeightUnits:
    """The weights or kernels of one constant, with all who hold it.

    `size`: weights in one unit. `gone`: [units], those that are masked wholly already.
    """

    uses: tuple[PrunableWeight, ...]
    size: int
    gone: Array

    @property
    def name(self) -> str:
        """The name of the weight."""
        return self.uses[0].name

    def weights(self) -> dict[str, Array]:
        """Return the weight."""
        return {self.name: self.uses[0].values}

    def pooled(self, values: Values, *, scaled: int = 0) -> Array:
        """Return the sums over each unit; no factor counts within one layer."""
        found = values.get(self.name)
        if found is None:
            return np.zeros(len(self.gone))
        if self.size == 1:
            return found.reshape(-1)
        return np.asarray(self.blocks(found).reshape(-1, self.size).sum(axis=1))

    def gated(self, values: Values) -> Array:
        """Return the same."""
        return self.pooled(values)

    def blocks(self, values: Array) -> Array:
        """Return [groups, outputs, inputs, taps] of what has the weight's shape."""
        found = to_blocks(self.uses[0].node, values)
        return found.reshape(*found.shape[:3], -1)

    def mask(self, gone: Array) -> Array:
        """Return the mask, as the weight, in which the units `gone` [units] are taken out."""
        if self.size == 1:
            return np.logical_not(gone).reshape(self.uses[0].values.shape)
        return self.mask_of_blocks(np.repeat(~gone, self.size))

    def mask_of_blocks(self, blocks: Array) -> Array:
        """Return as the weight what is given in the form of `blocks`, flat or not."""
        return from_blocks(self.uses[0].node, blocks, self.uses[0].values.shape)

    def without(self, gone: Array) -> WeightUnits:
        """Return the units when `gone` are masked too."""
        return replace(self, gone=self.gone | gone)


def to_blocks(node: gs.Node, values: Array) -> Array:
    """Return a weight of `node` as [groups, outputs, inputs, taps...], float64."""
    return stored_blocks(node, np.asarray(values, np.float64))


def from_blocks(node: gs.Node, blocks: Array, shape: tuple[int, ...]) -> Array:
    """Return what `to_blocks` gave (of any shape with as many elements), as stored in `shape`."""
    inner = stored_blocks(node, np.zeros(shape, bool)).shape
    return stored_weight(node, blocks.reshape(inner))


def read_weights(
    graph: gs.Graph, view: View, context: Context, selection: NodeSelection
) -> list[tuple[PrunableWeight, ...]]:
    """Return the weights of all linear layers, each with all who hold it, in order.

    Layers whose weights are not constant floats are declined; `selection`
    says whose weights are taken.
    """
    found: dict[int, list[PrunableWeight]] = {}
    for node in graph.nodes:
        if node.op not in LAYERS or not is_standard(node):
            continue
        prunable = read_weight(node, 1, view)
        if prunable is None:
            context.decline(node, _why_not(node, view))
            continue
        if node.op in MATRIX_OPS and prunable.values.ndim != 2:
            context.decline(node, f"the weight of {node.op} is no matrix")
            continue
        found.setdefault(id(prunable.weight), []).append(prunable)
    return [
        tuple(each)
        for each in found.values()
        if selection.selects(*(node_key(prunable.node) for prunable in each))
    ]


def _why_not(node: gs.Node, view: View) -> str:
    kind = view.dtype(node.inputs[1])
    if kind is not None and not dtypes.is_float(kind):
        return f"the weight of {node.op} is not a float"
    return f"the weight of {node.op} is not constant"


def single_weights(prunable: tuple[PrunableWeight, ...]) -> WeightUnits:
    """Return the weights of a layer as units of their own."""
    return WeightUnits(prunable, 1, np.asarray(~prunable[0].stays().reshape(-1)))


def kernels(prunable: tuple[PrunableWeight, ...]) -> WeightUnits | None:
    """Return the kernels of a convolution as units, or None for a layer of single taps."""
    first = prunable[0]
    taps = math.prod(first.values.shape[2:]) if first.node.op.startswith("Conv") else 1
    if taps == 1:
        return None
    stays = to_blocks(first.node, first.stays()).reshape(-1, taps)
    return WeightUnits(prunable, taps, np.array(~stays.any(axis=1)))
