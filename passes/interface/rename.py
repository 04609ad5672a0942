"""Call tensors otherwise.

f(input.1) = 537   ->   f(images) = heatmap

Names are what callers give inputs and take outputs by; what is computed stays what it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from ...ir.core.errors import RefusedError
from ...ir.core.nearest import nearest
from ..engine.context import Context
from ..engine.contract import Pass


@dataclass(frozen=True)
class Rename(Pass):
    """Rename inputs, outputs and inner tensors.

    Whoever calls the model gives and takes them by the new names.

    - `names`: pairs, such as `[input.1:images,537:heatmap]`; `"a:b=c"` where a name has a colon.
    """

    name: ClassVar[str] = "rename"
    keeps_interface: ClassVar[bool] = False

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check that each is a pair, and that no name is on two sides."""
        pairs = _pairs(self.names)
        olds, news = [old for old, _ in pairs], [new for _, new in pairs]
        if len({*olds, *news}) < len(olds) + len(news):
            raise RefusedError("names gives a name twice; rename in two passes where that is meant")

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Rename what is not called so already."""
        held = {t.name: t for t in (*graph.inputs, *graph.outputs)}
        for node in graph.nodes:
            held |= {t.name: t for t in (*node.inputs, *node.outputs) if t.name}
        todo = []
        for old, new in _pairs(self.names):
            if old in held and (new in held or new in context.uses.tensor_names):
                raise RefusedError(f"'{old}' cannot be called '{new}': another tensor is")
            if old not in held and new not in held:
                raise RefusedError(f"the graph has no tensor '{old}'{nearest(old, held)}")
            if old in held:
                todo.append((held[old], new))
        with context.editing() as edit:
            for tensor, new in todo:
                if edit.begin():
                    edit.rename_tensor(tensor, new)


def _pairs(names: tuple[str, ...]) -> list[tuple[str, str]]:
    found = []
    for item in names:
        old, mark, new = item.partition("=") if "=" in item else item.rpartition(":")
        if not (old and mark and new):
            raise RefusedError(f"'{item}' is no pair of names; write [old:new]")
        found.append((old, new))
    return found
