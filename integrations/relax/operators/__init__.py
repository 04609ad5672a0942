"""What an operator of Relax is in ONNX: one writer an operator.

A writer declines, with a reason, what ONNX would compute otherwise, or cannot say. The sizes that
ONNX infers of each result are compared with Relax's besides (`regions`).
"""

from __future__ import annotations

from . import axes, pointwise, windows
from .writer import OPSET, Write, Writer, constant_of

__all__ = ["OPSET", "WRITERS", "Writer", "constant_of"]

WRITERS: dict[str, Write] = {**windows.WRITERS, **pointwise.WRITERS, **axes.WRITERS}
