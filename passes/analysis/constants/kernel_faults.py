"""What the reference runtime is not asked to compute: its kernels end the process, or are wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.graph.view import View

Array = np.ndarray[Any, Any]
Known = Callable[[gs.Tensor], Array | None]


def why_not_computed(node: gs.Node, view: View, known: Known) -> str:
    """Return why `node`, which may be folded, is not computed; empty where nothing is amiss.

    `known` gives the values of an operand, None where they are still to be computed.
    """
    if node.op == "Gather":
        dtype = view.dtype(node.inputs[0])
        if dtype is not None and np.dtype(dtype).kind in "OUS":
            return "ONNX Runtime gathers one element of each row of text"
    if node.op == "Div" or node.op == "Mod":
        return _why_not_divided(node, view, known)
    return ""


def _why_not_divided(node: gs.Node, view: View, known: Known) -> str:
    """Return why integers are not divided: the processor traps where no integer comes out."""
    dtype = view.dtype(node.inputs[0])
    if dtype is None:
        return "what it divides has no known type"
    if dtype.kind not in "iu":
        return ""
    dividend, divisor = map(known, node.inputs)
    if divisor is None:
        return "its divisor is not known"
    if (divisor == 0).any():
        return "it divides by 0"
    if dtype.kind == "u" or not (divisor == -1).any():
        return ""
    if dividend is None or (dividend == np.iinfo(dtype).min).any():
        return "it divides by -1 what is, or may be, the least integer"
    return ""
