"""Operators that passes treat alike, by name: what `Rewrite.ops` and tables of rules are made of.

Each is a trait of the table; a name says no more than the trait, so that `match` still asks
`is_standard` and whatever attributes decide.
"""

from __future__ import annotations

from .lookup import operators_with

# Functions of one number, activations among them; recognized functions of the domain `planish` too.
UNARY = operators_with(lambda traits: traits.unary)
# Of several operands that broadcast to each other.
BROADCASTING = operators_with(lambda traits: traits.broadcasts)
# The same elements in the same order, in another shape.
RESHAPES = operators_with(lambda traits: traits.reshapes and not traits.elementwise)
# Linear maps of the data by a weight: Conv, ConvTranspose, Gemm, MatMul.
LAYERS = operators_with(lambda traits: traits.weighted is not None and traits.weighted.is_plain)
# Those that may have a bias.
BIASED_LAYERS = LAYERS & operators_with(
    lambda traits: traits.weighted is not None and traits.weighted.bias >= 0
)
# Products of integers.
INTEGER_LAYERS = operators_with(
    lambda traits: traits.weighted is not None and traits.weighted.quantized
)
POOLS = operators_with(lambda traits: traits.pooling)
# Those that give a mean or the largest element, of windows or of all positions.
MEAN_AND_MAX_POOLS = operators_with(lambda traits: traits.pooling and traits.monotone.increases)
MEAN_POOLS = MEAN_AND_MAX_POOLS - operators_with(lambda traits: traits.selects)
REDUCTIONS = operators_with(lambda traits: traits.reduction)
SOFTMAXES = operators_with(lambda traits: traits.softmax)
# Those that look at the shape of their input and at none of its values.
READ_NO_VALUES = operators_with(lambda traits: traits.constant) - {"Constant", "ConstantOfShape"}
# Those that normalize over the last axes, from `axis` on.
LAYER_NORMS = frozenset({"LayerNormalization", "RMSNormalization"})
# Those that carry a state along a sequence: GRU, LSTM, RNN.
RECURRENT = operators_with(lambda traits: traits.recurrent)
