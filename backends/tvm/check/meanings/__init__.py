"""What the description of a kernel means: on random operands, the values before its epilogue.

A description says the same as one ONNX operator, and it is that operator that is run, in ONNX's own
layout, by ONNX Runtime with its optimizations off: it knows nothing of blocks, borders, tiles and
registers. What moves elements is written in numpy.
"""

from . import convolutions, elements, rows, windows  # noqa: F401  they register meanings
from .meaning import Meaning, has_meaning, meaning_of
from .results import result_of

__all__ = ["Meaning", "has_meaning", "meaning_of", "result_of"]
