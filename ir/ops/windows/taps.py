"""Windows of convolutions: which input positions the taps of a kernel read.

    along one axis, output o reads input  o * stride - begin + j * dilation,   j = 0 .. k - 1

Several windows with the same strides are put into one that covers the taps of all, so that their
kernels, padded with zeros, can be added.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...core.decline import need
from ...graph.types import Dim


@dataclass(frozen=True)
class Window:
    """Kernel sizes, strides, dilations and pads (ONNX operator Conv), one entry a spatial axis."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]

    @classmethod
    def of(cls, attrs: dict[str, Any]) -> Window:
        """Read attributes that are all explicit, as `explicit_window` gives them."""
        rank = len(attrs["kernel_shape"])
        pads = tuple(attrs["pads"])
        return cls(
            tuple(attrs["kernel_shape"]),
            tuple(attrs["strides"]),
            tuple(attrs["dilations"]),
            pads[:rank],
            pads[rank:],
        )

    @classmethod
    def point(cls, rank: int) -> Window:
        """Return the window of a 1x1 kernel: every output reads the input at its own position."""
        ones, zeros = (1,) * rank, (0,) * rank
        return cls(ones, ones, ones, zeros, zeros)

    @property
    def attrs(self) -> dict[str, Any]:
        """Return the attributes of a Conv, all but `group`."""
        return {
            "dilations": list(self.dilations),
            "kernel_shape": list(self.kernel),
            "pads": [*self.begins, *self.ends],
            "strides": list(self.strides),
        }

    @property
    def is_padded(self) -> bool:
        """Say whether any output may read beyond the input."""
        return any(self.begins) or any(self.ends)


def cover(windows: Sequence[Window], sizes: Sequence[Dim]) -> Window:
    """Return the smallest window that reads what each of `windows` reads, output for output.

    `sizes` are the spatial sizes of the input. Declines where no window does: the strides or
    dilations differ, the taps do not lie on one grid, or the numbers of outputs may differ.
    """
    strides = windows[0].strides
    need(all(w.strides == strides for w in windows), "the branches have different strides")
    axes = [_cover_axis(windows, axis, size) for axis, size in enumerate(sizes)]
    kernel, dilations, begins, ends = zip(*axes, strict=True)
    return Window(kernel, strides, dilations, begins, ends)


def _cover_axis(windows: Sequence[Window], axis: int, size: Dim) -> tuple[int, int, int, int]:
    """Return kernel size, dilation and the two pads along one axis."""
    spread = {w.dilations[axis] for w in windows if w.kernel[axis] > 1} or {1}
    need(len(spread) == 1, "the branches have different dilations")
    dilation = min(spread)
    first = [-w.begins[axis] for w in windows]
    last = [
        start + dilation * (w.kernel[axis] - 1) for w, start in zip(windows, first, strict=True)
    ]
    low, high = min(first), max(last)
    need(
        all((start - low) % dilation == 0 for start in first),
        "the branches' taps do not lie on one grid",
    )
    # The number of outputs is (size + slack) // stride + 1.
    slacks = [w.ends[axis] - end - 1 for w, end in zip(windows, last, strict=True)]
    stride = windows[0].strides[axis]
    same = len(set(slacks)) == 1 or (
        isinstance(size, int) and len({(size + slack) // stride for slack in slacks}) == 1
    )
    need(same, "the branches' results differ in size, or may for some input")
    # Taking the largest leaves no pad below zero.
    return (high - low) // dilation + 1, dilation, -low, max(slacks) + high + 1


def place(window: Window, within: Window) -> tuple[int, ...]:
    """Return the taps of `within` at which tap 0 of `window` stands, for a `cover` of it."""
    return tuple(
        (wide - narrow) // dilation
        for wide, narrow, dilation in zip(
            within.begins, window.begins, within.dilations, strict=True
        )
    )
