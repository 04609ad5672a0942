"""Prologues: element-wise operators that a 1x1 convolution applies to its input as it reads it.

y = Conv(Relu(x * s + t))      x * s + t is never stored where the convolution alone reads it
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from ..graph.groups import REAL
from ..graph.linear_layer import linear_layer
from ..graph.spatial import is_known, read_window
from ..spec.chain import ElementwiseChain
from .value import Value


@dataclass(frozen=True)
class DeferredPrologue:
    """A tensor that is not stored: `chain` of `x`, with the chain's operands.

    `store` stores it all the same, for a reader that turns out not to be a kernel.
    """

    x: Value
    chain: ElementwiseChain
    args: tuple[Any, ...]
    store: Callable[[], None]


def can_defer(tensor: gs.Tensor, x: Value, chain: ElementwiseChain, view: View) -> bool:
    """Say whether `chain` of `x`, which is `tensor`, can be left to the operator that reads it.

    One convolution of one position reads it, and the chain has the same operands everywhere: what
    a reader computes for itself must not cost more reading than it saves.
    """
    if np.dtype(x.dtype) not in REAL or view.is_output(tensor):
        return False
    if any(operand.spatial != (1, 1, 1) for operand in chain.operands):
        return False
    spec = x.spec()
    if any(map(any, spec.halo)) or spec.spatial[0] > 1 or spec.spatial == (1, 1, 1):
        return False
    readers = list(view.readers(tensor))
    return len(readers) == 1 and _is_pointwise(readers[0], tensor, view)


def _is_pointwise(node: gs.Node, tensor: gs.Tensor, view: View) -> bool:
    if node.op != "Conv" or node.inputs[0] is not tensor:
        return False
    if any(other is tensor for other in node.inputs[1:]):
        return False
    if not is_known(view, node.inputs[0], node.outputs[0]):
        return False
    layer = linear_layer(node, view)
    if layer is None:
        return False
    dense = layer.group == 1 and layer.inputs > 1
    return dense and layer.weight.dtype in REAL and read_window(node, view).is_pointwise
