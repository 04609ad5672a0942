"""One node of a graph while it is being put into PyTorch: what handlers ask and add."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
import onnx_graphsurgeon as gs
from torch import fx, nn

from ..core import dtypes
from ..core.variables import dense_values
from ..graph.types import Types
from . import names
from .builder import Builder
from .functions import numbers
from .quantizers import integers, realize_weight
from .refusal import refuse
from .tensors import torch_dtype
from .values import Literal, MaskedWeight, QuantizedWeight, Traced, Value, Weight

Result = Any  # a Value or fx.Node, or a list of such with None for what is not computed
Handler = Callable[["OperatorCall"], Result]


@dataclass(frozen=True, kw_only=True)
class OperatorCall:
    """A node with its attributes resolved and its inputs as values (None where absent)."""

    node: gs.Node
    attributes: dict[str, Any]
    inputs: tuple[Value | None, ...]
    opset: int
    builder: Builder
    types: Types
    name: str

    @property
    def op(self) -> str:
        """The operator."""
        return str(self.node.op)

    def refuse(self, reason: str, advice: str) -> NoReturn:
        """Refuse the node."""
        refuse(self.node, reason, advice)

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute, or `default`."""
        return self.attributes.get(name, default)

    def has(self, position: int) -> bool:
        """Say whether the node has an input at `position`."""
        return position < len(self.inputs) and self.inputs[position] is not None

    def value(self, position: int) -> Value:
        """Return the input at `position`; refuses a node that lacks it."""
        found = self.inputs[position] if position < len(self.inputs) else None
        if found is None:
            self.refuse(f"it has no input {position}", "check the model with onnx.checker")
        return found

    def tensor(self, position: int) -> fx.Node:
        """Return an input as a tensor."""
        return self.as_tensor(self.value(position), self.node.inputs[position])

    def tensors(self) -> list[fx.Node]:
        """Return all inputs as tensors."""
        return [self.tensor(position) for position in range(len(self.inputs))]

    def operand(self, position: int) -> Any:
        """Return an input as a tensor, or as a number where it is a literal scalar."""
        value = self.value(position)
        held = self._literal(value)
        if held is not None and held.ndim == 0 and held.dtype.kind in "fiub":
            return held.item()
        return self.tensor(position)

    def operands(self) -> list[Any]:
        """Return the inputs as tensors or numbers, at least one of them as a tensor."""
        found = [self.operand(position) for position in range(len(self.inputs))]
        if not any(isinstance(operand, fx.Node) for operand in found):
            found[0] = self.tensor(0)
        return found

    def static(self, position: int) -> np.ndarray[Any, Any] | None:
        """Return the values of an input that is constant, whether weight or literal."""
        value = self.inputs[position] if position < len(self.inputs) else None
        if isinstance(value, Literal):
            return value.array
        return dense_values(value.constant) if isinstance(value, Weight) else None

    def numbers(self, position: int) -> Any:
        """Return an input as plain numbers: a nested tuple where constant, else an fx node."""
        held = self.static(position)
        if held is not None:
            return _tuple(held.tolist())
        value = self.value(position)
        if isinstance(value, Traced) and value.numbers:
            return value.node
        return self.builder.function(numbers.from_tensor, self.tensor(position))

    def optional_numbers(self, position: int, attribute: str | None = None) -> Any:
        """Return an input as plain numbers, or the attribute that older opsets have, or None."""
        if attribute is not None and attribute in self.attributes:
            return _tuple(self.attributes[attribute])
        return self.numbers(position) if self.has(position) else None

    def fixed(self, position: int, attribute: str | None = None) -> Any:
        """Return a tuple of the constant integers of an input or attribute, None where absent."""
        found = self.optional_numbers(position, attribute)
        if isinstance(found, fx.Node):
            self.refuse(
                f"its input '{self.node.inputs[position].name}' is computed from data",
                "fold it first: planish optimize -p exact",
            )
        return (found,) if isinstance(found, int | float | bool) else found

    def rank(self, position: int) -> int | None:
        """Return the rank of an input where inference knows it."""
        held = self.static(position)
        if held is not None:
            return held.ndim
        found = self.types.of(self.node.inputs[position])
        return None if found is None or found.shape is None else len(found.shape)

    def dtype(self, tensor: gs.Tensor) -> np.dtype[Any] | None:
        """Return the element type of a tensor where inference knows it."""
        found = self.types.of(tensor)
        return None if found is None else dtypes.numpy_dtype(found.dtype)

    def function(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> fx.Node:
        """Add a call of a function."""
        return self.builder.function(target, *args, **kwargs)

    def module(self, module: nn.Module, *args: Any) -> fx.Node:
        """Add a call of a module without parameters, named after the node's result."""
        return self.builder.submodule(module, self.name, *args)

    def count(self, target: Callable[..., Any], *args: Any, **kwargs: Any) -> Value:
        """Compute on numbers: now where all are known, else when the module runs."""
        if _has_nodes(args) or _has_nodes(tuple(kwargs.values())):
            return Traced(self.function(target, *args, **kwargs), numbers=True)
        return Literal(self._typed(target(*args, **kwargs)))

    def as_tensor(self, value: Value, tensor: gs.Tensor) -> fx.Node:
        """Return `value`, which is that of `tensor`, as a tensor."""
        if isinstance(value, Literal):
            return self.builder.literal(value.array)
        if isinstance(value, QuantizedWeight):
            return realize_weight(self.builder, self.node, value).node
        if isinstance(value, MaskedWeight):
            return self.builder.product(value.constant, value.mask)
        if isinstance(value, Weight):
            held = self._literal(value)
            if held is not None:
                return self.builder.literal(held)
            return self.builder.attribute(self.builder.realize(value.constant))
        if value.integers:
            return integers(self.builder, value)
        if value.numbers:
            kind = torch_dtype(self.dtype(tensor) or np.int64)
            return self.function(numbers.to_tensor, value.node, kind, self.builder.anchor)
        return value.node

    def _literal(self, value: Value) -> np.ndarray[Any, Any] | None:
        """Return values that are no parameter: literals, and numbers that exporters make up."""
        if isinstance(value, Literal):
            return value.array
        if not isinstance(value, Weight) or self.builder.realized(value.constant) is not None:
            return None
        held = dense_values(value.constant)
        if held is None or held.size != 1 or self.builder.is_parameter(value.constant.name):
            return None
        return held

    def _typed(self, found: Any) -> np.ndarray[Any, Any]:
        made = numbers.array(found)
        held = np.array(made.tolist())
        kind = self.dtype(self.node.outputs[0])
        if kind is None and (held.dtype.kind == "i" or not held.size):
            kind = np.dtype(np.int64)
        elif kind is None and held.dtype.kind == "f":
            kind = np.dtype(np.float32)
        return held.astype(kind or held.dtype).reshape(made.shape)


def _tuple(value: Any) -> Any:
    return tuple(_tuple(v) for v in value) if isinstance(value, list | tuple) else value


def _has_nodes(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(_has_nodes(v) for v in value)
    return isinstance(value, fx.Node)


def name_of(tensor: gs.Tensor, prefix: str) -> str:
    """Return a name for the result `tensor` of a node inside the call `prefix`."""
    own = names.identifier(tensor.name, "result")
    return f"{prefix}_{own}" if prefix else own
