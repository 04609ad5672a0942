"""One operator of Relax on its way to ONNX: its arguments, and the nodes that are written of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import need

OPSET = 20


_CONSTANT = "bind it first, with relax.transform.BindParams"


@dataclass
class Writer:
    """Nodes under construction for one `call`, whose result is called `name`.

    `tensor` gives the tensor of an argument, `array` the values of one that is constant.
    """

    call: Any
    name: str
    tensor: Callable[[Any], gs.Tensor]
    array: Callable[[Any], np.ndarray[Any, Any] | None]
    nodes: list[gs.Node] = field(default_factory=list)

    @property
    def attrs(self) -> Any:
        """The attributes of the call."""
        return self.call.attrs

    def rank(self, index: int = 0) -> int:
        """Return the number of axes of an argument."""
        return len(self.shape(index))

    def shape(self, index: int = 0) -> list[Any]:
        """Return the sizes of an argument: numbers, and expressions."""
        kind = self.call.args[index].ty
        need(getattr(kind, "shape", None) is not None, "the sizes of what it reads are not known")
        return [number(size) for size in kind.shape]

    def dtype(self, index: int = 0) -> str:
        """Return the element type of an argument."""
        return str(self.call.args[index].ty.dtype)

    def constant(self, index: int, what: str) -> np.ndarray[Any, Any]:
        """Return an argument that must be constant."""
        return need(self.array(self.call.args[index]), f"{what} is no constant; {_CONSTANT}")

    def given(self, values: Any, dtype: Any) -> gs.Constant:
        """Return a new constant."""
        return gs.Constant(f"{self.name}_{len(self.nodes)}_c", np.asarray(values, dtype))

    def node(self, op: str, inputs: Sequence[gs.Tensor], outputs: int = 1, **attrs: Any) -> Any:
        """Append a node, and return its first result; the last node's results get their names."""
        found = [gs.Variable(f"{self.name}_{len(self.nodes)}_{i}") for i in range(outputs)]
        name = f"{self.name}_{len(self.nodes)}"
        self.nodes.append(gs.Node(op, name, attrs, list(inputs), found))
        return found[0]


Write = Callable[[Writer], Any]


def constant_of(expr: Any) -> np.ndarray[Any, Any] | None:
    """Return the values of a constant tensor, None of anything else."""
    from tvm import ir, runtime

    held = expr.value if isinstance(expr, ir.GenericConst) else None
    return held.numpy() if isinstance(held, runtime.Tensor) else None


def number(size: Any) -> Any:
    """Return a size as a number where it is one."""
    from tvm import tirx

    return int(size) if isinstance(size, int | tirx.IntImm) else size


def ints(values: Any) -> list[int]:
    """Return the numbers of an attribute."""
    return [int(value) for value in values]


def scalar(expr: Any) -> float:
    """Return a number that is an argument; declines what is computed."""
    value = getattr(expr, "value", expr)
    value = getattr(value, "value", value)
    need(isinstance(value, int | float), "a bound is computed")
    return float(value)


def same(op: str) -> Write:
    """Return the writer of what has the name `op` in ONNX, and the same arguments."""

    def write(to: Writer) -> None:
        to.node(op, [to.tensor(arg) for arg in to.call.args])

    return write
