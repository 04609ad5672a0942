"""Leave out optional inputs and outputs that make no difference.

f(x, d) = f(x)    where d is what the operator takes for an absent input, or does not read
(y, u) = f(x)     y = f(x) where nothing reads u

Runtimes compute and store what is asked for: the indices of a MaxPool, every step of an LSTM whose
last state alone is read. Sources: the ONNX operators Resize, Clip, Dropout, LSTM, GRU, RNN, Slice,
Pad and LayerNormalization; an empty name stands for an absent input or output.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.core.build import make_variable
from ...ir.core.decline import need
from ...ir.core.variables import is_standard, subgraphs_of
from ...ir.graph.edit import Edit
from ...ir.graph.view import View
from ...ir.ops.clips import limits
from ...ir.ops.fills import fill_of
from ...ir.ops.opsets import needs_input
from ...ir.ops.traits.schemas import operators, opsets_of, schema_of
from ..engine.rewrite import Rewrite, RewritePass

_OPTIONAL = onnx.defs.OpSchema.FormalParameterOption.Optional


@dataclass(frozen=True)
class EliminateUnusedInputs(RewritePass):
    """Leave out optional inputs that have no effect and optional outputs that nothing reads.

    Zero points of quantized operators stay, since runtimes look for them, and so do the further
    outputs of BatchNormalization, whose number once said that it trains. A Clip at infinity keeps
    its bound: without one, infinity becomes the largest finite number.
    """

    name: ClassVar[str] = "eliminate-unused-inputs"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the one rewrite."""
        return (_LeaveOut(),)


@dataclass(frozen=True)
class _UsedPorts:
    node: gs.Node
    inputs: list[gs.Tensor]
    outputs: list[gs.Tensor]


class _LeaveOut(Rewrite[_UsedPorts]):
    # Of later opsets' operators too; whether one exists in the model's opset is asked there.
    ops = frozenset(
        op
        for op in operators() - {"BatchNormalization"}
        for schema in (schema_of(op, opset) for opset in opsets_of(op))
        if schema is not None
        and any(port.option == _OPTIONAL for port in (*schema.inputs, *schema.outputs))
    )

    def match(self, node: gs.Node, view: View) -> _UsedPorts | None:
        ports = _ports(node.op, view.opset) if is_standard(node) else None
        if ports is None or subgraphs_of(node):
            return None
        rule = _RULES.get(node.op)
        left_out = {i for i in rule(node, view) if _given(node, i)} if rule is not None else set()
        inputs = [
            make_variable("") if i in left_out else tensor for i, tensor in enumerate(node.inputs)
        ]
        outputs = [
            make_variable("") if i in ports.optional and _is_unread(tensor, view) else tensor
            for i, tensor in enumerate(node.outputs)
        ]
        _trim(inputs, ports.fewest_inputs)
        _trim(outputs, ports.fewest_outputs)
        if not any(tensor.name for tensor in outputs):
            return None  # dead code
        same = len(inputs) == len(node.inputs) and len(outputs) == len(node.outputs)
        if same and all(
            a is b or a.name == b.name
            for a, b in zip((*inputs, *outputs), (*node.inputs, *node.outputs), strict=True)
        ):
            return None
        return _UsedPorts(node, inputs, outputs)

    def rewrite(self, site: _UsedPorts, edit: Edit) -> None:
        node = site.node
        edit.remove(node)
        edit.node(node.op, site.inputs, site.outputs, node.attrs, at=node, domain=node.domain)


@dataclass(frozen=True)
class _Ports:
    fewest_inputs: int
    fewest_outputs: int
    optional: frozenset[int]  # outputs


@functools.lru_cache(maxsize=1024)
def _ports(op: str, opset: int) -> _Ports | None:
    schema = schema_of(op, opset)
    if schema is None:
        return None
    optional = (i for i, port in enumerate(schema.outputs) if port.option == _OPTIONAL)
    return _Ports(schema.min_input, max(schema.min_output, 1), frozenset(optional))


def _given(node: gs.Node, index: int) -> bool:
    return len(node.inputs) > index and not node.inputs[index].is_empty()


def _is_unread(tensor: gs.Tensor, view: View) -> bool:
    return bool(tensor.name) and not view.is_output(tensor) and not view.readers(tensor)


def _trim(tensors: list[gs.Tensor], fewest: int) -> None:
    while len(tensors) > fewest and not tensors[-1].name:
        tensors.pop()


def _values(node: gs.Node, index: int, view: View) -> np.ndarray[Any, Any] | None:
    return view.constant(node.inputs[index]) if _given(node, index) else None


def _zeros(node: gs.Node, view: View, *indices: int) -> Iterator[int]:
    for index in indices:
        fill = fill_of(node.inputs[index], view) if _given(node, index) else None
        if fill is None or fill.any():
            continue
        if not (view.signed_zeros and np.signbit(fill.astype(np.float64)).any()):
            yield index  # absent, it is 0.0


def _resize(node: gs.Node, view: View) -> Iterator[int]:
    if needs_input(node.op, 1, view.opset):
        return
    if node.attrs.get("coordinate_transformation_mode") != "tf_crop_and_resize":
        yield 1
    scales = _values(node, 2, view)
    if _given(node, 3) and scales is not None and not scales.size:
        yield 2


def _clip(node: gs.Node, view: View) -> Iterator[int]:
    dtype = view.dtype(node.inputs[0])
    if dtype is None or not (dtype.kind in "iu" or dtypes.is_float(dtype)):
        return
    found = [_values(node, index, view) for index in (1, 2)]
    bounds = [None if v is None or v.size != 1 else v.item() for v in found]
    unbounded = [i for i, bound in enumerate(bounds) if bound == limits(dtype)[i]]
    infinite = any(bound is not None and np.isinf(bound) for bound in bounds)
    need(unbounded or not infinite, "without its bound, infinity would become finite")
    yield from (i + 1 for i in unbounded)


def _dropout(node: gs.Node, view: View) -> Iterator[int]:
    training = _values(node, 2, view)
    if not _given(node, 2) or (training is not None and not training.any()):
        yield from (1, 2)


def _recurrent(node: gs.Node, view: View) -> Iterator[int]:
    yield from _zeros(node, view, 3, 5, 6, 7)
    lengths, shape = _values(node, 4, view), view.shape(node.inputs[0])
    if lengths is not None and shape is not None:
        steps = shape[1 if node.attrs.get("layout", 0) else 0]
        if isinstance(steps, int) and np.all(lengths == steps):
            yield 4


def _slice(node: gs.Node, view: View) -> Iterator[int]:
    steps = _values(node, 4, view)
    if steps is not None and np.all(steps == 1):
        yield 4


def _pad(node: gs.Node, view: View) -> Iterator[int]:
    if node.attrs.get("mode", "constant") != "constant":
        yield 2
    else:
        yield from _zeros(node, view, 2)


def _layer_norm(node: gs.Node, view: View) -> Iterator[int]:
    return _zeros(node, view, 2)


_RULES: dict[str, Callable[[gs.Node, View], Iterator[int]]] = {
    "Resize": _resize,
    "Clip": _clip,
    "Dropout": _dropout,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
    "Slice": _slice,
    "Pad": _pad,
    "LayerNormalization": _layer_norm,
}
