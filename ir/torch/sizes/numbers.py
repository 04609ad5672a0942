"""Numbers computed from sizes, in the exporter's graph: which are real, and in doubles."""

from __future__ import annotations

from typing import Any


def noted(node: Any) -> Any:
    """Return what torch.export has noted of the result that an exporter's `node` is part of."""
    made_of = None if node is None else node.meta.get("node")
    return None if made_of is None else made_of.meta.get("val")


def noted_value(value: Any) -> Any:
    """Return what torch.export has noted of an exporter's value: a fake tensor, or a number."""
    producer = value.producer()
    if producer is None:
        return value.meta["node"].meta["val"]
    found = noted(producer)
    return found[value.index()] if isinstance(found, list | tuple) else found


def is_real(value: Any, torch: Any) -> bool:
    """Say whether an exporter's value, or a number of Python, is real: then it is a double."""
    if isinstance(value, int | float):
        return isinstance(value, float)
    return isinstance(noted(value.producer()), torch.SymFloat)


def as_double(value: Any, torch: Any) -> Any:
    """Return an exporter's value, or a number of Python, as a value in 64 bits."""
    import onnx_ir as ir
    from onnxscript.onnx_opset import opset18 as op

    if isinstance(value, int | float):
        return op.Constant(value=ir.tensor(float(value), ir.DataType.DOUBLE))
    return value if is_real(value, torch) else op.Cast(value, to=ir.DataType.DOUBLE)
