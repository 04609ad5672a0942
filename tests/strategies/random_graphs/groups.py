"""Nodes that are tried together: what is between them has no array, only its ends have.

Sequences, optional values and narrow types cannot be fed to the runtime, or come out of it, as
numpy's arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .builder import MOST_ELEMENTS, Builder, info, make_attribute, reads
from .evaluate import run_session, session_of


class Group:
    """Nodes to be added to a builder if the runtime takes them all."""

    def __init__(self, builder: Builder) -> None:
        self.builder = builder
        self.nodes: list[onnx.NodeProto] = []

    def one(self, op: str, *inputs: str, **attrs: Any) -> str:
        """Add a node of one output and return its name."""
        return self.node(op, inputs, **attrs)[0]

    def node(self, op: str, inputs: Sequence[str], outputs: int = 1, **attrs: Any) -> list[str]:
        """Add a node and return the names of its outputs."""
        names = [self.builder.fresh() for _ in range(outputs)]
        made = helper.make_node(op, list(inputs), names, name=f"n_{names[0]}")
        made.attribute.extend(make_attribute(k, v) for k, v in attrs.items() if v is not None)
        self.nodes.append(made)
        return names

    def close(self, *ends: str) -> list[str]:
        """Add the nodes to the builder and return `ends`; nothing where the runtime refuses."""
        b = self.builder
        b.proposed += 1
        try:
            session = session_of(self._model(ends))
            found = run_session(session, {name: b.arrays[name] for name in self._read(False)})
        except Exception:  # the binding raises one class per status code
            b.refused += 1
            return []
        if not all(isinstance(v, np.ndarray) and v.size <= MOST_ELEMENTS for v in found.values()):
            return []
        b.nodes += self.nodes
        b.arrays.update(found)
        return list(ends)

    def _read(self, constant: bool) -> list[str]:
        b = self.builder
        names = dict.fromkeys(name for node in self.nodes for name in reads(node))
        return [n for n in names if n in b.arrays and (n in b.constants) == constant]

    def _model(self, ends: Sequence[str]) -> onnx.ModelProto:
        b = self.builder
        graph = helper.make_graph(
            self.nodes,
            "group",
            [info(name, b.arrays[name], b.arrays[name].shape) for name in self._read(False)],
            [onnx.ValueInfoProto(name=name) for name in ends],
            [numpy_helper.from_array(b.arrays[name], name) for name in self._read(True)],
        )
        imports = [helper.make_opsetid("", b.opset)]
        return helper.make_model(graph, opset_imports=imports, ir_version=10)
