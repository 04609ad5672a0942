"""Tensor expressions as kernels of a program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_graphsurgeon as gs

from .....ir.graph.view import View
from ...graph.spatial import read_window, spatial_sizes
from ..kernels.compute import WindowSizes
from .channels_last import ChannelsLastProgram

_FUSES = {"op_pattern": 4}  # element-wise operators may follow in the same kernel


def emit_kernel(
    program: ChannelsLastProgram, make: Callable[..., Any], name: str, *args: Any
) -> Any:
    """Emit `make` of `args` as a kernel that element-wise operators may follow."""
    return program.builder.emit_te(make, *args, primfunc_name_hint=name, primfunc_attrs=_FUSES)


def window_sizes(node: gs.Node, view: View) -> WindowSizes:
    """Return the window of a Conv or pooling `node` over as many axes as it has."""
    window = read_window(node, view)
    shape = view.shape(node.outputs[0])
    assert shape is not None
    out = spatial_sizes(shape)
    rank = len(out)
    return WindowSizes(out, window.strides[-rank:], window.dilations[-rank:], window.pads[-rank:])
