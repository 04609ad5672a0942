"""What a tensor of the graph is while its module is being made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_graphsurgeon as gs

if TYPE_CHECKING:
    from .fake_quantize import FakeQuantize


@dataclass(frozen=True)
class Literal:
    """Values that are part of the architecture: a Constant node's, or computed from such."""

    array: np.ndarray[Any, Any]


@dataclass(frozen=True)
class Weight:
    """An initializer: a parameter, a buffer or a number, once it is known who reads it."""

    constant: gs.Constant


@dataclass(frozen=True)
class MaskedWeight:
    """An initializer times its mask: a parameter, and a buffer that is never trained."""

    constant: gs.Constant
    mask: gs.Constant


@dataclass(frozen=True, kw_only=True)
class QuantizedWeight:
    """Integers and the scale they are dequantized with; becomes a float parameter and its grid."""

    integers: gs.Constant
    scale: gs.Constant
    zero_point: np.ndarray[Any, Any] | None
    axis: int
    block: int
    name: str


@dataclass(frozen=True)
class Quantizer:
    """A fake-quantizer in the tree of modules."""

    path: str
    module: FakeQuantize


@dataclass(frozen=True)
class Traced:
    """A node of the fx graph.

    `numbers`: its value is a numpy array of plain numbers (sizes, indices), no tensor. `quantizer`:
    its values lie on the grid of this fake-quantizer. `integers`: the graph's tensor holds the
    integers of that grid, while the fx node has their real values.
    """

    node: Any
    numbers: bool = False
    quantizer: Quantizer | None = None
    integers: bool = False


Value = Literal | Weight | MaskedWeight | QuantizedWeight | Traced
