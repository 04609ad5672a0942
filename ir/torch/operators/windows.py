"""Attributes of operators that slide a window: Conv, ConvTranspose and the poolings."""

from __future__ import annotations

from dataclasses import dataclass

from torch import fx

from ..call import Call
from ..functions import windows


@dataclass(frozen=True)
class Window:
    """A window over the spatial axes; `begin` and `end` are pads, None where sizes decide them."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begin: tuple[int, ...] | None
    end: tuple[int, ...] | None
    upper: bool

    @property
    def rank(self) -> int:
        """How many spatial axes there are."""
        return len(self.kernel)

    @property
    def is_symmetric(self) -> bool:
        """Say whether the pads are known and the same at both ends."""
        return self.begin is not None and self.begin == self.end

    def padded(self, call: Call, x: fx.Node, value: float = 0.0) -> fx.Node:
        """Return `x` padded explicitly."""
        if self.begin is None or self.end is None:
            return call.function(
                windows.pad_same, x, self.kernel, self.strides, self.dilations, self.upper, value
            )
        return call.function(windows.pad, x, self.begin, self.end, value)


def read_window(call: Call, kernel: tuple[int, ...]) -> Window:
    """Return the window of a node whose kernel has the spatial shape `kernel`."""
    rank = len(kernel)
    ones, zeros = (1,) * rank, (0,) * rank
    automatic = call.attribute("auto_pad", "NOTSET")
    automatic = automatic.decode() if isinstance(automatic, bytes) else automatic
    pads = tuple(call.attribute("pads") or (0,) * 2 * rank)
    begin: tuple[int, ...] | None = pads[:rank]
    end: tuple[int, ...] | None = pads[rank:]
    strides = tuple(call.attribute("strides") or ones)
    dilations = tuple(call.attribute("dilations") or ones)
    if automatic == "VALID":
        begin = end = zeros
    elif automatic in ("SAME_UPPER", "SAME_LOWER"):
        begin = end = None
        if strides == ones:
            total = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
            less = tuple(t // 2 for t in total)
            more = tuple(t - t // 2 for t in total)
            begin, end = (less, more) if automatic == "SAME_UPPER" else (more, less)
    return Window(kernel, strides, dilations, begin, end, automatic == "SAME_UPPER")
