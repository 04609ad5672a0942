"""Which inputs and outputs of a node change their type together.

An operator's type variable (`T`) takes one type at a time: where it allows the narrow float, all
inputs and outputs of it change; where it does not, or the type is fixed, they stay.

Source: type constraints of the ONNX operator schemas.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from ....ir.core.variables import is_standard, subgraphs_of
from ....ir.graph.view import View
from ....ir.ops.traits.schemas import schema_of

# Coordinates: eleven digits tell 2048 positions apart, and pixels lie between them.
_COORDINATES = frozenset({("GridSample", 1), ("Resize", 1), ("Resize", 2), ("Upsample", 1)})
# These compute in coordinates alone.
_OF_COORDINATES = frozenset({"AffineGrid", "MaxRoiPool", "NonMaxSuppression", "RoiAlign"})
# The type of the result is that of the scale, where no attribute says otherwise.
_SAME_VARIABLE = {("DequantizeLinear", "T3"): "T2"}


@dataclass(frozen=True)
class Slots:
    """Positions of the inputs and outputs of a node that become narrow."""

    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class _Signature:
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    allowed: dict[str, frozenset[str]]

    @property
    def holds_tensors_in_others(self) -> bool:
        """Whether an input or output is a sequence or optional, whose type names its elements'."""
        return any(
            all(name.startswith(("seq(", "optional(")) for name in self.allowed.get(kind, {kind}))
            for kind in {*self.inputs, *self.outputs}
        )


def find_slots(node: gs.Node, view: View, opset: int, narrow: str) -> Slots | None:
    """Return what of `node`, as `opset` has it, may become `narrow`; None if nothing is float32.

    Declines where the operator computes with float32 and has no narrow form.
    """
    inputs, outputs = _float32(node.inputs, view), _float32(node.outputs, view)
    if not inputs and not outputs:
        return None
    need(is_standard(node), f"operators of domain '{node.domain}' say nothing of their types")
    need(
        not subgraphs_of(node),
        f"what goes into the bodies of {node.op} and comes out stays float32",
    )
    need(node.op not in _OF_COORDINATES, f"coordinates need more digits than {narrow} has")
    need(not node.attrs.get("output_dtype"), "an attribute gives the type of its result")
    signature = need(_signature(node.op, opset), f"opset {opset} has no {node.op}")
    whole = not signature.holds_tensors_in_others
    need(whole, f"{node.op} works on sequences or optionals, which stay float32")
    taken = {
        variable
        for position in inputs
        if (node.op, position) not in _COORDINATES
        and _allows(variable := _at(signature.inputs, position), signature, narrow)
    }
    changed = tuple(
        p for p in inputs if _at(signature.inputs, p) in taken and (node.op, p) not in _COORDINATES
    )
    first = outputs[0] if outputs else inputs[0]
    leading = _at(signature.outputs if outputs else signature.inputs, first)
    if leading not in taken:
        attribute = _allows(leading, signature, narrow)  # and no input is of this type
        need(not attribute, "the type of its result is an attribute of its own")
        need(None, f"{node.op} of opset {opset} has no {narrow}")
    for kinds, tensors in ((signature.inputs, node.inputs), (signature.outputs, node.outputs)):
        for position, tensor in enumerate(tensors):
            bound = not tensor.name or _at(kinds, position) not in taken
            need(bound or view.dtype(tensor) is not None, f"the type of '{tensor.name}' is unknown")
    return Slots(changed, tuple(p for p in outputs if _at(signature.outputs, p) in taken))


def _float32(tensors: Sequence[gs.Tensor], view: View) -> list[int]:
    return [i for i, t in enumerate(tensors) if t.name and view.dtype(t) == np.float32]


def _at(kinds: tuple[str, ...], position: int) -> str:
    return kinds[min(position, len(kinds) - 1)]  # the last may be variadic


def _allows(variable: str, signature: _Signature, narrow: str) -> bool:
    return f"tensor({narrow})" in signature.allowed.get(variable, ())


@functools.lru_cache(maxsize=4096)
def _signature(op: str, opset: int) -> _Signature | None:
    schema = schema_of(op, opset)
    if schema is None:
        return None

    def kinds(formals: Any) -> tuple[str, ...]:
        return tuple(_SAME_VARIABLE.get((op, f.type_str), f.type_str) for f in formals)

    allowed = {c.type_param_str: frozenset(c.allowed_type_strs) for c in schema.type_constraints}
    return _Signature(kinds(schema.inputs), kinds(schema.outputs), allowed)
