"""Masks on weights, as they stand in a graph.

    W_masked = W * M        M of zeros and ones, broadcast to W: a named constant, `<weight>_mask`

The product is an ordinary Mul of two constants, so that a masked graph runs, saves and loads
anywhere, and the weight below the mask is kept until the mask is applied.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..core.variables import dense_values, is_standard

_SUFFIX = "_mask"
_NAME = re.compile(r"_mask(_\d+)?$")  # a number behind it where the name was taken


@dataclass(frozen=True)
class Masked:
    """`weight * mask`, computed by `node`; the mask broadcasts to the shape of the weight."""

    node: gs.Node
    weight: gs.Constant
    mask: gs.Constant

    def values(self) -> np.ndarray[Any, Any]:
        """Return the product, of the weight's shape and type."""
        weight, mask = dense_values(self.weight), dense_values(self.mask)
        assert weight is not None
        assert mask is not None
        return np.asarray(weight * mask, weight.dtype)


def mask_name(weight: str) -> str:
    """Return the name of the mask of the constant called `weight`."""
    return f"{weight}{_SUFFIX}"


def is_mask(tensor: gs.Tensor) -> bool:
    """Say whether `tensor` is a constant with the name of a mask that holds zeros and ones only."""
    if not isinstance(tensor, gs.Constant) or not _NAME.search(tensor.name):
        return False
    values = dense_values(tensor)
    return values is not None and bool(((values == 0) | (values == 1)).all())


def read_masked(node: gs.Node) -> Masked | None:
    """Return the weight and the mask that `node` multiplies, or None where it is something else."""
    if node.op != "Mul" or not is_standard(node) or len(node.inputs) != 2:
        return None
    for weight, mask in (node.inputs, node.inputs[::-1]):
        if isinstance(weight, gs.Constant) and is_mask(mask) and not is_mask(weight):
            held, given = dense_values(weight), dense_values(mask)
            if held is None or given is None or held.dtype != given.dtype:
                return None
            if _broadcasts(given.shape, held.shape):
                return Masked(node, weight, mask)
    return None


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Say whether an array of `shape` multiplied into one of shape `to` leaves that shape."""
    room = len(to) - len(shape)
    return room >= 0 and all(
        size in (1, wanted) for size, wanted in zip(shape, to[room:], strict=True)
    )
