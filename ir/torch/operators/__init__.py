"""How each ONNX operator is said in PyTorch: tables from operators to handlers, by subject.

A handler asks a `Call` for the node's attributes and inputs and returns its result, or results.
`COUNTED` are those that compute on sizes and indices, beside the tensors.
"""

from __future__ import annotations

from ..call import Handler
from . import (
    counting,
    elementwise,
    indexing,
    linear,
    masks,
    movement,
    normalization,
    pooling,
    quantization,
    recurrent,
    reduction,
    resizing,
)

COUNTED: dict[str, Handler] = counting.OPERATORS
HANDLERS: dict[str, Handler] = {
    **elementwise.OPERATORS,
    **indexing.OPERATORS,
    **linear.OPERATORS,
    **masks.OPERATORS,  # its Mul looks for a mask first
    **movement.OPERATORS,
    **normalization.OPERATORS,
    **pooling.OPERATORS,
    **quantization.OPERATORS,
    **recurrent.OPERATORS,
    **reduction.OPERATORS,
    **resizing.OPERATORS,
}
