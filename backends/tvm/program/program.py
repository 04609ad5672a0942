"""A Relax program under construction, whatever the layouts of its tensors.

Weights are parameters of the program, packed before it is compiled, so that the compiler never sees
them and an artifact can map them from its file.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ....ir.core.variables import node_key
from ....ir.graph.order import reads
from ....ir.graph.types import Shape
from ....ir.graph.view import View
from ..spec.calls import KernelCall, SizedKernels
from ..spec.layout import Array
from .single import SingleNode
from .value import as_tensor

# Constants up to this size are part of the program, where the compiler can compute with them.
_SMALL = 64


# A node, and how ONNX writes it.
Step = tuple[gs.Node, onnx.NodeProto]


class PlainTensors(Protocol):
    """Tensors in a layout that TVM's converters know: what they read and define."""

    builder: Any

    def plain(self, tensor: gs.Tensor) -> Any:
        """Return the expression of `tensor`."""

    def define_plain(self, tensor: gs.Tensor, expr: Any) -> None:
        """Record that `expr` holds `tensor`."""

    def sizes_here(self, shape: Shape) -> Shape:
        """Return the sizes that an expression has here of a tensor of `shape`."""


@dataclass(frozen=True, kw_only=True)
class Enclosing:
    """A Relax function that a program is a part of: it is built by `builder`.

    `sizes`: what names of sizes in the graph stand for there. `prefix`: how the names of kernels
    begin. Weights of such a program are constants, and it calls no other runtime.
    """

    builder: Any
    sizes: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""


class Program(ABC):
    """The main function of the graph of `view`, its constants, and what holds its tensors.

    `calls`: which kernels are called for which nodes, as far as that is known. `elsewhere`: the
    first results of nodes that TVM does not compile, and ONNX Runtime is to run. `singles`: the
    nodes that have no kernel of which a description is kept, and are to be compared as they are.
    `sized`: what kernels of any number of images are for one image.
    `has_host_kernels`: kernels run where Python does, and may call it.
    """

    has_host_kernels: ClassVar[bool] = False

    def __init__(
        self,
        view: View,
        elsewhere: frozenset[str] = frozenset(),
        enclosing: Enclosing | None = None,
    ) -> None:
        from tvm import relax

        self.view = view
        self.elsewhere = elsewhere
        self.enclosing = enclosing
        self.builder: Any = relax.BlockBuilder() if enclosing is None else enclosing.builder
        self.constants: list[Array] = []
        self.parameters: list[Any] = []
        self.calls: list[KernelCall] = []
        self.singles: list[SingleNode] = []
        self.sized: SizedKernels = {}
        self._shared: dict[Hashable, Any] = {}
        self._sizes: dict[str, Any] = {} if enclosing is None else dict(enclosing.sizes)
        self._untold: dict[int, list[Step]] = {}  # what gives values that are no tensors, by id
        self._alive: list[gs.Tensor] = []  # tensors are known by their id

    @abstractmethod
    def plain(self, tensor: gs.Tensor) -> Any:
        """Return the expression of `tensor` in ONNX's own layout."""

    @abstractmethod
    def define_plain(self, tensor: gs.Tensor, expr: Any) -> None:
        """Record that `expr`, in ONNX's own layout, holds `tensor`."""

    def note_call(self, kernel: str, nodes: Sequence[gs.Node], op: Any = None) -> None:
        """Note that `kernel`, that of `op`, is called for `nodes`; "": what TVM makes of them."""
        results = nodes[-1].outputs if nodes else ()
        shape = self.view.shape(results[0]) if results else None
        operators = tuple(str(node.op) for node in nodes)
        self.calls.append(KernelCall(kernel, tuple(map(node_key, nodes)), op, operators, shape))

    def sizes_here(self, shape: Shape) -> Shape:
        """Return `shape`, in ONNX's own layout."""
        return shape

    def tensor(self, tensor: gs.Tensor) -> Any:
        """Return `plain(tensor)` as a tensor, also where it is held as sizes."""
        return as_tensor(self.builder, self.plain(tensor))

    def is_elsewhere(self, node: gs.Node) -> bool:
        """Say whether `node` is for ONNX Runtime to run, whatever kernels there are."""
        if self._untold and self.untold_steps(node):
            return True
        return any(tensor.name in self.elsewhere for tensor in node.outputs)

    def leave_untold(self, steps: list[Step], values: Sequence[gs.Tensor]) -> None:
        """Leave `steps`, which give `values` that are no tensors, to the nodes that read them."""
        self._untold.update({id(value): steps for value in values})
        self._alive += values

    def untold_steps(self, node: gs.Node) -> list[Step]:
        """Return what is to run with `node`, since it reads what that gives: sequences."""
        found: dict[int, Step] = {}
        for tensor in reads(node):
            found.update({id(step[0]): step for step in self._untold.get(id(tensor), ())})
        return list(found.values())

    def sizes(self, shape: Sequence[Any]) -> list[Any]:
        """Return `shape` as Relax has it: equal names are equal variables, no name is a new one."""
        from tvm import tirx

        found = []
        for size in shape:
            if isinstance(size, int) and size >= 0:
                found.append(size)
                continue
            known = isinstance(size, str) and size not in ("", "?")
            name = size if known else f" {len(self._sizes)}"
            if name not in self._sizes:
                self._sizes[name] = tirx.Var(f"s{len(self._sizes)}", "int64")
            found.append(self._sizes[name])
        return found

    @property
    def kernels(self) -> dict[Any, str]:
        """The kernels made so far: what each computes, and its name."""
        return {}

    def parameter(self, values: Array, key: Hashable = None) -> Any:
        """Return a parameter that holds `values`; the same one for the same `key`."""
        from tvm import relax

        if key is not None and key in self._shared:
            return self._shared[key]
        values = np.ascontiguousarray(values)
        if self.enclosing is not None:
            found = relax.const(values, str(values.dtype))
        else:
            kind = relax.TensorType(list(values.shape), str(values.dtype))
            found = relax.Var(f"p{len(self.constants)}", kind)
            self.constants.append(values)
            self.parameters.append(found)
        if key is not None:
            self._shared[key] = found
        return found

    def constant(self, values: Array) -> Any:
        """Return `values` as part of the program where they are few, else as a parameter."""
        from tvm import relax

        if values.size > _SMALL:
            return self.parameter(values)
        # Without being told, TVM makes int32 of int64 and float32 of float64.
        return relax.const(np.asarray(values, order="C"), str(values.dtype))
