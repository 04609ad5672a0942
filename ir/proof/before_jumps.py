"""What rounding in a window may come to further on: another integer, index or choice.

Nodes that are the same on tensors that are equal up to rounding need no window of their own. Where
one of them jumps, or another behind it, the window that rounds says so.
"""

from __future__ import annotations

from dataclasses import replace

from ..core.variables import subgraphs_of
from ..ops.jumps import jumps
from .expressions import captured
from .proof import Proof
from .sides import Side
from .windows import ProofWindow, reads_shape


class JumpsAhead:
    """The tensors of a graph from which a node that jumps is reached."""

    def __init__(self, side: Side) -> None:
        self._before: set[str] = set()
        opset = int(side.graph.opset)
        for node in reversed(side.graph.nodes):
            reached = any(tensor.name in self._before for tensor in node.outputs)
            if reads_shape(node) or not (reached or jumps(node, opset)):
                continue
            read = [*node.inputs, *(t for body in subgraphs_of(node) for t in captured(body))]
            self._before.update(tensor.name for tensor in read if tensor.name)

    def named(self, window: ProofWindow, proof: Proof) -> Proof:
        """Return what was shown of a window, with a claim that says what follows."""
        if proof.claim == "rounding" and window.output[1].name in self._before:
            return replace(proof, claim="jump")
        return proof
