"""A Squeeze names its axes in order: runtimes infer the shape of another otherwise.

Up to opset 10, ONNX's inference walks along the axes and the list of those to squeeze at once.
ONNX Runtime believes it, and refuses what reads the result where the shape of x is known.
"""

from __future__ import annotations

import itertools

import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.edit import Edit
from ....ir.graph.view import View
from ...engine.rewrite import Rewrite

_FIRST_RIGHT = 11


class SortedAxes(Rewrite[gs.Node]):
    """Sort the axes of a Squeeze of an opset that has them as an attribute, none below zero."""

    ops = frozenset({"Squeeze"})

    def match(self, node: gs.Node, view: View) -> gs.Node | None:
        """Return `node` where its axes are not in order."""
        if not is_standard(node) or view.opset >= _FIRST_RIGHT:
            return None
        axes = node.attrs.get("axes")
        unsorted = isinstance(axes, list) and any(a > b for a, b in itertools.pairwise(axes))
        return node if unsorted else None

    def rewrite(self, site: gs.Node, edit: Edit) -> None:
        """Write the axes in order."""
        edit.remove(site)
        attrs = {**site.attrs, "axes": sorted(site.attrs["axes"])}
        edit.node("Squeeze", site.inputs, site.outputs, attrs, at=site)
