"""Identities that keep runtimes from joining what stands around them.

    LeakyRelu(x; alpha = 1) = x

ONNX Runtime looks past a Relu, a Clip or what moves data, and not past this one.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_graphsurgeon as gs

from ...core.variables import is_standard

BARRIER = "LeakyRelu"
BARRIER_ATTRIBUTES: Mapping[str, float] = {"alpha": 1.0}


def is_barrier(node: gs.Node) -> bool:
    """Say whether `node` is an identity that is to stay."""
    alpha = node.attrs.get("alpha")
    return node.op == BARRIER and is_standard(node) and alpha == BARRIER_ATTRIBUTES["alpha"]
