"""Arithmetic of a graph read as algebra, so that every order and association is one pattern.

0.5 * x * (1 + e),  x * (0.5 * (1 + e)),  (x / 2) * (e + 1)    are all    {x: 0.5, x e: 0.5}
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.core.decline import need
from ...ir.core.variables import is_standard
from ...ir.graph.view import View

Monomial = tuple[int, ...]  # ids of its factors, sorted; () is the constant term
_MOST_TERMS, _MOST_FACTORS, _DEEPEST = 4, 4, 7
# Decimals are typed into source code with six digits at least: 0.166667, 0.707107, 1.414214.
_TYPED = 3e-6
# No activation is spelled with constants that cancel; of these a few would only cost rounding.
_MOST_PASSED = 8.0
_MOST_EXPONENT = 32


@dataclass(frozen=True)
class Polynomial:
    """A sum of products of tensors (`atoms`, by id) and the `nodes` that compute it.

    None of the nodes is read from outside the expression, except the last. `passed` is the largest
    coefficient that another was added to on the way.
    """

    terms: dict[Monomial, float]
    atoms: dict[int, gs.Tensor]
    nodes: tuple[gs.Node, ...] = ()
    passed: float = 0.0

    @property
    def largest(self) -> float:
        """The largest coefficient."""
        return max(map(abs, self.terms.values()), default=0.0)

    def is_near(self, *expected: tuple[Any, ...], tolerance: float) -> bool:
        """Say whether it is the sum of `expected`, up to the rounding of typed constants.

        Each term is a coefficient and the tensors that it multiplies. It is not where constants
        have cancelled that are so large that rounding shows.
        """
        if is_decided(self.passed, self.largest):
            return False
        wanted = {_monomial(factors): value for value, *factors in expected}
        return self.terms.keys() == wanted.keys() and all(
            is_near(self.terms[key], value, tolerance) for key, value in wanted.items()
        )

    def coefficient(self, *factors: gs.Tensor) -> float:
        """Return the coefficient of the product of `factors`; 0 where there is no such term."""
        return self.terms.get(_monomial(factors), 0.0)


def is_decided(passed: float, size: float) -> bool:
    """Say whether shifts up to `passed` that cancel to `size` round what they are added to."""
    return passed > _MOST_PASSED * size


def is_near(value: float, expected: float, tolerance: float = _TYPED) -> bool:
    """Say whether `value` is `expected` as source code and the weights' type spell it."""
    return abs(value - expected) <= tolerance * abs(expected)


def tolerance_of(dtype: np.dtype[Any] | None) -> float:
    """Return how far constants of `dtype` may be from what they mean."""
    if dtype is None or not dtypes.is_half(dtype):
        return _TYPED
    return float(ml_dtypes.finfo(dtype).eps)


def scalar(tensor: gs.Tensor, other: gs.Tensor, view: View) -> float | None:
    """Return the value of a constant that multiplies or shifts all of `other`, or None.

    One of more dimensions than `other` would widen the result, so it is none.
    """
    values = view.constant(tensor)
    if values is None or values.size != 1 or not dtypes.is_float(values.dtype):
        return None
    if values.ndim:
        rank = view.rank(other)
        if rank is None or values.ndim > rank:
            return None
    found = float(values.reshape(()))
    return found if math.isfinite(found) else None


def _number(tensor: gs.Tensor, other: gs.Tensor, view: View) -> float | None:
    """Return what `scalar` does, but for factors that on the way could leave the range."""
    value = scalar(tensor, other, view)
    usual = value is not None and (not value or abs(math.log2(abs(value))) <= _MOST_EXPONENT)
    return value if usual else None


def polynomial(tensor: gs.Tensor, view: View, stop: gs.Tensor | None = None) -> Polynomial:
    """Read what computes `tensor` as a polynomial of the tensors at which reading ends.

    It ends at `stop`, at what anything else reads too, at other operators, and where the
    expression gets long.
    """
    return _expand(tensor, view, stop, _DEEPEST, root=True)


def _expand(
    tensor: gs.Tensor, view: View, stop: gs.Tensor | None, depth: int, *, root: bool = False
) -> Polynomial:
    atom = Polynomial({(id(tensor),): 1.0}, {id(tensor): tensor})
    node = view.producer(tensor)
    if tensor is stop or node is None or not depth or not is_standard(node):
        return atom
    if not root and view.only_reader(tensor) is None:
        return atom
    found = _operation(node, view, stop, depth - 1)
    small = found is not None and (
        0 < len(found.terms) <= _MOST_TERMS and max(map(len, found.terms)) <= _MOST_FACTORS
    )
    return found if found is not None and small else atom


def _operation(node: gs.Node, view: View, stop: gs.Tensor | None, depth: int) -> Polynomial | None:
    def operand(position: int) -> Polynomial:
        tensor = node.inputs[position]
        if len(node.inputs) == 2:
            value = _number(tensor, node.inputs[1 - position], view)
            if value is not None:
                return Polynomial({(): value}, {})
        return _expand(tensor, view, stop, depth)

    match node.op:
        case "Neg":
            return _product(operand(0), Polynomial({(): -1.0}, {}), node)
        case "Add":
            return _sum(operand(0), operand(1), 1.0, node)
        case "Sub":
            return _sum(operand(0), operand(1), -1.0, node)
        case "Mul":
            return _product(operand(0), operand(1), node)
        case "Div":
            divisor = _number(node.inputs[1], node.inputs[0], view)
            if divisor:
                return _product(operand(0), Polynomial({(): 1 / divisor}, {}), node)
        case "Pow":
            exponent = scalar(node.inputs[1], node.inputs[0], view)
            if exponent in (2.0, 3.0):
                base = _expand(node.inputs[0], view, stop, depth)
                square = _product(base, base, node)
                return square if exponent == 2.0 else _product(square, base)
    return None


