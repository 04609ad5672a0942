"""What is said of a node that ONNX Runtime does not run in a program either."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from .....ir.core.errors import BackendError
from .....ir.core.variables import label


class OtherRuntimeError(BackendError):
    """A `node` that another runtime would run, in a program that calls none."""

    def __init__(self, node: gs.Node, why: str) -> None:
        super().__init__(f"backend 'tvm' cannot run {label(node)}: {why}")
        self.node = node
        self.why = why


def refused(node: gs.Node, reason: str) -> BackendError:
    """Return the error about `node`, of which `reason` says why."""
    return BackendError(f"backend 'tvm' cannot run {label(node)}: {reason}")
