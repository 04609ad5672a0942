"""Why a model is slower than another: what ONNX Runtime has fused there, and not here.

optimized graph of the faster: FusedConv x 16
optimized graph of the slower: FusedConv x 15, Conv, Relu        Conv and Relu stand alone
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import onnx_graphsurgeon as gs

from ...backends.contract.registry import lower
from ...ir.core.variables import label
from ...ir.files.load import load


def why_slower(faster: gs.Graph, slower: gs.Graph, threads: int | None) -> Mapping[str, list[str]]:
    """Return operators that the slower one has left over once it is optimized, and these nodes.

    Counted are nodes of the graphs that ONNX Runtime executes. Empty where no fewer are fused.
    """
    before, after = (_by_operator(each, threads) for each in (faster, slower))
    lost = {}
    for operator, nodes in sorted(after.items()):
        extra = len(nodes) - len(before.get(operator, ()))
        if extra > 0:
            known = {name for name, _ in before.get(operator, ())}
            new = [text for name, text in nodes if name not in known]
            lost[operator] = (new or [text for _, text in nodes])[:extra]
    return lost


def _by_operator(graph: gs.Graph, threads: int | None) -> dict[str, list[tuple[str, str]]]:
    """Return name and label of the nodes that are executed, by operator."""
    with tempfile.TemporaryDirectory(prefix="planish-") as folder:
        path = Path(folder) / "optimized.onnx"
        lower(graph, "onnxruntime", threads=threads).save(path)
        found: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for node in load(path).nodes:
            found[node.op].append((node.name, label(node)))
        return found
