"""Replace what does not depend on the inputs by its value.

    f(c1, ..., cn) = c        for a deterministic operator f and constants c1, ..., cn
    Shape(x) = [d1, ..., dn]  where those sizes follow from the graph's inputs
    CastLike(c, x) = Cast(c, to = type of x)

Exporters leave weights behind such arithmetic (`torch.onnx.export(..., optimize=False)` computes a
zero bias as Expand(CastLike(0, x), Shape(w))), and then no optimizer recognizes the convolution.
Values are computed on the reference runtime, many operators in one session.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import dense_values
from ....ir.graph.edit import Edit
from ...analysis.constants.bytes_held import constant_bytes
from ...analysis.constants.evaluation import may_fold
from ...engine.context import Context
from ...engine.contract import Pass
from .folder import Folder
from .growth import growing

Array = np.ndarray[Any, Any]

_TOLD = 1 << 16  # bytes, from which on a person is told that a model grows to twice its size

# What these compute follows from the types of their inputs, without their values.
_ASKS_TYPES = frozenset({"Shape", "Size", "CastLike"})


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Compute operators whose inputs are all constant, and shape arithmetic that is static.

    Random and stateful operators, operators of unknown domains and QuantizeLinear/DequantizeLinear
    are never folded.

    - `size-limit`: bytes that a result larger than its inputs may have, so that a folded Expand or
      ConstantOfShape cannot blow the file up.
    - `growth`: by how much all results together may make the model larger, as a multiple of what
      its constants take, and at least `size-limit` bytes. Where it would be more, nothing is folded
      that makes it larger, so that another run folds no more either.
    """

    name: ClassVar[str] = "fold-constants"
    size_limit: int = 1 << 20
    growth: float = 1.0

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Fold every scope of `graph`, outer ones first."""
        while True:
            with context.editing() as edit:
                self._fold(graph, edit, context)
            # A folded shape may have made those static that these ask for.
            held = context.uses.scopes(graph)
            if not edit.count or not any(n.op in _ASKS_TYPES for s in held for n in s.nodes):
                return

    def _fold(self, graph: gs.Graph, edit: Edit, context: Context) -> None:
        """Fold in all scopes at once, so that what the results take is known for the model."""
        folders = {
            id(scope): Folder(scope, edit, context, self.size_limit)
            for scope in edit.uses.scopes(graph)
            if any(may_fold(node, scope.opset) for node in scope.nodes)
        }

        def look_at(nodes: Iterable[gs.Node]) -> None:
            for node in nodes:
                folder = folders.get(id(edit.uses.scope(node)))
                if folder is not None:
                    folder.queue.append(node)

        while True:
            for folder in folders.values():
                folder.gather(look_at)
            if not any(folder.group for folder in folders.values()):
                return
            self._keep_small(graph, folders.values(), edit, context)
            for folder in folders.values():
                look_at(folder.evaluate())

    def _keep_small(
        self, graph: gs.Graph, folders: Iterable[Folder], edit: Edit, context: Context
    ) -> None:
        """Leave out what would make the model too large."""
        sizes = ChainMap(*(folder.sizes for folder in folders))
        nodes = [node for folder in folders for node in folder.group]
        parts = growing(nodes, lambda t: _bytes_of(t, sizes), edit.uses)
        total = sum(part.growth for part in parts)
        if total <= self.size_limit:
            if total >= max(_TOLD, constant_bytes(graph)):
                context.remark(
                    f"what is folded makes the model larger by {total} bytes; "
                    "fold-constants{size-limit=0,growth=0} leaves it to be computed"
                )
            return
        allowed = max(self.size_limit, int(self.growth * constant_bytes(graph)))
        if total <= allowed:
            return
        reason = f"folding would make the model larger by {total} bytes, and {allowed} are allowed"
        left_out = {id(node) for part in parts for node in part.nodes}
        for folder in folders:
            folder.leave_out(left_out, reason)


def _bytes_of(tensor: gs.Tensor, computed: Mapping[int, int]) -> int | None:
    values = dense_values(tensor)
    return values.nbytes if values is not None else computed.get(id(tensor))
