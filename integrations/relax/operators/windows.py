"""Convolutions and pooling of Relax."""

from __future__ import annotations

from typing import Any

from ....ir.core.decline import need
from .writer import Write, Writer, ints


def _laid_out(to: Writer, rank: int, weight: str | None = None) -> None:
    """Decline other orders of axes than N C and the window's."""
    letters = {1: "W", 2: "HW", 3: "DHW"}[rank]
    attrs = to.attrs
    layout = str(getattr(attrs, "data_layout", None) or attrs.layout)
    need(layout == f"NC{letters}", f"its layout is {layout}; planish's is NC{letters}")
    out = str(attrs.out_layout or layout)
    need(out == layout, f"its result has another layout, {out}")
    if weight is not None:
        kernel = str(attrs.kernel_layout)
        need(kernel == weight + letters, f"the layout of its weight is {kernel}")


def _convolution(rank: int, *, transposed: bool = False) -> Write:
    def write(to: Writer) -> None:
        attrs = to.attrs
        _laid_out(to, rank, "IO" if transposed else "OI")
        weight = to.constant(1, "its weight")
        out = str(attrs.out_dtype or to.dtype())
        need(out in ("", to.dtype()), f"it reads {to.dtype()} and gives {out}")
        more: dict[str, Any] = {}
        if transposed:
            more["output_padding"] = ints(attrs.output_padding)
        to.node(
            "ConvTranspose" if transposed else "Conv",
            [to.tensor(to.call.args[0]), to.given(weight, weight.dtype)],
            kernel_shape=list(weight.shape[2:]),
            strides=ints(attrs.strides),
            pads=ints(attrs.padding),
            dilations=ints(attrs.dilation),
            group=int(attrs.groups),
            **more,
        )

    return write


def _pool(rank: int, op: str) -> Write:
    def write(to: Writer) -> None:
        attrs = to.attrs
        _laid_out(to, rank)
        kernel, strides, pads = map(ints, (attrs.pool_size, attrs.strides, attrs.padding))
        more: dict[str, Any] = {"dilations": ints(attrs.dilation)}
        if op == "AveragePool":
            need(set(more.pop("dilations")) == {1}, "its window is dilated")
            sizes = to.shape()[2:]
            exact = all(
                isinstance(size, int) and (size + a + b - k) % s == 0
                for size, a, b, k, s in zip(
                    sizes, pads[:rank], pads[rank:], kernel, strides, strict=True
                )
            )
            need(exact or not attrs.ceil_mode, "its last window lies partly outside")
            more["count_include_pad"] = int(attrs.count_include_pad)
        to.node(
            op,
            [to.tensor(to.call.args[0])],
            kernel_shape=kernel,
            strides=strides,
            pads=pads,
            ceil_mode=int(attrs.ceil_mode),
            **more,
        )

    return write


def _adaptive(rank: int) -> Write:
    def write(to: Writer) -> None:
        _laid_out(to, rank)
        x, sizes = to.tensor(to.call.args[0]), to.shape()[2:]
        asked = sizes if to.attrs.output_size is None else ints(to.attrs.output_size)
        if all(size == 1 for size in asked):
            to.node("GlobalAveragePool", [x])
            return
        whole = all(isinstance(a, int) and a % b == 0 for a, b in zip(sizes, asked, strict=True))
        need(whole, "its windows differ in size")
        window = [a // b for a, b in zip(sizes, asked, strict=True)]
        to.node("AveragePool", [x], kernel_shape=window, strides=window)

    return write


WRITERS: dict[str, Write] = {
    **{f"relax.nn.conv{n}d": _convolution(n) for n in (1, 2, 3)},
    **{f"relax.nn.conv{n}d_transpose": _convolution(n, transposed=True) for n in (1, 2, 3)},
    **{f"relax.nn.max_pool{n}d": _pool(n, "MaxPool") for n in (1, 2, 3)},
    **{f"relax.nn.avg_pool{n}d": _pool(n, "AveragePool") for n in (1, 2, 3)},
    **{f"relax.nn.adaptive_avg_pool{n}d": _adaptive(n) for n in (1, 2, 3)},
}
