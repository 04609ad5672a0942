"""The window of a convolution with every attribute spelled out."""

from __future__ import annotations

from typing import Any

import onnx_graphsurgeon as gs

from ...ir.view import View
from ..contract import need


def explicit_window(node: gs.Node, view: View) -> dict[str, Any]:
    """Return `dilations`, `group`, `kernel_shape`, `pads` and `strides` of a Conv, all explicit.

    `auto_pad` is turned into `pads` (ONNX operator Conv, attribute auto_pad): with SAME, the output
    size is ceil(input / stride) and an odd pad goes to the end (SAME_UPPER) or start (SAME_LOWER).
    Declines where a size it needs is not static.
    """
    attrs = node.attrs
    kernel = attrs.get("kernel_shape")
    if kernel is None:
        shape = need(view.shape(node.inputs[1]), "the rank of its weight is unknown")
        kernel = list(shape[2:])
        need(all(isinstance(k, int) for k in kernel), "the kernel size is not static")
    rank = len(kernel)
    strides = list(attrs.get("strides") or [1] * rank)
    dilations = list(attrs.get("dilations") or [1] * rank)
    auto = attrs.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        pads = list(attrs.get("pads") or [0] * 2 * rank)
    elif auto == "VALID":
        pads = [0] * 2 * rank
    else:
        shape = need(view.shape(node.inputs[0]), f"auto_pad={auto} and its input has no known size")
        sizes = [
            need(size if isinstance(size, int) else None, f"auto_pad={auto} on a dynamic size")
            for size in shape[2:]
        ]
        pads = _same_pads(sizes, list(kernel), strides, dilations, upper=auto == "SAME_UPPER")
    return {
        "dilations": dilations,
        "group": attrs.get("group", 1),
        "kernel_shape": list(kernel),
        "pads": pads,
        "strides": strides,
    }


def _same_pads(
    sizes: list[int], kernel: list[int], strides: list[int], dilations: list[int], *, upper: bool
) -> list[int]:
    begins, ends = [], []
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        outputs = -(-size // stride)
        total = max((outputs - 1) * stride + dilation * (k - 1) + 1 - size, 0)
        small, large = total // 2, total - total // 2
        begins.append(small if upper else large)
        ends.append(large if upper else small)
    return begins + ends
