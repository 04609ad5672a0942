"""What may be known of an operator: the traits, each with what it promises.

Promises hold for every input of the types that the operator takes, integers that wrap around
excepted (`integers`), and up to the rounding of the result where `exact` is false. What a trait
does not promise is unknown, not false. All speak of the first output.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, IntEnum


class Movement(IntEnum):
    """How the elements of the result come from those of the data inputs; smaller says more."""

    RESHAPE = 1  # each once, in the order in which they lie
    PERMUTE = 2  # each once, in an order that their values do not decide
    TAKE = 3  # some, once or more often; their values do not decide which
    SELECT = 4  # some; their values decide which, as in the largest of a window
    NONE = 5  # the result holds other values


class Monotone(Enum):
    """How the result changes where data inputs grow (each element or some, none shrinks)."""

    UNKNOWN = 0
    INCREASING = 1  # never shrinks
    STRICTLY_INCREASING = 2  # different data, different results, in exact arithmetic
    DECREASING = -1
    STRICTLY_DECREASING = -2

    @property
    def increases(self) -> bool:
        """Say whether larger inputs never give a smaller result."""
        return self.value > 0

    @property
    def decreases(self) -> bool:
        """Say whether larger inputs never give a larger result."""
        return self.value < 0

    @property
    def is_strict(self) -> bool:
        """Say whether different inputs give different results, in exact arithmetic."""
        return abs(self.value) == 2


class Homogeneous(IntEnum):
    """Whether f(t x) = t f(x), the data inputs scaled together; larger says more."""

    UNKNOWN = 0
    POSITIVE = 1  # for t > 0
    ANY = 2  # for every t


class Integers(Enum):
    """What integer inputs do that would leave the range of the result's type."""

    NONE = "the operator takes no integers, or nothing is known of what it makes of them"
    EXACT = "no result leaves the range"
    WRAP = "the result wraps around"
    SATURATE = "the result stays at the end of the range"
    OVERFLOW = "runtimes differ in what becomes of the result"

    @property
    def may_overflow(self) -> bool:
        """Say whether a result may not be that of exact arithmetic."""
        return self in (Integers.WRAP, Integers.SATURATE, Integers.OVERFLOW)


class Kind(Enum):
    """A kind of data."""

    NONE = "no data"
    NOT_NEGATIVE = "without negative elements"
    INTEGRAL = "all elements integers"


