"""How large the terms are that results are sums of: every operator on |x| and |w|.

|f|(x) = sum over the terms t of f of |t(x)|,   |f(x)| <= |f|(x)

What rounding does to a sum is a part of its terms, and not of what is left where they cancel: with
n roundings on the way of a term, |fl(f(x)) - f(x)| <= gamma_n |f|(x), gamma_n = n u / (1 - n u), in
whatever order the terms are added (N. J. Higham, Accuracy and Stability of Numerical Algorithms,
2002, section 3.1). Where a number is under the smallest normal one of its type, it is rounded as
that is, so that none counts as smaller.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from ...ops.windows.attributes import window_attributes
from ..magnitudes import Magnitudes, float_type
from ..values import Array, PointValues, UnsupportedError
from . import arithmetic, linear, movement, reduction
from .call import Call, broadcast

_Terms = Callable[[Call, Call], Array]  # from the node on its values, and on their magnitudes
_Count = Callable[[Call], float]

# Roundings of a function of a constant, such as a root, however it is computed.
_OF_FUNCTION = 4


def of_node(call: Call, by_rule: Callable[[Call], Any], kept: Magnitudes) -> list[PointValues]:
    """Return the results of a node with their magnitudes, of inputs that have such.

    Numbers that vary have nothing but a magnitude. Raises UnsupportedError where there is no bound.
    """
    call = replace(call, inputs=[None if v is None else kept.of_constant(v) for v in call.inputs])
    values: list[PointValues] | None = None
    if all(value.is_fixed for value in call.values()):
        values = _listed(by_rule(call))
        if not any(value.is_real for value in values):
            return values
    if any(not value.is_fixed and value.magnitude is None for value in call.values()):
        raise UnsupportedError(f"{call.op} of what is no number")
    found = _magnitudes(call, by_rule, values)
    return [kept.of_result(value) for value in found]


def _listed(found: Any) -> list[PointValues]:
    return found if isinstance(found, list) else [found]


def _magnitudes(
    call: Call, by_rule: Callable[[Call], Any], values: list[PointValues] | None
) -> list[PointValues]:
    terms = replace(
        call,
        inputs=[
            v if v is None or v.magnitude is None else v.with_array(v.magnitude)
            for v in call.inputs
        ],
    )
    counts = [value.roundings for value in call.values()]
    rule = _RULES.get(call.op)
    if rule is not None:
        steps = rule.count(call) + (sum(counts) if rule.multiplies else max(counts, default=0.0))
        made = [call.x.with_array(np.asarray(rule.terms(call, terms)))]
    elif call.op in movement.RULES or call.op in ("Cast", "CastLike"):
        made, steps = _listed(by_rule(terms)), max(counts, default=0.0)
        made = [v.with_array(np.abs(v.array)) if v.is_real else v for v in made]
        if call.op not in movement.RULES:
            steps += _narrows(call.x, made[0])
    elif values is not None and (not any(counts) or call.op in ("Sqrt", "Reciprocal")):
        made, steps = [v.with_array(np.abs(v.array)) for v in values], sum(counts) + _OF_FUNCTION
    else:
        raise UnsupportedError(f"{call.op}, of which no bound of its rounding is known")
    if len(made) > len(call.node.outputs):
        made = made[: len(call.node.outputs)]
    if values is not None and any(math.isnan(float(v.array.sum())) for v in made if v.is_real):
        raise UnsupportedError(f"{call.op} of constants that is no number")
    return [
        each
        if not each.is_real
        else replace(
            (each if values is None else values[at]), magnitude=each.array, roundings=steps
        )
        for at, each in enumerate(made)
    ]


def _narrows(x: PointValues, made: PointValues) -> int:
    if not (x.is_real and made.is_real):
        raise UnsupportedError("Cast between numbers and integers")
    return int(float_type(made.dtype).unit > float_type(x.dtype).unit)


def _sum(_: Call, terms: Call) -> Array:
    return np.asarray(reduce(np.add, broadcast(terms.values())))


def _largest(_: Call, terms: Call) -> Array:
    return np.asarray(reduce(np.maximum, broadcast(terms.values())))


def _product(_: Call, terms: Call) -> Array:
    return np.asarray(reduce(np.multiply, broadcast(terms.values())))


def _mean(_: Call, terms: Call) -> Array:
    return np.asarray(reduce(np.add, broadcast(terms.values())) / len(terms.values()))


def _same(_: Call, terms: Call) -> Array:
    return terms.x.array


def _quotient(call: Call, terms: Call) -> Array:
    """Divide by a constant, whose terms may cancel."""
    divisor = call.value(1)
    if not divisor.is_fixed or not np.all(divisor.array):
        raise UnsupportedError("Div by what varies, of which no bound of its rounding is known")
    x, magnitude = broadcast(terms.values())
    _, exact = broadcast([terms.x, divisor])
    return np.asarray(x * (magnitude / np.square(exact)))


def _chosen(call: Call, terms: Call) -> Array:
    if not call.x.is_fixed:
        raise UnsupportedError("Where by what varies, of which no bound of its rounding is known")
    found = arithmetic.RULES["Where"](terms)
    assert isinstance(found, PointValues)
    return found.array


def _scaled(least: float, name: str = "") -> _Terms:
    """Return the rule of a function that changes by no more than a multiple of what changes."""

    def rule(call: Call, terms: Call) -> Array:
        slope = abs(float(call.attribute(name))) if name else 0.0
        return terms.x.array * max(least, slope)

    return rule


def _hard_sigmoid(call: Call, terms: Call) -> Array:
    alpha, beta = (abs(float(call.attribute(name))) for name in ("alpha", "beta"))
    return terms.x.array * alpha + beta


def _prelu(_: Call, terms: Call) -> Array:
    x, slope = broadcast(terms.values())
    return np.asarray(x * np.maximum(slope, 1.0))


def _power(call: Call, terms: Call) -> Array:
    return np.asarray(terms.x.array ** _exponent(call))


def _exponent(call: Call) -> int:
    powers = np.unique(call.value(1).fixed())
    if powers.size != 1 or powers[0] not in (1, 2, 3, 4):
        raise UnsupportedError("Pow, of which no bound of its rounding is known")
    return int(powers[0])


def _multiplied(call: Call) -> float:
    return (_exponent(call) - 1) * (1 + call.x.roundings)


def _by_rule(rules: dict[str, Any]) -> _Terms:
    """Return the rule of an operator that gives numbers from 0 on where it is given such."""

    def rule(call: Call, terms: Call) -> Array:
        found = rules[call.op](terms)
        assert isinstance(found, PointValues)
        return found.array

    return rule


def _gemm(call: Call, terms: Call) -> Array:
    a, b, c = terms.value(0), terms.value(1), terms.given(2)
    x = a.array.transpose(0, 2, 1) if call.attribute("transA") else a.array
    y = b.array.transpose(0, 2, 1) if call.attribute("transB") else b.array
    result: Array = np.matmul(x, y) * abs(float(call.attribute("alpha")))
    if c is None:
        return result
    added = c.array.reshape(c.array.shape[0], *(1,) * (2 - c.rank), *c.shape)
    return np.asarray(result + abs(float(call.attribute("beta"))) * added)


def _batchnorm(call: Call, terms: Call) -> Array:
    if int(call.node.attrs.get("training_mode", 0)) or not call.value(4).is_fixed:
        raise UnsupportedError("a BatchNormalization that trains")
    scale, bias, mean = (linear.of_channels(terms.value(at), terms.x.rank) for at in (1, 2, 3))
    variance = linear.of_channels(call.value(4), call.x.rank)
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + float(call.attribute("epsilon")))
    return np.asarray((terms.x.array + mean) * factor + bias)


def _taps(call: Call) -> int:
    return math.prod(call.value(1).shape[1:]) + (call.given(2) is not None)


def _scattered(call: Call) -> int:
    weight, group = call.value(1).shape, int(call.attribute("group"))
    return weight[0] // group * math.prod(weight[2:]) + (call.given(2) is not None)


def _inner(call: Call) -> int:
    x = call.x.shape
    return x[0] if call.op == "Gemm" and call.attribute("transA") else x[-1]


def _joined(call: Call) -> int:
    """Return how many roundings a sum of elements has, and their mean one more."""
    x = call.x.shape
    axes = range(2, len(x)) if call.op == "GlobalAveragePool" else reduction.axes_of(call)
    return math.prod(x[axis] for axis in axes) + 1


def _pooled(call: Call) -> int:
    window = window_attributes(call.op, call.node.attrs, call.node.attrs["kernel_shape"])
    return math.prod(window.kernel) + 1


@dataclass(frozen=True)
class _Rule:
    """`count`: roundings of the operator on the way of a term; `multiplies`: of its operands all
    count, and not those of the longest way.
    """

    terms: _Terms
    count: _Count = lambda call: 0
    multiplies: bool = False


def _additions(call: Call) -> int:
    return len(call.values()) - 1


_ADDED = _Rule(_sum, _additions)
_KEPT = _Rule(_same)
_REDUCED = _Rule(_by_rule(reduction.RULES), _joined)
_LARGEST = _Rule(_largest)

_RULES: dict[str, _Rule] = {
    "Abs": _KEPT,
    "Add": _ADDED,
    "AveragePool": _Rule(_by_rule(reduction.RULES), _pooled),
    "BatchNormalization": _Rule(_batchnorm, lambda call: 7, True),
    "Clip": _KEPT,
    "Conv": _Rule(_by_rule(linear.RULES), _taps, True),
    "ConvTranspose": _Rule(_by_rule(linear.RULES), _scattered, True),
    "Div": _Rule(_quotient, lambda call: 1, True),
    "Gemm": _Rule(_gemm, lambda call: _inner(call) + 2, True),
    "GlobalAveragePool": _REDUCED,
    "HardSigmoid": _Rule(_hard_sigmoid, lambda call: 2),
    "HardSwish": _Rule(_scaled(1.5), lambda call: 4),
    "LeakyRelu": _Rule(_scaled(1.0, "alpha"), lambda call: 1),
    "MatMul": _Rule(_by_rule(linear.RULES), _inner, True),
    "Max": _LARGEST,
    "Mean": _Rule(_mean, lambda call: len(call.values())),
    "Min": _LARGEST,
    "Mul": _Rule(_product, lambda call: 1, True),
    "Neg": _KEPT,
    "PRelu": _Rule(_prelu, lambda call: 1, True),
    "Pow": _Rule(_power, _multiplied),
    "ReduceMean": _REDUCED,
    "ReduceSum": _REDUCED,
    "Relu": _KEPT,
    "Sub": _ADDED,
    "Sum": _ADDED,
    "Where": _Rule(_chosen),
}
