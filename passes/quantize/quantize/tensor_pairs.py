"""A pair of QuantizeLinear and DequantizeLinear on one tensor, wherever it is read.

    t -> Q -> DQ -> readers                       where t is made, or given
         Q -> DQ -> readers in a body             a DequantizeLinear there, behind the same integers

Runtimes make integer operators of pairs within one scope; the integers pass into bodies, and are
made once, however often these run. Where an operator only hands integers on, those for bodies are
made anew, behind a LeakyRelu of slope 1, the identity:

    DQ -> Relu -> LeakyRelu(alpha = 1) -> Q -> DQ in a body

ONNX Runtime takes what it can out from between a DequantizeLinear and a QuantizeLinear, and aborts
the process where only a body reads the latter. (Seen in ONNX Runtime 1.32.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from ....ir.ops.quantization.barriers import add_barrier
from ....ir.ops.quantization.nodes import DEQUANTIZE, QUANTIZE, dequantizer, is_quantizer
from ....ir.ops.traits.groups import LAYERS
from ..qdq.scoped_views import ScopedViews
from ..qdq.units import BOUNDING, is_movement

Array = np.ndarray[Any, Any]


class TensorPairs:
    """Puts pairs on tensors, through `edit`; `scopes` are those in which integers are needed."""

    def __init__(self, edit: Edit, views: ScopedViews) -> None:
        self._edit = edit
        self._views = views

    def quantizes(self, tensor: gs.Tensor) -> gs.Node | None:
        """Return the node behind or before `tensor` that has it on a grid already, or None."""
        view = self._views.of_tensor(tensor)
        readers = [] if view.is_output(tensor) else view.readers(tensor)
        found = dequantizer(tensor, view)
        return found or (readers[0] if readers and all(map(is_quantizer, readers)) else None)

    def pair(
        self, tensor: gs.Tensor, scopes: Sequence[gs.Graph], parameters: tuple[gs.Tensor, ...]
    ) -> None:
        """Put integers behind `tensor`, and let the readers in `scopes` read what they stand for.

        In its own scope, all others do too: there it is then on its grid for all.
        """
        edit, home = self._edit, self._views.home(tensor)
        view = self._views.of(home)
        readers, producer = view.readers(tensor), view.producer(tensor)
        at = producer or self._views.first_in(home, readers)
        inner = [scope for scope in scopes if scope is not home]
        barred = bool(inner) and _hands_on(producer, view)
        quantized = self._integers(tensor, parameters)
        entering = self._integers(tensor, parameters) if barred else quantized
        for scope in inner:
            self._dequantize(tensor, scope, [entering, *parameters])
        found, behind = view.type(tensor), tensor
        if len(inner) < len(scopes) and (view.reads(tensor) or view.is_output(tensor)):
            source, behind = self._apart(tensor, producer, found)
            # What quantizes it already would round twice.
            others = (node for node in view.readers(source) if not is_quantizer(node))
            edit.replace(source, behind, others)
            edit.node(QUANTIZE, [source, *parameters], [quantized], at=at)
            edit.node(DEQUANTIZE, [quantized, *parameters], [behind], at=at)
        elif not barred:
            edit.node(QUANTIZE, [tensor, *parameters], [quantized], at=at)
        if barred:
            apart = edit.variable(f"{tensor.name}_apart", found)
            add_barrier(edit, behind, apart, at)
            edit.node(QUANTIZE, [apart, *parameters], [entering], at=at)

    def _integers(self, tensor: gs.Tensor, parameters: tuple[gs.Tensor, ...]) -> gs.Variable:
        found = self._views.of_tensor(tensor).type(tensor)
        kind = None if found is None else TensorType(parameters[1].dtype, found.shape)
        return self._edit.variable(f"{tensor.name}_quantized", kind)

    def pass_in(self, tensor: gs.Tensor, known: gs.Node, scopes: Sequence[gs.Graph]) -> None:
        """Let readers in `scopes` read the integers of `tensor`, as the node `known` has them."""
        integers = known.inputs[0] if known.op == DEQUANTIZE else known.outputs[0]
        for scope in scopes:
            if scope is not self._views.home(tensor) and self._edit.begin():
                self._dequantize(tensor, scope, [integers, *known.inputs[1:]], dict(known.attrs))

    def store(
        self,
        tensor: gs.Tensor,
        integers: Array,
        scopes: Sequence[gs.Graph],
        parameters: tuple[gs.Tensor, ...],
    ) -> None:
        """Store a constant as integers, as weights are, for the readers in `scopes`."""
        stored = self._edit.constant(integers, f"{tensor.name}_quantized")
        for scope in scopes:
            self._dequantize(tensor, scope, [stored, *parameters])

    def _apart(
        self, tensor: gs.Tensor, producer: gs.Node | None, found: TensorType | None
    ) -> tuple[gs.Tensor, gs.Tensor]:
        """Return what is quantized and what comes out; that has the name where a graph shows it."""
        edit = self._edit
        if producer is None or id(tensor) not in edit.uses.pinned:
            return tensor, edit.variable(f"{tensor.name}_dequantized", found)
        source = edit.variable(f"{tensor.name}_float", found)
        edit.rename_output(producer, tensor, source)
        return source, tensor

    def _dequantize(
        self,
        tensor: gs.Tensor,
        scope: gs.Graph,
        inputs: Sequence[gs.Tensor],
        attrs: dict[str, Any] | None = None,
    ) -> None:
        """Let the readers of `tensor` in `scope` itself read DequantizeLinear(inputs)."""
        view = self._views.of(scope)
        readers = [n for n in view.readers(tensor) if self._views.scope_of(n) is scope]
        result = self._edit.variable(f"{tensor.name}_dequantized", view.type(tensor))
        self._edit.replace(tensor, result, readers)
        self._edit.node(DEQUANTIZE, inputs, [result], attrs, at=readers[0])


def _hands_on(node: gs.Node | None, view: View) -> bool:
    """Say whether `node` may stand between integers that it only hands on, or limits."""
    if node is None or not (is_movement(node) or node.op in BOUNDING):
        return False
    before = view.producer(node.inputs[0])
    return before is None or node.op not in BOUNDING or before.op not in LAYERS
