"""The layers of a graph whose weights can be rounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.counted import counted
from ....ir.core.decline import DeclinedError, need
from ....ir.core.errors import RefusedError
from ....ir.core.variables import is_standard, node_key
from ....ir.graph.uses import scopes
from ....ir.graph.view import View
from ....ir.ops.linear.layer import Layer, read_with_bias
from ....ir.ops.traits.groups import LAYERS
from ...engine.context import Context
from ..grids.formats import IntegerFormat
from ..grids.grid import lattice_steps

Array = np.ndarray[Any, Any]


def grid_limit(name: str, bits: int) -> int:
    """Return the largest integer of weights of `bits` bits, an option of the pass called `name`."""
    if not 2 <= bits <= 8:
        raise RefusedError(f"{name} rounds to 2 to 8 bits, not {bits}")
    return IntegerFormat(bits, signed=True, narrow=True).qmax


def layers_to_round(
    graph: gs.Graph, view: View, context: Context, qmax: int, exclude: Sequence[str]
) -> list[Layer]:
    """Return the layers of the top level in order, declining those that cannot be rounded.

    Remarks name those in bodies, which are left alone.
    """
    found, inside = [], []
    for scope in scopes(graph):
        for node in scope.nodes:
            if node.op not in LAYERS or not is_standard(node):
                continue
            try:
                if scope is not graph and view.constant(node.inputs[1]) is not None:
                    inside.append(node_key(node))
                need(
                    scope is graph,
                    "it stands in the body of an If, Loop or Scan, whose values are not seen",
                )
                found.append(_read(node, view, qmax, exclude))
            except DeclinedError as reason:
                context.decline(node, str(reason))
    left = sorted(set(inside) - set(exclude))
    if left:
        layers = counted(len(left), "layer of a body keeps its", "layers of bodies keep their")
        context.remark(
            f"{layers} weights and biases: they are fitted at the top level alone, and `quantize` "
            f"rounds these to nearest ({', '.join(left)})"
        )
    return found


def _read(node: gs.Node, view: View, qmax: int, exclude: Sequence[str]) -> Layer:
    need(node_key(node) not in exclude, "it is excluded")
    layer = read_with_bias(node, view)
    need(
        layer.weight.dtype == np.float32,
        f"its weights are {layer.weight.dtype.name}, and the grid is one of float32 values",
    )
    need(layer.weight.size > 0, "its weight is empty")
    need(bool(np.isfinite(layer.weight).all()), "its weights are not finite")
    need(
        layer.op != "ConvTranspose" or layer.group == 1,
        "groups of a ConvTranspose share the steps of their output channels",
    )
    need(
        not isinstance(layer.source, gs.Constant),
        "its input is a constant, not something a sample changes",
    )
    weight = node.inputs[1]
    others = view.fan_out(weight) - 1
    need(
        others == 0,
        f"its weights are shared with {others} other node{'s' * (others > 1)}, and rounding them "
        "apart would store them twice",
    )
    kernel = layer.kernel().weight
    need(
        not is_on_grid(kernel.reshape(layer.outputs, -1), qmax), "its weights lie on a grid already"
    )
    return layer


def is_on_grid(rows: Array, qmax: int) -> bool:
    """Say whether each row lies on an integer grid, as one with fewer than two values does."""
    single = np.count_nonzero(rows, axis=1) < 2
    return bool((single | ~np.isnan(lattice_steps(rows, qmax))).all())
