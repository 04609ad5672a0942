"""What two models must have in common to be the same: digests of constants and of graphs.

What tensors and nodes are called, and in which order they are written, is no part of it, but for
inputs and outputs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ..core import dtypes
from ..core.errors import CertificateError
from ..core.variables import EmptyList, dense_values, exotic_type

Array = np.ndarray[Any, Any]


class Digests:
    """Digests of constants, each array read once however many tensors share it."""

    def __init__(self) -> None:
        self._known: dict[Any, str] = {}
        self._held: list[Array] = []  # so that their addresses stay taken

    def of(self, values: Array) -> str:
        """Return the digest of type, shape and elements."""
        if values.dtype.kind == "O":
            return _digest(("text", values.shape, [repr(each) for each in values.flat]))
        interface = values.__array_interface__
        key = (interface["data"][0], values.shape, values.strides, values.dtype.name)
        if key not in self._known:
            self._held.append(values)
            head = f"{dtypes.type_name(values.dtype)} {values.shape} ".encode()
            whole = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
            made = hashlib.blake2b(head, digest_size=16)
            made.update(whole.data)
            self._known[key] = made.hexdigest()
        return self._known[key]

    def constant(self, tensor: gs.Constant) -> str:
        """Return the digest of a constant, dense or sparse."""
        values = dense_values(tensor)
        if values is not None:
            return self.of(values)
        held = getattr(tensor._values, "tensor", None)
        if not isinstance(held, onnx.SparseTensorProto):
            raise CertificateError(f"constant '{tensor.name}' has no values that a digest is of")
        return _digest(held.SerializeToString(deterministic=True))

    def interface(self, graph: gs.Graph, outputs: Iterable[str]) -> str:
        """Return the digest of a graph: what it takes, and what its outputs compute."""
        lines = [f"input {at} {self._port(each)}" for at, each in enumerate(graph.inputs)]
        named = zip(graph.outputs, outputs, strict=True)
        lines += [f"output {at} {each.name!r} {key}" for at, (each, key) in enumerate(named)]
        return _digest((int(graph.opset), lines))

    def _port(self, tensor: gs.Tensor) -> str:
        values = dense_values(tensor)
        default = "" if values is None else self.of(values)
        if exotic_type(tensor) is not None or tensor.dtype is None:
            return repr((tensor.name, default))
        shape = None if tensor.shape is None else [str(size) for size in tensor.shape]
        return repr((tensor.name, dtypes.type_name(tensor.dtype), shape, default))

    def attribute(self, value: Any) -> str:
        """Return what is equal for equal attributes that are no graphs."""
        if isinstance(value, gs.Tensor):
            values = dense_values(value)
            return repr(value) if values is None else self.of(values)
        if isinstance(value, onnx.AttributeProto):
            return _digest(value.SerializeToString(deterministic=True))
        if isinstance(value, gs.Node.AttributeRef):
            return f"@{value.name}"
        if isinstance(value, bytes):
            return repr(value.decode(errors="backslashreplace"))
        if isinstance(value, EmptyList) or (isinstance(value, list | tuple) and not value):
            return "[]"
        if isinstance(value, list | tuple):
            return repr([self.attribute(each) for each in value])
        return repr(float(np.float32(value)) if isinstance(value, float) else value)


def _digest(value: Any) -> str:
    return hashlib.blake2b(repr(value).encode(), digest_size=16).hexdigest()
