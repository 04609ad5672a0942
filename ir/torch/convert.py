"""Conversion of a graph into a module, node by node."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from torch import fx

from ..core import dtypes
from ..core.errors import ConversionError
from ..core.variables import dense_values, is_standard, label
from ..ops.shapes.infer import infer_types
from . import names
from .builder import Builder
from .call import OperatorCall, name_of
from .graph_module import SourcedModule
from .operators import COUNTED, HANDLERS
from .source import SourceGraph, lift_weights, remember
from .values import Literal, QuantizedWeight, Traced, Value, Weight

# Constants with more elements than these are data, not numbers to compute sizes with.
_NUMBERS = 1 << 12
_MOVED = 64
_NO_ARITHMETIC = frozenset({"uint16", "uint32", "uint64", "string"})


def convert(graph: gs.Graph, *, learn_scales: bool) -> fx.GraphModule:
    """Return the module of `graph`, in evaluation mode; `graph` is kept and must not change."""
    lift_weights(graph)
    converter = _GraphConverter(graph, learn_scales)
    builder = converter.builder
    for tensor in graph.inputs:
        if isinstance(tensor, gs.Constant):
            continue  # an input with a default, which is what gets trained
        if tensor.dtype is not None and dtypes.type_name(tensor.dtype) in _NO_ARITHMETIC:
            raise ConversionError(
                f"graph input '{tensor.name}' is {dtypes.type_name(tensor.dtype)}, which PyTorch "
                "cannot compute with; give the graph an input of another type"
            )
        node = builder.graph.placeholder(names.identifier(tensor.name, "x"))
        builder.anchor = builder.anchor or node
        converter.values[id(tensor)] = Traced(node)
    converter.scope(graph, graph.opset, {}, "")
    found = [converter.output(tensor) for tensor in graph.outputs]
    builder.graph.output(found[0] if len(found) == 1 else tuple(found))
    builder.graph.lint()
    module = SourcedModule(builder.root, builder.graph, class_name="GraphModule")
    for path in builder.transient:
        owner, leaf = names.split(path)
        part = module.get_submodule(owner)
        if leaf in part._buffers:
            part._non_persistent_buffers_set.add(leaf)
    remember(module, SourceGraph(graph, builder.bindings))
    return module.eval()


class _GraphConverter:
    """Values of tensors by identity, over the graph and the bodies of functions it calls."""

    def __init__(self, graph: gs.Graph, learn_scales: bool) -> None:
        self.builder = Builder(
            learn_scales=learn_scales, from_torch=graph.producer_name == "pytorch"
        )
        self.values: dict[int, Value | None] = {}
        self._types = infer_types(graph)
        self._functions = {(f.domain, f.name): f for f in graph.functions}
        self._calls: list[gs.Function] = []

    def scope(self, scope: gs.Graph, opset: int, given: Mapping[str, Any], prefix: str) -> None:
        """Convert the nodes of a graph, or of a function called with the attributes `given`."""
        for node in scope.nodes:
            inputs = tuple(self._value(tensor) for tensor in node.inputs)
            attributes = _resolve(node, given)
            name = next((name_of(t, prefix) for t in node.outputs if t.name), prefix)
            function = self._functions.get((node.domain, node.op))
            if function is not None:
                self._call(node, function, inputs, attributes, name)
                continue
            call = OperatorCall(
                node=node,
                attributes=attributes,
                inputs=inputs,
                opset=opset,
                builder=self.builder,
                types=self._types,
                name=name,
            )
            found = self._convert(call)
            results = found if isinstance(found, list | tuple) else (found,)
            for tensor, result in zip(node.outputs, results, strict=False):
                made = Traced(result) if isinstance(result, fx.Node) else result
                self.values[id(tensor)] = made
            for tensor in node.outputs[len(results) :]:
                if tensor.name:
                    call.refuse(
                        f"its result '{tensor.name}' is not computed",
                        "leave that output out, if nothing needs it",
                    )

    def output(self, tensor: gs.Tensor) -> fx.Node:
        """Return an output of the graph as a tensor."""
        reader = gs.Node("Identity", inputs=[], outputs=[])
        call = OperatorCall(
            node=reader,
            attributes={},
            inputs=(),
            opset=0,
            builder=self.builder,
            types=self._types,
            name="output",
        )
        value = self._value(tensor)
        if value is None:
            raise ConversionError(f"graph output '{tensor.name}' has no producer")
        return call.as_tensor(value, tensor)

    def _value(self, tensor: gs.Tensor) -> Value | None:
        if not tensor.name:
            return None
        if id(tensor) in self.values:
            return self.values[id(tensor)]
        if isinstance(tensor, gs.Constant):
            values = dense_values(tensor)
            # A function's own constants are part of what it computes.
            made = Literal(values) if self._calls and values is not None else Weight(tensor)
            self.values[id(tensor)] = made
            return made
        raise ConversionError(f"tensor '{tensor.name}' has no producer in its graph")

    def _convert(self, call: OperatorCall) -> Any:
        if not is_standard(call.node):
            call.refuse(
                f"{call.node.domain}.{call.op} is no operator of the ONNX standard and the model "
                "has no function of that name",
                "export the model with standard operators",
            )
        counted = COUNTED.get(call.op)
        if counted is not None and _computes_numbers(call):
            return counted(call)
        handler = HANDLERS.get(call.op)
        if handler is None:
            call.refuse(
                f"{call.op} has no counterpart",
                "bodies and computed constants go with: planish optimize -p exact; else train "
                "without this part of the graph",
            )
        return handler(call)

    def _call(
        self,
        node: gs.Node,
        function: gs.Function,
        inputs: tuple[Value | None, ...],
        attributes: dict[str, Any],
        name: str,
    ) -> None:
        if any(outer is function for outer in self._calls):
            raise ConversionError(f"function {label(node)} calls itself")
        given = {key: value for key, value in function.attrs.items() if value is not None}
        given.update(attributes)
        outside = self.values
        self.values = {}
        self._calls.append(function)
        for position, tensor in enumerate(function.inputs):
            self.values[id(tensor)] = inputs[position] if position < len(inputs) else None
        self.scope(function, function.opset, given, name)
        results = [self._value(tensor) for tensor in function.outputs]
        self._calls.pop()
        self.values = outside
        for tensor, result in zip(node.outputs, results, strict=False):
            self.values[id(tensor)] = result


def _resolve(node: gs.Node, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a node, those of a function's body from the call of it."""
    found = {}
    for name, value in node.attrs.items():
        if isinstance(value, gs.Node.AttributeRef):
            if value.name in given:
                found[name] = given[value.name]
        else:
            found[name] = value
    return found


