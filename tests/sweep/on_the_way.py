"""What becomes of numbers on the way through a model, where results are then a matter of order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from planish.ir.ops.traits.groups import LAYERS

from tests.strategies.random_graphs.evaluate import run_session, session_of

Array = np.ndarray[Any, Any]

_MAXIMA = ("MaxPool", "GlobalMaxPool")
_ARITHMETIC = ("Add", "Sub", "Mul", "Div")


def is_number(array: Array) -> Array:
    """Say which elements are numbers: neither infinite nor NaN."""
    if array.dtype.kind in "iubO":
        return np.ones(array.shape, bool)
    return np.isfinite(array.astype(np.float64))


def reads_no_number(model: onnx.ModelProto, feed: Mapping[str, Array]) -> bool:
    """Say whether a pool or a layer reads what makes its result a matter of order.

    A pool, what is no number or minus infinity: of float32 in a row ONNX Runtime gives the
    lowest number for either, of float64 or of rows what it was given; ONNX's reference leaves
    what is no number out, and fails where nothing is left. A layer, what is infinite or no
    number though the feed is neither: weights added or multiplied beforehand give the one where
    the other was.
    """
    pooled = _read_by(model, _MAXIMA, feed)
    if any((np.isnan(array) | np.isneginf(array)).any() for array in pooled):
        return True
    if not _are_numbers(feed.values()):
        return False
    return not _are_numbers(_read_by(model, LAYERS, feed))


def overflows(model: onnx.ModelProto, feed: Mapping[str, Array]) -> bool:
    """Say whether arithmetic leaves the range of its type: x * c / c is then not x."""
    nodes = [node for node in model.graph.node if node.op_type in _ARITHMETIC]
    found = _floats(model, [t for n in nodes for t in (*n.input, *n.output)], feed)
    for node in nodes:
        if not {*node.input, *node.output} <= found.keys():
            continue
        operands = [found[name] for name in node.input]
        by_zero = node.op_type == "Div" and not operands[1].all()
        if _are_numbers(operands) and not by_zero and not _are_numbers([found[node.output[0]]]):
            return True
    return False


def overflows_in_16_bits(model: onnx.ModelProto, feed: Mapping[str, Array]) -> bool:
    """Say whether numbers become infinite in 16 bits."""
    if not _are_numbers(feed.values()):
        return False
    made = [name for node in model.graph.node for name in node.output if name]
    try:
        found = _floats(model, made, feed).values()
    except Exception:  # the runtime lacks kernels of bfloat16
        return False
    return not _are_numbers([array for array in found if array.dtype.itemsize == 2])


def _are_numbers(arrays: Collection[Array]) -> bool:
    return all(is_number(array).all() for array in arrays)


def _read_by(
    model: onnx.ModelProto, ops: Collection[str], feed: Mapping[str, Array]
) -> list[Array]:
    """Return the floats that nodes of the graph itself read first."""
    read = [node.input[0] for node in model.graph.node if node.op_type in ops]
    return [*_floats(model, read, feed).values()]


def _floats(
    model: onnx.ModelProto, names: Sequence[str], feed: Mapping[str, Array]
) -> dict[str, Array]:
    """Return those of the tensors of the graph itself that hold floats."""
    if not names:
        return {}
    asked = onnx.ModelProto.FromString(model.SerializeToString())
    del asked.graph.output[:]
    asked.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names))
    found = run_session(session_of(asked), feed)
    return {name: array for name, array in found.items() if array.dtype.kind not in "iubO"}
