"""A random graph under construction, every tensor with the value that ONNX Runtime gives it.

A node that the runtime refuses is not added: a step may propose whatever is likely to be valid, and
reads shapes, sizes and indices from the values themselves. The same code runs from a plain seed and
under hypothesis, whose `Random` shrinks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, helper, numpy_helper

from . import values
from .evaluate import Array, elem_type, run_node

Step = Callable[["Builder"], Any]

# No tensor is larger: what is wrong is wrong in a small one.
MOST_ELEMENTS = 4096


@dataclass(kw_only=True)
class Builder:
    """The nodes and constants so far, and the value of every tensor by name.

    `fragile`: what a node gives for other values may be undefined, such as a Cast of a large float
    to an integer. `extreme`: constants may be infinite, or no numbers.
    """

    rng: Random
    opset: int
    extreme: bool = False
    prefix: str = "t"
    arrays: dict[str, Array] = field(default_factory=dict)
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, Array] = field(default_factory=dict)
    inputs: dict[str, Array] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)
    functions: list[onnx.FunctionProto] = field(default_factory=list)
    fragile: bool = False
    only_nodes: bool = False
    proposed: int = 0
    refused: int = 0
    _count: int = 0

    def chance(self, probability: float) -> bool:
        """Return True in so many cases."""
        return self.rng.random() < probability

    def pick(self, *choices: Any) -> Any:
        """Return one of `choices`."""
        return self.rng.choice(choices)

    def fresh(self) -> str:
        """Return a new tensor name."""
        self._count += 1
        return f"{self.prefix}{self._count}"

    def input(self, array: Array) -> str:
        """Add a graph input whose first feed is `array`."""
        name = f"x{len(self.inputs)}"
        self.inputs[name] = self.arrays[name] = array
        return name

    def constant(self, array: Any) -> str:
        """Add a constant: an initializer, or a Constant node in one of its spellings."""
        array = np.asarray(array)
        if array.dtype == values.TEXT:
            array = array.astype(str).astype(values.TEXT)
        name = self.fresh()
        if self.only_nodes or self.chance(0.25):
            made = helper.make_node("Constant", [], [name], name=f"n_{name}")
            made.attribute.append(self._spelling(array))
            self.nodes.append(made)
        else:
            self.initializers[name] = array
        self.arrays[name] = array
        self.constants.add(name)
        return name

    def _spelling(self, array: Array) -> AttributeProto:
        kind = {"float32": "float", "int64": "int"}.get(array.dtype.name)
        if self.opset >= 12 and kind and array.ndim < 2 and array.size and self.chance(0.4):
            plural = "s" if array.ndim else ""
            return helper.make_attribute(f"value_{kind}{plural}", array.tolist())
        return helper.make_attribute("value", numpy_helper.from_array(array))

    def ints(self, numbers: Sequence[int] | int) -> str:
        """Add a constant of int64."""
        return self.constant(np.array(numbers, np.int64))

    def node(
        self,
        op: str,
        inputs: Sequence[str],
        *,
        outputs: int | Sequence[str] = 1,
        domain: str = "",
        **attrs: Any,
    ) -> list[str]:
        """Add a node and return its outputs; none where the runtime refuses it."""
        names = [self.fresh() for _ in range(outputs)] if isinstance(outputs, int) else [*outputs]
        made = helper.make_node(op, list(inputs), names, name=f"n_{names[0]}", domain=domain)
        made.attribute.extend(make_attribute(k, v) for k, v in attrs.items() if v is not None)
        return self.add(made)

    def add(self, node: onnx.NodeProto) -> list[str]:
        """Add `node` as it is and return its outputs; none where the runtime refuses it."""
        self.proposed += 1
        read = {name: self.arrays[name] for name in reads(node) if name in self.arrays}
        used = self.functions if node.domain or has_graphs(node) else ()
        try:
            found = run_node(node, read, opset=self.opset, functions=used)
        except Exception:  # the binding raises one class per status code
            self.refused += 1
            return []
        if not all(isinstance(v, np.ndarray) and v.size <= MOST_ELEMENTS for v in found.values()):
            return []
        self.nodes.append(node)
        self.arrays.update(found)
        return list(node.output)

    def one(self, op: str, *inputs: str, **attrs: Any) -> str | None:
        """Add a node of one output and return its name, or None."""
        made = self.node(op, inputs, **attrs)
        return made[0] if made else None

    def tensor(self, fits: Callable[[Array], bool] = lambda _: True) -> str | None:
        """Return a tensor whose value `fits`, mostly a new one and rarely a constant."""
        wide = [(name, a) for name, a in self.arrays.items() if not values.is_narrow(a.dtype)]
        found = [name for name, array in wide if fits(array)]
        lively = [name for name in found if name not in self.constants]
        if lively and not self.chance(0.03):
            found = lively
        if not found:
            return None
        return self.rng.choice(found[-3:] if self.chance(0.75) else found)

    def floating(self, low: int = 0, high: int = 6) -> str | None:
        """Return a float tensor of a rank from `low` to `high`."""
        return self.tensor(lambda a: values.is_float(a.dtype) and low <= a.ndim <= high)

    def like(self, x: str) -> str | None:
        """Return a tensor of the type of `x` that broadcasts with it, or None."""
        own = self.arrays[x]
        return self.tensor(lambda a: a.dtype == own.dtype and broadcast(a.shape, own.shape))

    def slope(self, x: str) -> str:
        """Return a constant that broadcasts to the shape of `x`, as PRelu wants it."""
        array = self.arrays[x]
        axes = [size if self.chance(0.5) else 1 for size in array.shape]
        shape = tuple(axes[self.rng.randint(0, len(axes)) :])
        return self.constant(values.ordinary(self.rng, array.dtype, shape))

    def operand(self, x: str) -> str:
        """Return a constant that broadcasts with `x`: a special number, or several.

        Now and then one that is there, or its values once more under another name.
        """
        array = self.arrays[x]
        if self.chance(0.1) and (known := self._known_operand(array)):
            return known if self.chance(0.3) else self.constant(self.arrays[known].copy())
        if self.chance(0.45):
            number = values.special(self.rng, array.dtype, extreme=self.extreme)
            return self.constant(np.full(self.pick((), (1,), (1,) * array.ndim), number))
        axes = [size if self.chance(0.5) else 1 for size in array.shape]
        shape = tuple(axes[self.rng.randint(0, len(axes)) :]) if self.chance(0.5) else tuple(axes)
        draw = values.extreme if self.extreme and self.chance(0.3) else values.ordinary
        return self.constant(draw(self.rng, array.dtype, shape))

    def _known_operand(self, array: Array) -> str | None:
        """Return a constant of the type of `array` that broadcasts to its shape, or None."""
        found = [
            name
            for name in sorted(self.constants)
            if self.arrays[name].dtype == array.dtype
            and self.arrays[name].ndim <= array.ndim
            and broadcast(self.arrays[name].shape, array.shape)
        ]
        return self.rng.choice(found) if found else None

    def axis(self, x: str) -> int:
        """Return an axis of `x`, of either sign; its rank is not 0."""
        rank = self.arrays[x].ndim
        return self.rng.randrange(-rank, rank)

    def child(self, prefix: str, *, only_nodes: bool = False) -> Builder:
        """Return the builder of a subgraph, or, without `arrays` of this one, of a function."""
        return Builder(
            rng=self.rng,
            opset=self.opset,
            extreme=self.extreme,
            prefix=f"{self.fresh()}_{prefix}",
            arrays={} if only_nodes else dict(self.arrays),
            constants=set() if only_nodes else set(self.constants),
            functions=self.functions,
            only_nodes=only_nodes,
        )


def broadcast(a: Sequence[int], b: Sequence[int]) -> bool:
    """Say whether two shapes broadcast, to a result that is small enough."""
    try:
        return math.prod(np.broadcast_shapes(tuple(a), tuple(b))) <= MOST_ELEMENTS
    except ValueError:
        return False


def reads(node: onnx.NodeProto) -> Iterator[str]:
    """Yield what `node` reads, its subgraphs included."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            own = {value.name for value in (*graph.input, *graph.initializer)}
            own |= {name for inner in graph.node for name in inner.output}
            yield from (name for inner in graph.node for name in reads(inner) if name not in own)


def has_graphs(node: onnx.NodeProto) -> bool:
    """Say whether `node` has subgraphs."""
    return any(a.HasField("g") or a.graphs for a in node.attribute)


def info(name: str, array: Array | None, shape: Any = None) -> onnx.ValueInfoProto:
    """Return the declaration of a tensor, its sizes left open unless given."""
    if array is None:
        return onnx.ValueInfoProto(name=name)
    return helper.make_tensor_value_info(name, elem_type(array), shape)


def make_attribute(name: str, value: Any) -> AttributeProto:
    """Return an attribute; an empty list is one of integers."""
    if isinstance(value, AttributeProto):
        return value
    if isinstance(value, list | tuple) and not value:
        return helper.make_attribute(name, [], attr_type=AttributeProto.INTS)
    return helper.make_attribute(name, value)
