"""The rewrite that removes a node which returns one of the tensors it is computed from."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.decline import need
from ...ir.graph.edit import Edit
from ...ir.graph.view import View
from ..engine.rewrite import Rewrite

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class BypassSite:
    """A node, the tensor that equals its first output, and who is to produce a graph output."""

    node: gs.Node
    kept: gs.Tensor
    producer: gs.Node | None  # set where the node's output is a graph output


class Bypass(Rewrite[BypassSite]):
    """Make the readers of a node's first output read the tensor that it returns.

    Left alone where it joins a graph input or constant directly to a graph output, since both
    names must stay. Other outputs of the node must be unread.
    """

    @abstractmethod
    def returned(self, node: gs.Node, view: View) -> gs.Tensor | None:
        """Return the tensor that the first output of `node` equals, or None; may decline."""

    def match(self, node: gs.Node, view: View) -> BypassSite | None:
        """Return the node with what it returns, unless both names must stay."""
        kept = self.returned(node, view)
        if kept is None:
            return None
        result = node.outputs[0]
        if not view.is_output(result):
            return BypassSite(node, kept, None)
        producer = need(view.producer(kept), "it joins a graph input or constant to a graph output")
        need(not view.is_output(kept), "its input and its output are both graph outputs")
        return BypassSite(node, kept, producer)

    def rewrite(self, site: BypassSite, edit: Edit) -> None:
        """Remove the node; a graph output moves to the producer of what it returned."""
        result = site.node.outputs[0]
        edit.remove(site.node)
        if site.producer is None:
            edit.replace(result, site.kept)
        else:
            edit.rename_output(site.producer, site.kept, result)


def optional_values(node: gs.Node, index: int, view: View, what: str = "") -> Array | None:
    """Return the constant at input `index`; an absent one is None, one unknown declines."""
    if len(node.inputs) <= index or node.inputs[index].is_empty():
        return None
    return need(
        view.constant(node.inputs[index]), f"{what or f'its input {index}'} is not constant"
    )
