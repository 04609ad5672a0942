"""Questions about a graph that rewrites ask; nothing here changes anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ..core import dtypes
from ..core.variables import dense_values
from .types import Shape, TensorType
from .uses import Uses

TypeOf = Callable[[gs.Tensor], TensorType | None]


class View:
    """Constant-time answers about one graph (or subgraph: `scope`) while a pass runs over it.

    Producers and readers are those of the same scope: a rewrite never reaches across the border of
    an If, Loop or Scan body, where moving work would change how often it is done. `signed_zeros`
    says whether 0.0 and -0.0 are to be told apart: a rule that confuses them asks.
    """

    def __init__(
        self, scope: gs.Graph, uses: Uses, type_of: TypeOf, *, signed_zeros: bool = False
    ) -> None:
        self.scope = scope
        self.signed_zeros = signed_zeros
        self.opset: int = scope.opset
        self._uses = uses
        self.type = type_of

    def producer(self, tensor: gs.Tensor) -> gs.Node | None:
        """Return the node of this scope that produces `tensor`, or None."""
        return self._uses.producer_in(tensor, self.scope)

    def readers(self, tensor: gs.Tensor) -> list[gs.Node]:
        """Return the nodes that read `tensor`, in this scope and those inside it, each once."""
        return self._uses.readers(tensor)

    def fan_out(self, tensor: gs.Tensor) -> int:
        """Count the nodes that read `tensor`, without listing them."""
        return self._uses.fan_out(tensor)

    def reads(self, tensor: gs.Tensor) -> int:
        """Count the node inputs that are `tensor`; a node may count several times."""
        return self._uses.reads(tensor)

    def is_output(self, tensor: gs.Tensor) -> bool:
        """Say whether `tensor` is an output of its graph, so that its value must stay visible."""
        return id(tensor) in self._uses.pinned

    def read_only_by(self, tensor: gs.Tensor, *nodes: gs.Node) -> bool:
        """Say whether `tensor` is read by `nodes` alone, once by each, and is no graph output."""
        if self.is_output(tensor) or self._uses.reads(tensor) != len(nodes):
            return False
        readers = {id(node) for node in self._uses.readers(tensor)}
        return readers == {id(node) for node in nodes}

    def only_reader(self, tensor: gs.Tensor) -> gs.Node | None:
        """Return the one node of this scope that reads `tensor`, if nothing else does."""
        if self.is_output(tensor) or self._uses.reads(tensor) != 1:
            return None
        reader = self._uses.readers(tensor)[0]
        return reader if self._uses.scope(reader) is self.scope else None

    def is_constant(self, tensor: gs.Tensor) -> bool:
        """Say whether `tensor` is a constant that no caller can override."""
        return isinstance(tensor, gs.Constant) and id(tensor) not in self._uses.interface_inputs

    def constant(self, tensor: gs.Tensor) -> np.ndarray[Any, Any] | None:
        """Return the values of a constant, read-only, or None.

        An initializer that is also a graph input is not constant: a caller may override it.
        """
        if not isinstance(tensor, gs.Constant) or id(tensor) in self._uses.interface_inputs:
            return None
        return dense_values(tensor)

    def shape(self, tensor: gs.Tensor) -> Shape | None:
        """Return the shape that follows from the graph's inputs; unknown sizes are str or None."""
        found = self.type(tensor)
        return None if found is None else found.shape

    def rank(self, tensor: gs.Tensor) -> int | None:
        """Return the number of dimensions, or None where it is unknown."""
        shape = self.shape(tensor)
        return None if shape is None else len(shape)

    def dtype(self, tensor: gs.Tensor) -> np.dtype[Any] | None:
        """Return the element type, or None where it is unknown."""
        found = self.type(tensor)
        return None if found is None else dtypes.numpy_dtype(found.dtype)

    def same_shape(self, a: gs.Tensor, b: gs.Tensor) -> bool:
        """Say whether both shapes are known, equal, and without a nameless dimension."""
        shape = self.shape(a)
        return shape is not None and None not in shape and shape == self.shape(b)
