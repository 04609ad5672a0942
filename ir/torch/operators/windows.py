"""Windows of Conv, ConvTranspose and the poolings, and inputs padded for them."""

from __future__ import annotations

from torch import fx

from ...ops.windows.attributes import WindowAttributes, window_attributes
from ..call import OperatorCall
from ..functions import windows

Ends = tuple[int, ...]


def read_window(call: OperatorCall, kernel: tuple[int, ...]) -> WindowAttributes:
    """Return the window of a node whose kernel has the spatial shape `kernel`."""
    return window_attributes(call.op, call.attributes, kernel)


def symmetric_pads(window: WindowAttributes) -> Ends | None:
    """Return the pads of one end where they are known and the same at both, else None."""
    found = window.fixed_pads()
    return found[0] if found is not None and found[0] == found[1] else None


def padded(call: OperatorCall, window: WindowAttributes, x: fx.Node, value: float = 0.0) -> fx.Node:
    """Return `x` padded explicitly for a window that is not transposed."""
    found = window.fixed_pads()
    if found is not None:
        return call.function(windows.pad, x, *found, value)
    if window.pools:
        kernel, strides = window.kernel, window.strides
        return call.function(windows.pad_same_pool, x, kernel, strides, window.upper, value)
    return call.function(
        windows.pad_same, x, window.kernel, window.strides, window.dilations, window.upper, value
    )
