"""What a module made by `to_fx` remembers of its graph."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import onnx_graphsurgeon as gs

KEY = "planish"


@dataclass(frozen=True)
class Binding:
    """The tensor at `path` of the module stands for `constant` of the graph.

    `kind`: "plain" (the same values), "transposed", "scale" (a quantization scale, its magnitude),
    "integers" (float values, stored rounded on the grid of `quantizer`), "bias" (float values,
    stored rounded at the product of the scales of `quantizer` and `other`) or "bias-scale" (that
    product itself; no tensor lies at `path`).
    """

    constant: gs.Constant
    path: str
    kind: str = "plain"
    quantizer: str = ""
    other: str = ""


@dataclass
class Source:
    """The graph that a module was made of, and where its constants went."""

    graph: gs.Graph
    bindings: list[Binding] = field(default_factory=list)

    def __deepcopy__(self, memo: dict[int, Any]) -> Source:
        """A module's copy was made of the same graph, which nobody changes."""
        return self
