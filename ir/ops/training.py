"""Operators that do something else while a network trains: Dropout and BatchNormalization.

An attribute `is_test` said so up to opset 6, the number of outputs for BatchNormalization up to 13,
`training_mode` since: an attribute there, an input of Dropout.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ..core.decline import need
from ..graph.view import View
from .opsets import has_attribute
from .parameters import ValuesOf, read_parameter


def need_inference(node: gs.Node, view: View) -> None:
    """Decline a Dropout or BatchNormalization that trains, or may train.

    For BatchNormalization also where its running statistics are asked for and read.
    """
    need(_is_inference(node, view), "it is in training mode")
    if node.op == "BatchNormalization":
        need(node.attrs.get("spatial", 1) == 1, "its statistics are per element (spatial=0)")
        asked = [t for t in node.outputs[1:] if not t.is_empty()]
        says = has_attribute(node.op, "training_mode", view.opset)
        need(says or not asked, "more outputs than one put it in training mode")
        used = [t for t in asked if view.readers(t) or view.is_output(t)]
        need(not used, "its running statistics are read")


def drops_at_random(node: gs.Node, view: View, values_of: ValuesOf | None = None) -> bool:
    """Say whether a Dropout may drop anything; for `values_of` see `read_parameter`."""
    if has_attribute("Dropout", "is_test", view.opset):
        return not node.attrs.get("is_test", 0)
    mode = read_parameter(node, "training_mode", view, values_of)
    return mode.given and (mode.values is None or bool(mode.values.any()))


def _is_inference(node: gs.Node, view: View) -> bool:
    if node.op == "Dropout":
        return not drops_at_random(node, view)
    if has_attribute(node.op, "is_test", view.opset):
        return bool(node.attrs.get("is_test", 0))
    return not node.attrs.get("training_mode", 0)
