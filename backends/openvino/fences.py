"""Nodes that keep OpenVINO from fusions that it gets wrong, in its own model of a graph.

Where a graph has integers, OpenVINO moves `scale (q - zero point)` behind the operators that read
it, and folds arithmetic in front of a quantization into that one's ranges. Three of these lose
something: an average over pads then counts `zero point` of them for 0, a Pad rounds its value to a
whole number, and of ranges for single channels with open sizes it takes wrong ones. A Maximum with
the least float32 in between changes no number, and is no part of a pattern that it looks for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

_LEAST = np.finfo(np.float32).min
_ARITHMETIC = frozenset({"Add", "Subtract", "Multiply", "Divide"})
_ABSORBED = frozenset({"Relu", "Clamp"})  # a quantization cuts off as these do
_RESHAPED = frozenset({"Reshape", "Convert", "Unsqueeze"})
# Arithmetic behind these is theirs before it is a quantization's, if nothing else reads them.
_PRODUCTS = frozenset(
    {"Convolution", "GroupConvolution", "ConvolutionBackpropData", "GroupConvolutionBackpropData"}
) | {"MatMul"}


def fence(model: Any) -> None:
    """Put a Maximum in front of what OpenVINO would fuse wrongly in `model`, in place."""
    ops = list(model.get_ops())
    if not any(op.get_type_name() == "FakeQuantize" or _is_of_bytes(op) for op in ops):
        return
    by_sizes = any(op.get_type_name() == "ShapeOf" and _reads_sizes(op) for op in ops)
    for op in ops:
        wrong = _WRONG.get(op.get_type_name())
        if wrong is not None and _is_float32(op) and wrong(op, by_sizes):
            _put_in_front(op)


def _is_of_bytes(op: Any) -> bool:
    if op.get_type_name() != "Convert":
        return False
    return op.get_input_element_type(0).get_type_name() in ("i8", "u8")


def _is_float32(op: Any) -> bool:
    return bool(op.get_input_element_type(0).get_type_name() == "f32")


def _counts_pads(op: Any, by_sizes: bool) -> bool:
    """Say whether AvgPool `op` counts pads: its own, or those of a Pad that becomes its own."""
    if _source(op).get_type_name() == "Pad":
        return True
    attributes = op.get_attributes()
    return attributes["exclude-pad"] is False and any(
        [*attributes["pads_begin"], *attributes["pads_end"], attributes["auto_pad"] != "explicit"]
    )


def _pads_with_a_value(op: Any, by_sizes: bool) -> bool:
    if op.get_attributes()["pad_mode"] != "constant" or op.get_input_size() < 4:
        return False
    value = op.input_value(3).get_node()
    return value.get_type_name() != "Constant" or bool(np.any(value.data != 0))


def _quantizes_channels(op: Any, by_sizes: bool) -> bool:
    """Say whether arithmetic with a constant may become part of FakeQuantize `op` of open sizes.

    A size that is read anywhere may be read of the product behind the arithmetic, which then has
    another reader.
    """
    if not op.get_input_partial_shape(0).is_dynamic:
        return False
    source = _source(op)
    while source.get_type_name() in _ABSORBED:
        source = _source(source)
    if source.get_type_name() not in _ARITHMETIC:
        return False
    operands = [source.input_value(i).get_node() for i in range(2)]
    if not any(map(_is_constant, operands)):
        return False
    product = next((each for each in operands if each.get_type_name() in _PRODUCTS), None)
    return by_sizes or product is None or sum(each != "ShapeOf" for each in _readers(product)) > 1


_WRONG: dict[str, Callable[[Any, bool], bool]] = {
    "AvgPool": _counts_pads,
    "Pad": _pads_with_a_value,
    "FakeQuantize": _quantizes_channels,
}


def _source(op: Any) -> Any:
    return op.input_value(0).get_node()


def _readers(op: Any) -> list[str]:
    return [each.get_node().get_type_name() for each in op.output(0).get_target_inputs()]


def _is_constant(op: Any) -> bool:
    """Say whether `op` is a constant, as it is or brought into a shape or out of integers."""
    while op.get_type_name() in _RESHAPED or op.get_type_name() in _ARITHMETIC:
        op = _source(op)
    return bool(op.get_type_name() == "Constant")


def _reads_sizes(op: Any) -> bool:
    """Say whether ShapeOf `op` is of something computed, and read for more than the rank."""
    source = _source(op)
    computed = source.get_type_name() not in ("ShapeOf", "Parameter") and not _is_constant(source)
    return computed and any(each != "ShapeOf" for each in _readers(op))


def _put_in_front(op: Any) -> None:
    from openvino import opset13

    least = opset13.constant(_LEAST, dtype=np.float32)
    held = opset13.maximum(op.input_value(0), least)
    op.input(0).replace_source_output(held.output(0))
