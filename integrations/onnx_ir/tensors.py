"""Tensors of onnx_ir as arrays and back, over the same memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir

from ...ir.core.errors import ConversionError

_BYTE = 8  # bits
_Place = tuple[int, str, tuple[int, ...], tuple[int, ...]]


class Tensors:
    """Arrays of weights, and the tensors that they came from, by where in memory they lie."""

    def __init__(self) -> None:
        self._known: dict[_Place, tuple[ir.TensorProtocol, np.ndarray[Any, Any]]] = {}

    def array(self, tensor: ir.TensorProtocol) -> np.ndarray[Any, Any]:
        """Return what `tensor` holds: its own memory, a map of its file, or what it computes.

        Raises ConversionError where it cannot be read.
        """
        try:
            values = np.asarray(tensor.numpy())
        except Exception as error:  # a file, or anybody's code
            raise ConversionError(
                f"the values of tensor '{tensor.name}' cannot be read: {error}"
            ) from error
        self._known.setdefault(_place(values), (tensor, values))
        return values

    def tensor(self, values: np.ndarray[Any, Any], like: ir.TensorProtocol) -> ir.TensorProtocol:
        """Return a tensor over the memory of `values`, described as `like`.

        Where they came from a tensor that is described so, it is that one.
        """
        found, _ = self._known.get(_place(values), (None, None))
        if found is not None and _description(found) == _description(like):
            return found
        described = {key: value or None for key, value in _description(like).items()}
        if isinstance(found, ir.ExternalTensor):
            return ir.ExternalTensor(
                found.location,
                found.offset,
                found.length,
                found.dtype,
                shape=found.shape,
                base_dir=found.base_dir,
                **described,
            )
        return ir.Tensor(values, dtype=like.dtype, **described)


def is_array(tensor: ir.TensorProtocol) -> bool:
    """Say whether the elements of `tensor` are whole bytes, and no strings."""
    return bool(tensor.dtype != ir.DataType.STRING and tensor.dtype.bitwidth >= _BYTE)


def each_tensor(model: ir.Model, change: Callable[[ir.TensorProtocol], ir.TensorProtocol]) -> None:
    """Replace each tensor of `model` by what `change` makes of it.

    They are those of initializers and of attributes, in subgraphs and functions too.
    """
    for owner in (model.graph, *model.functions.values()):
        graph = owner.graph if isinstance(owner, ir.Function) else owner
        for scope in (graph, *graph.subgraphs()):
            for value in scope.initializers.values():
                if value.const_value is not None:
                    value.const_value = change(value.const_value)
            for node in scope:
                for attribute in list(node.attributes.values()):
                    if attribute.type == ir.AttributeType.TENSOR and not attribute.is_ref():
                        changed = change(attribute.as_tensor())
                        if changed is not attribute.as_tensor():
                            node.attributes.add(
                                ir.AttrTensor(attribute.name, changed, attribute.doc_string)
                            )


def _place(values: np.ndarray[Any, Any]) -> _Place:
    return values.ctypes.data, values.dtype.str, values.shape, values.strides


def _description(tensor: ir.TensorProtocol) -> dict[str, Any]:
    return {
        "name": tensor.name or "",
        "doc_string": tensor.doc_string or "",
        "metadata_props": dict(tensor.metadata_props),
    }
