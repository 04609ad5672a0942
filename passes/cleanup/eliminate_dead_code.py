"""Remove what no output depends on.

    a node is dead  <=>  none of its outputs is a graph output or read by a live node
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from ...ir.uses import scopes
from ...ir.variables import is_standard
from ..context import Context
from ..contract import Pass


@dataclass(frozen=True)
class EliminateDeadCode(Pass):
    """Remove nodes whose results nothing reads.

    An operator of an unknown domain stays even where nothing reads it: it may have an effect.
    """

    name: ClassVar[str] = "eliminate-dead-code"

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Walk every scope backwards, inner scopes before the ones they capture from."""
        edit = context.edit()
        known = {(f.domain, f.name) for f in graph.functions}
        for scope in reversed(list(scopes(graph))):
            for node in reversed(scope.nodes):
                if any(
                    id(tensor) in edit.uses.pinned or edit.uses.reads(tensor)
                    for tensor in node.outputs
                ):
                    continue
                if not is_standard(node) and (node.domain, node.op) not in known:
                    context.decline(node, f"operators of domain '{node.domain}' may have effects")
                elif edit.begin():
                    edit.remove(node)
        edit.commit()
