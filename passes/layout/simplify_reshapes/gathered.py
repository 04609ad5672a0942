"""Every element gathered once and in order is the tensor itself, in the shape of the indices.

gather(x, [[0, 1], [2, 3]]) = reshape(x, [2, 2])       x of four elements along the axis

`torch.export` writes a view with strides of its own as such a Gather of the flat tensor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.edit import Edit
from ....ir.graph.view import View
from ....ir.ops.axes.named import normal_axes
from ....ir.ops.build import build_reshape
from ....ir.ops.traits import attribute
from ...engine.rewrite import Rewrite


@dataclass(frozen=True)
class GatheredWhole:
    """A Gather of all elements along its axis in order, and the target of the Reshape it is."""

    node: gs.Node
    target: tuple[int, ...]


class ReshapeForGather(Rewrite[GatheredWhole]):
    """Write a Reshape for a Gather whose constant indices of several axes leave out nothing."""

    ops = frozenset({"Gather"})

    def match(self, node: gs.Node, view: View) -> GatheredWhole | None:
        """Return the Gather where its indices count along the axis; of one axis it does nothing."""
        shape = view.shape(node.inputs[0]) if is_standard(node) else None
        axes = (
            None if shape is None else normal_axes(attribute(node, "axis", view.opset), len(shape))
        )
        if not shape or axes is None:
            return None
        size = shape[axes[0]]
        indices = view.constant(node.inputs[1])
        if indices is None or indices.ndim < 2 or not size or indices.size != size:
            return None
        if not np.array_equal(indices.reshape(-1) % size, np.arange(size)):
            return None
        target = [*shape[: axes[0]], *indices.shape, *shape[axes[0] + 1 :]]
        open_sizes = [dim for dim in target if not isinstance(dim, int)]
        if len(open_sizes) > 1 or 0 in target:
            return None
        return GatheredWhole(node, tuple(d if isinstance(d, int) else -1 for d in target))

    def rewrite(self, site: GatheredWhole, edit: Edit) -> None:
        """Put the Reshape in its place."""
        node = site.node
        edit.remove(node)
        build_reshape(edit, node.inputs[0], node.outputs[0], site.target, at=node)