@dataclass(frozen=True, kw_only=True)
class Weighted:
    """Where a linear operator y = W x + b has its weight and bias, and how W is stored.

    `data`, `weight` and `bias` are input positions, -1 for an operator without bias. `outputs` and
    `inputs` are the axes of the weight for output and input channels (negative ones count from the
    end). Where `grouped`, the attribute `group` divides the channels: Conv stores `inputs` of one
    group, ConvTranspose `outputs` of one group. `quantized`: products of integers, with scales and
    zero points beside them. `steered`: what meets which weight, other inputs decide as well.
    """

    data: int = 0
    weight: int = 1
    bias: int = 2
    outputs: int = 0
    inputs: int = 1
    grouped: bool = False
    quantized: bool = False
    steered: bool = False

    @property
    def is_plain(self) -> bool:
        """Say whether weight and data alone, both of the same type, decide the product."""
        return not self.quantized and not self.steered


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What is known of an operator at an opset, or of a node with its attributes.

    From the schema:
    `op`: its name, that of the standard operator for a function of the domain `planish`.
    `since`: the opset that brought this version of it; 0 for an operator nothing is known of.
    `pure`: equal inputs give equal outputs, and these are tensors.
    `bodies`: it runs graphs, held by its attributes.
    `windowed`: it slides a window (`kernel_shape`) over positions.
    `integers`: see `Integers`.

    Families:
    `elementwise`: an element of the result depends on one element of each of the first `operands`
    inputs, broadcast to each other (None: of all inputs); other inputs are single values, types.
    `comparison`: of two numbers, giving booleans.
    `logical`: of booleans or of the bits of integers.
    `movement`: see `Movement`; where `fills`, elements of a fixed value may stand between.
    `moved_outputs`: how many of the outputs that speaks of; None for all.
    `reduction`: it reduces the axes of `axes` to one element each.
    `arg_reduction`: it gives the index along `axis` of the largest or smallest.
    `pooling`: it reduces windows of each channel, or all positions where it is not `windowed`.
    `weighted`: a linear operator with its weight; see `Weighted`.
    `layer`: the linear operator that it is, or that a fused operator begins with; "" for the rest.
    `normalization`: it shifts or scales by statistics of its data.
    `softmax`: it weighs elements against each other along an axis (up to opset 12, all from it on).
    `cumulative`: a running sum or product along an axis.
    `resampling`: it computes values between positions.
    `recurrent`: it carries a state along a sequence.
    `quantizer`: it turns floats into integers by scale and zero point, or back.
    `constant`: it gives values that no input decides.
    `random`: it draws random numbers; `trains`: an attribute or input may make it do so, or update
    statistics, as training does.

    Inputs:
    `data`: the inputs that carry data (None: all); the others are weights, bounds, sizes, indices.
    `commutative`: the order of its inputs makes no difference.

    Values:
    `monotone`, `homogeneous`: see there.
    `keeps_nonnegative`, `keeps_nonpositive`: of data without negative (positive) elements it gives
    none; `keeps_sign` is both.
    `low`, `high`: no element lies outside; NaN is never excluded.
    `exact`: it rounds nothing: each element is one of its type's whatever is computed.
    `rounds_once`: computed in the type of its data or in a wider one and rounded to that, it gives
    the same; attributes and what stands between, such as a sum, are rounded nowhere.
    `continuous`: small changes of its data make small changes of the result, poles aside.
    `loses_tails`: the runtime's kernel is right to a unit in the last place of 1, not of the
    result: what is smaller may come as 0.
    `integral`: all elements are integers (or infinite, or NaN).
    `gives_back`: data of that kind it gives back as it is.
    `keeps_single`: of one element (in a window, along the axes, of one operand) it gives that one;
    of one NaN a pool gives that or the lowest number, in the runtime of one -inf too.
    `keeps_uniform`: data of one number everywhere gives that number everywhere.
    `idempotent`: f(f(x)) = f(x); `involution`: f(f(x)) = x.
    `neutral`: as its last operand that number gives back the first, zeros of either sign alike; as
    its first too where it is `commutative`. None where there is no such number.
    `zero`: data of zeros gives zeros; `negative_zero`: zeros keep their sign.
    `nan`: a NaN in the data makes every element NaN that depends on it.
    `ends`: the results for data of minus and plus infinity, of an element-wise operator of one
    operand; None where unknown.
    `of_nothing`: what it gives for a reduction, window or sum of no elements, with the largest and
    lowest number for infinities where a type has none, and in pools; None where that is an error or
    differs. Everything else gives an empty result for empty data. What is said of values does not
    hold for it: whether there are elements, `windows.seen` says.

    Shape:
    `keeps_shape`: the result has the shape of the first input.
    `keeps_batch`: it treats each element of the first axis alone, and has as many of them.
    """

    op: str = ""
    since: int = 0
    pure: bool = False
    bodies: bool = False
    windowed: bool = False
    integers: Integers = Integers.NONE

    elementwise: bool = False
    operands: int | None = 0
    comparison: bool = False
    logical: bool = False
    movement: Movement = Movement.NONE
    fills: bool = False
    moved_outputs: int | None = 1
    reduction: bool = False
    arg_reduction: bool = False
    pooling: bool = False
    weighted: Weighted | None = None
    layer: str = ""
    normalization: bool = False
    softmax: bool = False
    cumulative: bool = False
    resampling: bool = False
    recurrent: bool = False
    quantizer: bool = False
    constant: bool = False
    random: bool = False
    trains: bool = False

    data: tuple[int, ...] | None = (0,)
    commutative: bool = False

    monotone: Monotone = Monotone.UNKNOWN
    homogeneous: Homogeneous = Homogeneous.UNKNOWN
    keeps_nonnegative: bool = False
    keeps_nonpositive: bool = False
    low: float = -math.inf
    high: float = math.inf
    exact: bool = False
    rounds_once: bool = False
    continuous: bool = False
    loses_tails: bool = False
    integral: bool = False
    gives_back: Kind = Kind.NONE
    keeps_single: bool = False
    keeps_uniform: bool = False
    idempotent: bool = False
    involution: bool = False
    neutral: int | None = None
    zero: bool = False
    negative_zero: bool = False
    nan: bool = False
    ends: tuple[float, float] | None = None
    of_nothing: float | None = None

    keeps_shape: bool = False
    keeps_batch: bool = False

    @property
    def known(self) -> bool:
        """Say whether anything is known: the operator is a standard one, or a recognized one."""
        return self.since > 0

    @property
    def unary(self) -> bool:
        """Say whether it is element-wise with one operand."""
        return self.elementwise and self.operands == 1

    @property
    def broadcasts(self) -> bool:
        """Say whether it is element-wise with several operands."""
        return self.elementwise and self.operands != 1

    @property
    def reshapes(self) -> bool:
        """Say whether the elements lie as they lay, whatever the shape."""
        return self.movement == Movement.RESHAPE

    @property
    def permutes(self) -> bool:
        """Say whether the result has every element of its data once."""
        return self.movement <= Movement.PERMUTE

    @property
    def moves(self) -> bool:
        """Say whether it puts elements elsewhere, whatever their values, and gives no others."""
        return self.movement <= Movement.TAKE and not self.fills

    @property
    def selects(self) -> bool:
        """Say whether every element of its result is one of its data."""
        return self.movement <= Movement.SELECT and not self.fills

    @property
    def keeps_sign(self) -> bool:
        """Say whether data of one sign gives results of that sign, zeros aside."""
        return self.keeps_nonnegative and self.keeps_nonpositive

    @property
    def linear(self) -> bool:
        """Say whether it is linear with a weight: a layer."""
        return self.weighted is not None

    def data_of(self, inputs: int) -> tuple[int, ...]:
        """Return the positions that carry data of a node with that many inputs."""
        given = range(inputs) if self.data is None else self.data
        return tuple(position for position in given if position < inputs)

    def operands_of(self, inputs: int) -> range:
        """Return the positions that broadcast of a node with that many inputs."""
        return range(inputs if self.operands is None else min(self.operands, inputs))


NOTHING = Traits(data=None)