def _sum(a: Polynomial, b: Polynomial, sign: float, node: gs.Node) -> Polynomial:
    terms, passed = dict(a.terms), max(a.passed, b.passed)
    for key, value in b.terms.items():
        if key in terms:
            passed = max(passed, abs(terms[key]), abs(value))
        terms[key] = terms.get(key, 0.0) + sign * value
    return Polynomial(terms, a.atoms | b.atoms, (*a.nodes, *b.nodes, node), passed)


def _product(a: Polynomial, b: Polynomial, node: gs.Node | None = None) -> Polynomial:
    terms: dict[Monomial, float] = {}
    for left, x in a.terms.items():
        for right, y in b.terms.items():
            key = tuple(sorted((*left, *right)))
            terms[key] = terms.get(key, 0.0) + x * y
    nodes = a.nodes if a is b or not b.nodes else (*a.nodes, *b.nodes)
    nodes = nodes if node is None else (*nodes, node)
    passed = max(a.passed * b.largest, b.passed * a.largest)
    return Polynomial(terms, a.atoms | b.atoms, nodes, passed)


def _monomial(factors: Iterable[gs.Tensor]) -> Monomial:
    return tuple(sorted(id(factor) for factor in factors))


def producer_of(tensor: gs.Tensor, view: View, *ops: str) -> gs.Node | None:
    """Return the standard operator that gives `tensor`, if it is one of `ops`."""
    node = view.producer(tensor)
    return node if node is not None and node.op in ops and is_standard(node) else None


def need_kernel(op: str, x: gs.Tensor, view: View) -> None:
    """Decline `op` of integers and of a float64 `x`: ONNX Runtime's CPU has no kernel of it."""
    dtype = need(view.dtype(x), "the type of its input is not known")
    is_known = dtypes.is_float(dtype) and dtypes.bits(dtype) <= 32
    need(is_known, f"ONNX Runtime has no {op} of {dtypes.type_name(dtype)}")


def need_private(inner: Iterable[gs.Node], root: gs.Node, view: View) -> tuple[gs.Node, ...]:
    """Return `root` and the nodes below it, each once; decline if another node reads these."""
    nodes = {id(root): root} | {id(node): node for node in inner}
    for node in nodes.values():
        if node is root:
            continue
        for tensor in node.outputs:
            need(
                not view.is_output(tensor)
                and all(id(reader) in nodes for reader in view.readers(tensor)),
                f"the result of {node.op} inside it is read elsewhere too",
            )
    return tuple(nodes.values())


@dataclass(frozen=True)
class ScalarAffine:
    """scale * source + shift, and the `nodes` that compute it.

    `passed` is the largest shift on the way, as it stands in the result.
    """

    source: gs.Tensor
    scale: float = 1.0
    shift: float = 0.0
    nodes: tuple[gs.Node, ...] = ()
    passed: float = 0.0


def affine_steps(tensor: gs.Tensor, view: View) -> Iterator[ScalarAffine]:
    """Yield what `tensor` is in terms of itself, its operand, that one's operand and so on.

    Only scalars are added and multiplied on the way, and nothing else reads what lies between.
    """
    found = ScalarAffine(tensor)
    for _ in range(_DEEPEST):
        yield found
        node = view.producer(found.source)
        if node is None or not is_standard(node):
            return
        if found.source is not tensor and view.only_reader(found.source) is None:
            return
        step = _scalar_step(node, view)
        if step is None:
            return
        x, scale, shift = step
        added = found.scale * shift
        found = ScalarAffine(
            x,
            found.scale * scale,
            added + found.shift,
            (*found.nodes, node),
            max(found.passed, abs(added)),
        )
        if is_decided(max(found.passed, abs(found.shift)), max(abs(found.scale), 1.0)):
            return


def affine(tensor: gs.Tensor, view: View) -> ScalarAffine:
    """Return the longest of `affine_steps`."""
    *_, last = affine_steps(tensor, view)
    return last


def _scalar_step(node: gs.Node, view: View) -> tuple[gs.Tensor, float, float] | None:
    """Return operand, scale and shift of what adds to or multiplies one operand."""
    if node.op == "Neg":
        return node.inputs[0], -1.0, 0.0
    if len(node.inputs) != 2:
        return None
    a, b = node.inputs
    right, left = _number(b, a, view), _number(a, b, view)
    if right is not None:
        return _by_constant(node.op, a, right)
    match node.op:
        case "Add" if left is not None:
            return b, 1.0, left
        case "Sub" if left is not None:
            return b, -1.0, left
        case "Mul" if left is not None:
            return b, left, 0.0
    return None


def _by_constant(op: str, x: gs.Tensor, value: float) -> tuple[gs.Tensor, float, float] | None:
    match op:
        case "Add":
            return x, 1.0, value
        case "Sub":
            return x, 1.0, -value
        case "Mul":
            return x, value, 0.0
        case "Div" if value:
            return x, 1 / value, 0.0
    return None
