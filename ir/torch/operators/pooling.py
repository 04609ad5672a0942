"""Poolings."""

from __future__ import annotations

import functools
from typing import Any

from torch import nn

from ..call import Call, Handler, Result
from ..functions import windows
from .windows import Window, read_window

_MAX = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_AVERAGE = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}
_GLOBAL_AVERAGE = {3: nn.AdaptiveAvgPool1d, 4: nn.AdaptiveAvgPool2d, 5: nn.AdaptiveAvgPool3d}
_GLOBAL_MAX = {3: nn.AdaptiveMaxPool1d, 4: nn.AdaptiveMaxPool2d, 5: nn.AdaptiveMaxPool3d}


def _window(call: Call) -> Window:
    window = read_window(call, tuple(call.attribute("kernel_shape")))
    if not 1 <= window.rank <= 3:
        call.refuse(f"it has {window.rank} spatial dimensions", "PyTorch pools one to three")
    return window


def _fits_torch(window: Window) -> bool:
    """Say whether torch takes the pads: the same at both ends, at most half a kernel."""
    return window.is_symmetric and all(
        0 <= p <= k // 2 for p, k in zip(window.begin or (), window.kernel, strict=True)
    )


def _max_pool(call: Call) -> Result:
    window, ceil = _window(call), bool(call.attribute("ceil_mode", 0))
    x = call.tensor(0)
    if _fits_torch(window):
        return call.module(
            _MAX[window.rank](
                window.kernel,
                window.strides,
                window.begin,
                window.dilations,
                ceil_mode=ceil,
            ),
            x,
        )
    if ceil and window.end is not None and any(window.end):
        call.refuse(
            "ceil_mode with pads that differ at the ends", "set ceil_mode to 0 and pad more"
        )
    x = window.padded(call, x, -float("inf"))
    return call.function(windows.max_pool, x, window.kernel, window.strides, window.dilations, ceil)


def _average_pool(call: Call) -> Result:
    window, ceil = _window(call), bool(call.attribute("ceil_mode", 0))
    counts_pads = bool(call.attribute("count_include_pad", 0))
    if _fits_torch(window) and set(window.dilations) == {1}:
        return call.module(
            _AVERAGE[window.rank](window.kernel, window.strides, window.begin, ceil, counts_pads),
            call.tensor(0),
        )
    return call.function(
        windows.average_pool,
        call.tensor(0),
        window.kernel,
        window.strides,
        window.dilations,
        window.begin,
        window.end,
        ceil,
        counts_pads,
        window.upper,
    )


def _lp_pool(call: Call) -> Result:
    window = _window(call)
    if call.attribute("ceil_mode", 0):
        call.refuse("LpPool with ceil_mode", "set ceil_mode to 0 and pad more")
    x = window.padded(call, call.tensor(0))
    order = call.attribute("p", 2)
    return call.function(windows.lp_pool, x, order, window.kernel, window.strides, window.dilations)


def _global(modules: dict[int, Any], target: Any, call: Call) -> Result:
    module = modules.get(call.rank(0) or 0)
    if module is not None:
        return call.module(module(1), call.tensor(0))
    return call.function(target, call.tensor(0))


def _global_lp(call: Call) -> Result:
    return call.function(windows.global_lp, call.tensor(0), call.attribute("p", 2))


OPERATORS: dict[str, Handler] = {
    "AveragePool": _average_pool,
    "GlobalAveragePool": functools.partial(_global, _GLOBAL_AVERAGE, windows.global_average),
    "GlobalLpPool": _global_lp,
    "GlobalMaxPool": functools.partial(_global, _GLOBAL_MAX, windows.global_max),
    "LpPool": _lp_pool,
    "MaxPool": _max_pool,
}
