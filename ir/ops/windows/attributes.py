"""The windows of convolutions and pooling with every attribute spelled out."""

from __future__ import annotations

from typing import Any

import onnx_graphsurgeon as gs

from ...core.decline import need
from ...graph.view import View


def explicit_window(node: gs.Node, view: View) -> dict[str, Any]:
    """Return the attributes of a Conv or ConvTranspose, all explicit and `auto_pad` resolved.

    These are `dilations`, `group`, `kernel_shape`, `pads` and `strides`, for ConvTranspose also
    `output_padding`. Declines where a size it needs is not static, and for a ConvTranspose whose
    pads follow from the size of its result, on which the operator's versions disagree.
    """
    attrs = node.attrs
    kernel = attrs.get("kernel_shape")
    if kernel is None:
        shape = need(view.shape(node.inputs[1]), "the rank of its weight is unknown")
        kernel = list(shape[2:])
        need(all(isinstance(k, int) for k in kernel), "the kernel size is not static")
    window = _strided(node, view, list(kernel))
    window["group"] = attrs.get("group", 1)
    if node.op == "ConvTranspose":
        need(not attrs.get("output_shape"), "its pads follow from output_shape")
        window["output_padding"] = list(attrs.get("output_padding") or [0] * len(kernel))
    return window


def explicit_pool(node: gs.Node, view: View, names: frozenset[str]) -> dict[str, Any]:
    """Return the attributes `names` of a MaxPool or AveragePool, all explicit.

    Declines `auto_pad` where a size it needs is not static, or together with `ceil_mode`.
    """
    attrs = node.attrs
    ceil = attrs.get("ceil_mode", 0)
    auto = attrs.get("auto_pad", "NOTSET")
    need(auto in ("NOTSET", "") or not ceil, f"auto_pad={auto} together with ceil_mode")
    window = _strided(node, view, list(attrs["kernel_shape"]))
    window["ceil_mode"] = ceil
    window["count_include_pad"] = attrs.get("count_include_pad", 0)
    return {name: value for name, value in window.items() if name in names}


def _strided(node: gs.Node, view: View, kernel: list[int]) -> dict[str, Any]:
    """Return `dilations`, `kernel_shape`, `pads` and `strides`.

    `auto_pad` is turned into `pads` (ONNX operator Conv, attribute auto_pad): with SAME, the output
    size is ceil(input / stride) and an odd pad goes to the end (SAME_UPPER) or start (SAME_LOWER).
    """
    attrs = node.attrs
    rank = len(kernel)
    strides = list(attrs.get("strides") or [1] * rank)
    dilations = list(attrs.get("dilations") or [1] * rank)
    auto = attrs.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        pads = list(attrs.get("pads") or [0] * 2 * rank)
    elif auto == "VALID":
        pads = [0] * 2 * rank
    else:
        need(node.op != "ConvTranspose", f"its pads follow from auto_pad={auto}")
        shape = need(view.shape(node.inputs[0]), f"auto_pad={auto} and its input has no known size")
        sizes = [
            need(size if isinstance(size, int) else None, f"auto_pad={auto} on a dynamic size")
            for size in shape[2:]
        ]
        pads = _same_pads(sizes, kernel, strides, dilations, upper=auto == "SAME_UPPER")
    return {"dilations": dilations, "kernel_shape": kernel, "pads": pads, "strides": strides}


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
