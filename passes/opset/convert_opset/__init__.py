"""Raise the opset of a model.

    f(x; opset a) = f'(x; opset b)        b > a, f' the later spelling of the same function

Nodes whose operator keeps its form stay as they are, names and metadata included; the others are
written anew. All or nothing: one node that cannot be written keeps the model at the opset it has.
Weights are not touched, so models of any size convert at once.

`onnx.version_converter` does this on the file's own form; it copies the weights several times, so
a model over 2 GB is out of its reach, and drops node metadata.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError
from ....ir.core.errors import RefusedError
from ....ir.core.variables import STANDARD_DOMAINS, is_standard
from ....ir.graph.uses import scopes
from ...engine.context import Context
from ...engine.contract import Pass
from .adapters import LEAST_TARGET, OLDEST, Change, adapt, changes


@dataclass(frozen=True)
class ConvertOpset(Pass):
    """Raise the opset of the standard operators to `to`, without changing what they compute.

    Local functions are raised with the model where none of their operators changed its form. A
    model that is there already, or further, is left alone.

    - `to`: the opset to reach.
    """

    name: ClassVar[str] = "convert-opset"
    to: int = 21

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Raise the opset of `graph`."""
        newest = onnx.defs.onnx_opset_version()
        if not LEAST_TARGET <= self.to <= newest:
            raise RefusedError(
                f"to={self.to} is no opset to convert to; give {LEAST_TARGET} to {newest}"
            )
        ensure_opset(graph, context, self.to)


def ensure_opset(graph: gs.Graph, context: Context, version: int) -> bool:
    """Raise `graph` to opset `version` as one edit, and say whether it is there now.

    Where it cannot be, nothing changes and the nodes in the way are declined with the reason.
    """
    before = graph.opset
    if before >= version:
        return True
    planned: list[tuple[gs.Node, Change]] = []
    possible = _functions_allow(graph, context, version)
    for scope in scopes(graph):
        view = context.view(scope)
        for node in filter(is_standard, scope.nodes):
            try:
                if before < OLDEST:
                    raise DeclinedError(f"opset {before} is older than {OLDEST}")
                change = adapt(node, view, version)
            except DeclinedError as reason:
                context.decline(node, f"it keeps the model at opset {before}: {reason}")
                possible = False
                continue
            if change is not None:
                planned.append((node, change))
    if not possible:
        return False
    with context.editing() as edit:
        if not edit.begin():
            return False
        edit.raise_opset(version)  # which decides the forms that nodes are built in
        for _, change in planned:
            change(edit)
    context.remark(f"the model's opset was raised from {before} to {version}")
    return True


def _functions_allow(graph: gs.Graph, context: Context, version: int) -> bool:
    allowed = True
    for function in graph.functions:
        if not any(e.domain in STANDARD_DOMAINS for e in function.import_domains or ()):
            continue
        for scope in scopes(function):
            for node in filter(is_standard, scope.nodes):
                if changes(node.op, function.opset, version):
                    context.decline(
                        node,
                        f"it keeps the model at opset {graph.opset}: {node.op} is written "
                        f"otherwise in opset {version}, and stands in function '{function.name}'",
                    )
                    allowed = False
    return allowed
