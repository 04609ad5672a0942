"""The one table of what ONNX operators are; see `model` for what each trait says.

traits_of(node, opset).elementwise      what is known of a node (or of an operator's name)
operators_with(lambda t: t.pooling)     the names of all operators with a trait
attribute(node, "alpha", opset)         an attribute, or the default that the opset's schema gives
"""

from .functions import function_of
from .lookup import operators_with, traits_of
from .model import (
    NOTHING,
    Homogeneous,
    Integers,
    Kind,
    Monotone,
    Movement,
    Traits,
    Weighted,
)
from .recognized import NEWEST, attribute
from .schemas import default, schema_of

__all__ = [
    "NEWEST",
    "NOTHING",
    "Homogeneous",
    "Integers",
    "Kind",
    "Monotone",
    "Movement",
    "Traits",
    "Weighted",
    "attribute",
    "default",
    "function_of",
    "operators_with",
    "schema_of",
    "traits_of",
]
