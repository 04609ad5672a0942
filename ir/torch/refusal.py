"""The one error for a node that PyTorch has no form for."""

from __future__ import annotations

from typing import NoReturn

import onnx_graphsurgeon as gs

from ..core.errors import ConversionError
from ..core.variables import label


def refuse(node: gs.Node, reason: str, advice: str) -> NoReturn:
    """Raise ConversionError: why `node` cannot be converted, and what to do."""
    raise ConversionError(f"node {label(node)} cannot be put into PyTorch: {reason}; {advice}")