def _computes_numbers(call: OperatorCall) -> bool:
    """Say whether a node works on sizes and indices alone, so that no tensor is needed."""
    values = [value for value in call.inputs if value is not None]
    if any(isinstance(value, QuantizedWeight) for value in values):
        return False
    if any(_makes_data(call, tensor) for tensor in call.node.outputs):
        return False
    traced = [value for value in values if isinstance(value, Traced)]
    if traced:
        return all(value.numbers for value in traced) and all(
            _is_small(value, _MOVED) for value in values if not isinstance(value, Traced)
        )
    return all(
        isinstance(value, Literal) or _dtype(value).kind in "iub" for value in values
    ) and all(_is_small(value, _NUMBERS) for value in values)


def _makes_data(call: OperatorCall, tensor: gs.Tensor) -> bool:
    """Say whether a result is known to be too large for numbers one by one."""
    known = call.types.of(tensor)
    sizes = None if known is None else known.shape
    return math.prod(size for size in sizes or () if isinstance(size, int)) > _NUMBERS


def _dtype(value: Value) -> np.dtype[Any]:
    held = dense_values(value.constant) if isinstance(value, Weight) else None
    return np.dtype(object) if held is None else held.dtype


def _is_small(value: Value, most: int) -> bool:
    if isinstance(value, Literal):
        held: np.ndarray[Any, Any] | None = value.array
    else:
        held = dense_values(value.constant) if isinstance(value, Weight) else None
    return held is not None and held.size <= most and held.dtype.kind in "iubf"
