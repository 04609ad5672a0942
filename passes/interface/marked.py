"""Nodes that stand at the border of a network, known again by their names."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_graphsurgeon as gs

from ...ir.graph.edit import Edit


def is_marked(nodes: Iterable[gs.Node], prefix: str) -> bool:
    """Say whether one of `nodes` was named by `mark`."""
    return any((node.name or "").startswith(f"{prefix}/") for node in nodes)


def mark(node: gs.Node, prefix: str, edit: Edit) -> None:
    """Name a node, which this batch of changes added, after what it is for."""
    edit.rename(node, f"{prefix}/{node.op.lower()}")
