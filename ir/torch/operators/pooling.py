"""Poolings."""

from __future__ import annotations

import functools
from typing import Any

from torch import fx, nn

from ...ops.windows.attributes import WindowAttributes
from ..call import Handler, OperatorCall, Result
from ..functions import indexing, windows
from .windows import padded, read_window, symmetric_pads

_MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_AVERAGE = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
_GLOBAL_AVERAGE = {3: nn.AdaptiveAvgPool1d, 4: nn.AdaptiveAvgPool2d, 5: nn.AdaptiveAvgPool3d}
_GLOBAL_MAX = {3: nn.AdaptiveMaxPool1d, 4: nn.AdaptiveMaxPool2d, 5: nn.AdaptiveMaxPool3d}


def _window(call: OperatorCall) -> WindowAttributes:
    window = read_window(call, tuple(call.attribute("kernel_shape")))
    if not 1 <= window.rank <= 3:
        call.refuse(f"it has {window.rank} spatial dimensions", "PyTorch pools one to three")
    return window


def _torch_pads(window: WindowAttributes) -> tuple[int, ...] | None:
    """Return the pads where torch takes them: the same at both ends, at most half a kernel."""
    pads = symmetric_pads(window)
    if pads is None or any(not 0 <= p <= k // 2 for p, k in zip(pads, window.kernel, strict=True)):
        return None
    return pads


def _max_pool(call: OperatorCall) -> Result:
    window, x = _window(call), call.tensor(0)
    if any(tensor.name for tensor in call.node.outputs[1:]):
        return _with_indices(call, window, x)
    pads = _torch_pads(window)
    if pads is not None:
        make = _MAX[window.rank]
        return call.module(
            make(window.kernel, window.strides, pads, window.dilations, ceil_mode=window.ceil), x
        )
    fixed = window.fixed_pads()
    if window.ceil and fixed is not None and any(fixed[1]):
        call.refuse(
            "ceil_mode with pads that differ at the ends", "set ceil_mode to 0 and pad more"
        )
    x = padded(call, window, x, -float("inf"))
    sizes = window.kernel, window.strides, window.dilations
    return call.function(windows.max_pool, x, *sizes, window.ceil)


def _with_indices(call: OperatorCall, window: WindowAttributes, x: fx.Node) -> Result:
    fixed = window.fixed_pads()
    if fixed is None:
        call.refuse("its indices depend on auto_pad", "give it the pads that result")
    if window.ceil and any(fixed[1]):
        call.refuse("ceil_mode with pads at the end", "set ceil_mode to 0 and pad more")
    made = call.function(
        windows.max_pool_indices,
        x,
        window.kernel,
        window.strides,
        window.dilations,
        begin=tuple(fixed[0]),
        end=tuple(fixed[1]),
        ceil=window.ceil,
        column_major=bool(call.attribute("storage_order", 0)),
    )
    return [call.function(indexing.item, made, n) for n in range(2)]


def _max_unpool(call: OperatorCall) -> Result:
    if call.has(2):
        sizes: Any = call.numbers(2)
    else:
        window = read_window(call, tuple(call.attribute("kernel_shape")))
        begin, end = window.fixed_pads() or ((0,) * window.rank,) * 2
        sizes = call.function(
            windows.unpooled_sizes, call.tensor(0), window.kernel, window.strides, begin, end
        )
    return call.function(windows.max_unpool, call.tensor(0), call.tensor(1), sizes)


def _col2im(call: OperatorCall) -> Result:
    kernel = call.fixed(2)
    rank = len(kernel)
    if rank > 2:
        call.refuse(f"it has {rank} spatial dimensions", "PyTorch folds one or two")
    return call.function(
        windows.col2im,
        call.tensor(0),
        call.numbers(1),
        kernel,
        tuple(call.attribute("strides") or (1,) * rank),
        tuple(call.attribute("dilations") or (1,) * rank),
        tuple(call.attribute("pads") or (0,) * (2 * rank)),
    )


def _average_pool(call: OperatorCall) -> Result:
    window, x = _window(call), call.tensor(0)
    pads = _torch_pads(window)
    if pads is not None and set(window.dilations) == {1}:
        make = _AVERAGE[window.rank]
        return call.module(
            make(window.kernel, window.strides, pads, window.ceil, window.counts_pads), x
        )
    begin, end = window.fixed_pads() or (None, None)
    return call.function(
        windows.average_pool,
        x,
        window.kernel,
        window.strides,
        window.dilations,
        begin=begin,
        end=end,
        ceil=window.ceil,
        counts_pads=window.counts_pads,
        upper=window.upper,
    )


def _lp_pool(call: OperatorCall) -> Result:
    window = _window(call)
    if window.ceil:
        call.refuse("LpPool with ceil_mode", "set ceil_mode to 0 and pad more")
    x = padded(call, window, call.tensor(0))
    order = call.attribute("p", 2)
    return call.function(windows.lp_pool, x, order, window.kernel, window.strides, window.dilations)


def _global(modules: dict[int, Any], target: Any, call: OperatorCall) -> Result:
    module = modules.get(call.rank(0) or 0)
    if module is not None:
        return call.module(module(1), call.tensor(0))
    return call.function(target, call.tensor(0))


def _global_lp(call: OperatorCall) -> Result:
    return call.function(windows.global_lp, call.tensor(0), call.attribute("p", 2))


OPERATORS: dict[str, Handler] = {
    "AveragePool": _average_pool,
    "Col2Im": _col2im,
    "GlobalAveragePool": functools.partial(_global, _GLOBAL_AVERAGE, windows.global_average),
    "GlobalLpPool": _global_lp,
    "GlobalMaxPool": functools.partial(_global, _GLOBAL_MAX, windows.global_max),
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
    "MaxUnpool": _max_unpool,
}
