"""A program as a sequence of calls: what `main` does where it only calls kernels on tensors.

All sizes are known, or grow with one number that the feeds tell, that of images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..spec.open_sizes import is_planned, per_image, sizes_given, variables
from .generic import RESHAPE


@dataclass(eq=False)
class PlacedTensor:
    """Memory of the type `kind`; its address in the end."""

    kind: Any
    address: Any = None

    @property
    def grows(self) -> bool:
        """Whether it grows with the number of images."""
        return any(map(variables, self.kind.shape))

    @property
    def size(self) -> int:
        """The bytes it takes; those for each image where it grows."""
        sizes = map(per_image, self.kind.shape)
        return math.prod(sizes) * np.dtype(str(self.kind.dtype)).itemsize


@dataclass(frozen=True, eq=False)
class SequenceCall:
    """A call of `kernel` on tensors and numbers, of which it writes some.

    `sizes`: what the variables in the kernel's sizes stand for.
    """

    kernel: Any
    operands: Sequence[Any]
    written: Sequence[PlacedTensor]
    sizes: Sequence[Any] = ()


@dataclass(kw_only=True)
class CallSequence:
    """A `main` as it is read: tensors it is given and reads, its calls, and what they write.

    `images`: the variable that sizes grow with, None where all are known.
    """

    images: Any = None
    given: dict[Any, PlacedTensor] = field(default_factory=dict)
    calls: list[SequenceCall] = field(default_factory=list)
    written: list[PlacedTensor] = field(default_factory=list)
    tuples: dict[Any, list[Any]] = field(default_factory=dict)
    held: dict[Any, list[PlacedTensor]] = field(default_factory=dict)
    reshapes: frozenset[Any] = frozenset()  # kernels that give a tensor other sizes
    returned: frozenset[Any] = frozenset()
    claimed: list[PlacedTensor] = field(
        default_factory=list
    )  # results, in the sizes they are given in

    def read(self, expr: Any) -> list[Any]:
        """Return what an argument of the next call stands for: tensors, or a number."""

        if not _is_tensors(expr):
            return [expr]
        if expr not in self.held:  # a parameter or constant
            self.given[expr] = PlacedTensor(expr.ty)
            self.held[expr] = [self.given[expr]]
        return self.held[expr]

    def alias(self, variable: Any, expr: Any) -> bool:
        """Let `variable` be the memory of `expr`, which has the same elements in other sizes.

        False where it is a result, and that memory is no result's yet to be given in its sizes.
        """
        found = self.held.get(expr, [])
        if variable in self.returned:
            if not any(found[0] is tensor for tensor in self.written) if found else True:
                return False
            if expr in self.returned or any(found[0] is tensor for tensor in self.claimed):
                return False
            found[0].kind = variable.ty
            self.claimed.append(found[0])
        self.held[variable] = self.read(expr)
        return True

    def write(self, kinds: Sequence[Any]) -> list[PlacedTensor]:
        """Return the tensors that the next call makes."""
        found = [PlacedTensor(kind) for kind in kinds]
        self.written += found
        return found


def read_calls(module: Any, main: Any) -> CallSequence | None:
    """Return what `main` does, or None where it is more than calls on tensors.

    None too where sizes are not known, and grow with more than one number or in another way.
    """
    from tvm import relax

    images = _open_sizes(main)
    sequence = CallSequence(
        images=next(iter(images), None), reshapes=_reshapes(module), returned=_given_back(main)
    )
    if len(images) > 1 or not isinstance(main.body, relax.SeqExpr):
        return None
    if not all(_is_known(parameter, sequence.images) for parameter in main.params):
        return None
    for block in main.body.blocks:
        for binding in block.bindings:
            if not _take(sequence, module, binding):
                return None
    return None if returned_by(main, sequence) is None else sequence


def _open_sizes(main: Any) -> set[Any]:
    """Return the variables in the sizes of what `main` is given."""
    from tvm import relax

    return {
        variable
        for parameter in main.params
        if isinstance(getattr(parameter.ty, "shape", None), relax.ShapeExpr)
        for size in parameter.ty.shape
        for variable in variables(size)
    }


def _reshapes(module: Any) -> frozenset[Any]:
    return frozenset(
        name for name, function in module.functions_items()
        if function.attrs is not None and RESHAPE in function.attrs
    )  # fmt: skip


def _given_back(main: Any) -> frozenset[Any]:
    """Return the variables that `main` gives, by whatever name."""
    from tvm import relax

    if not isinstance(main.body, relax.SeqExpr):
        return frozenset()
    bindings = [each for block in main.body.blocks for each in block.bindings]
    waiting, found = [main.body.body], set()
    values = {each.var: getattr(each, "value", None) for each in bindings}
    while waiting:
        expr = waiting.pop()
        if isinstance(expr, relax.Tuple):
            waiting += list(expr.fields)
            continue
        found.add(expr)
        if isinstance(values.get(expr), relax.Tuple | relax.Var):
            waiting.append(values[expr])
    return frozenset(found)


def returned_by(main: Any, sequence: CallSequence) -> list[Any] | None:
    """Return the tensors that `main` gives, None where they are no flat row."""
    from tvm import relax

    body = main.body.body
    fields = list(body.fields) if isinstance(body, relax.Tuple) else sequence.tuples.get(body)
    fields = [body] if fields is None else fields
    return fields if all(isinstance(one.ty, relax.TensorType) for one in fields) else None


def _take(sequence: CallSequence, module: Any, binding: Any) -> bool:
    """Add one binding to `sequence`; False where it is none of those that a sequence has."""
    from tvm import relax

    value = getattr(binding, "value", None)
    if isinstance(value, relax.Tuple):
        sequence.tuples[binding.var] = list(value.fields)
        return True
    if isinstance(value, relax.TupleGetItem) and value.tuple_value in sequence.held:
        sequence.held[binding.var] = [sequence.held[value.tuple_value][value.index]]
        return True
    if isinstance(value, relax.Var) and value in sequence.held:
        sequence.held[binding.var] = sequence.held[value]
        return True
    if not isinstance(value, relax.Call) or len(value.args) != 2:
        return False
    if not _is_known(value, sequence.images):
        return False
    name = getattr(value.op, "name", "")
    if name not in ("relax.call_tir", "relax.call_tir_inplace"):
        return False
    kernel, given = value.args
    if kernel in sequence.reshapes and sequence.alias(binding.var, given.fields[0]):
        return True
    operands: list[Any] = [operand for expr in given.fields for operand in sequence.read(expr)]
    numbers = [one for one in operands if not isinstance(one, PlacedTensor)]
    if not {sequence.images}.issuperset(each for one in numbers for each in variables(one)):
        return False
    kinds = _kinds(value)
    if name == "relax.call_tir":
        found = sequence.write(kinds)
        operands += found
    else:
        found = [operands[int(index)] for index in value.attrs.inplace_indices]
    held = [one for expr in given.fields for one in (_kinds(expr) if _is_tensors(expr) else [expr])]
    sizes = sizes_given(module[kernel], held + kinds if name == "relax.call_tir" else held)
    if sizes is None:
        return False
    sequence.calls.append(SequenceCall(kernel, operands, found, sizes))
    sequence.held[binding.var] = found
    return True


def _is_tensors(expr: Any) -> bool:
    from tvm import relax

    return isinstance(expr.ty, relax.TensorType | relax.TupleType)


def _kinds(expr: Any) -> list[Any]:
    from tvm import relax

    return list(expr.ty.fields) if isinstance(expr.ty, relax.TupleType) else [expr.ty]


def _is_known(expr: Any, images: Any) -> bool:
    """Say whether `expr` is tensors of known sizes, or such as grow with `images` alone."""
    from tvm import relax

    return all(
        isinstance(kind, relax.TensorType)
        and isinstance(kind.shape, relax.ShapeExpr)
        and is_planned(kind.shape)
        and {images}.issuperset(each for size in kind.shape for each in variables(size))
        for kind in _kinds(expr)
    )
