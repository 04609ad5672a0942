"""One graph under different choices of what is bfloat16."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import onnx_graphsurgeon as gs

from ....ir.graph.clone import clone
from ...engine.context import Context, Report, report_nothing
from ..convert_precision import ConvertPrecision


@dataclass(frozen=True)
class Bfloat16Variants:
    """A float32 `graph`, its `layers` by name, and how the chosen ones are converted."""

    graph: gs.Graph
    layers: tuple[str, ...]
    convert: ConvertPrecision

    @property
    def reference(self) -> gs.Graph:
        """The graph with no layer in bfloat16."""
        return self.graph

    def build(
        self,
        chosen: Collection[str],
        *,
        corrected: bool = False,
        report: Report = report_nothing,
    ) -> gs.Graph:
        """Return a copy of the graph with `chosen` in bfloat16; nothing is corrected afterwards."""
        copy = clone(self.graph)
        others = tuple(key for key in self.layers if key not in chosen)
        exclude = (*self.convert.exclude, *others)
        replace(self.convert, exclude=exclude).run(copy, Context(copy))
        return copy

    def build_alone(self, node: str) -> gs.Graph:
        """Return `build` of one node."""
        return self.build((node,))
