"""Identities that keep runtimes from joining what stands around them.

    LeakyRelu(x; alpha = 1) = x

ONNX Runtime looks past a Relu, a Clip or what moves data, and not past this one.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ...core.variables import is_standard
from ...graph.edit import Edit

_BARRIER, _SLOPE = "LeakyRelu", 1.0


def add_barrier(edit: Edit, source: gs.Tensor, result: gs.Tensor, at: gs.Node) -> None:
    """Make `result` of `source` by an identity that is to stay, where `at` stands."""
    edit.node(_BARRIER, [source], [result], {"alpha": _SLOPE}, at=at)


def is_barrier(node: gs.Node) -> bool:
    """Say whether `node` is an identity that is to stay."""
    return node.op == _BARRIER and is_standard(node) and node.attrs.get("alpha") == _SLOPE
