"""The windows of convolutions and pooling, read in every spelling of their attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import onnx_graphsurgeon as gs

from ...core.decline import need
from ...graph.types import Dim, Shape
from ...graph.view import View
from ..traits.groups import POOLS
from .sizes import (
    Larger,
    outputs_of,
    pool_same_pads,
    reach_of,
    same_pads,
    transposed_outputs,
    transposed_pads,
)
from .taps import Window

Sizes = tuple[int, ...]
AutoPad = Literal["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]


@dataclass(frozen=True, kw_only=True)
class WindowAttributes:
    """What a Conv, ConvTranspose or pooling says of its window, one entry a spatial axis.

    `begins` and `ends` are the pads as written, zeros where `auto_pad` is not NOTSET: `pads` gives
    those that hold. `output_shape` are the sizes that a ConvTranspose asks for, None without.
    """

    kernel: Sizes
    strides: Sizes
    dilations: Sizes
    begins: Sizes
    ends: Sizes
    auto_pad: AutoPad
    ceil: bool
    counts_pads: bool  # count_include_pad
    transposed: bool
    pools: bool
    output_padding: Sizes
    output_shape: Sizes | None

    @property
    def rank(self) -> int:
        """How many spatial axes there are."""
        return len(self.kernel)

    @property
    def is_same(self) -> bool:
        """Say whether the number of outputs follows from size and stride alone."""
        return self.auto_pad in ("SAME_UPPER", "SAME_LOWER")

    @property
    def is_automatic(self) -> bool:
        """Say whether the pads follow from sizes."""
        return self.is_same or self.output_shape is not None

    @property
    def upper(self) -> bool:
        """Say whether the larger half of an odd total of pads goes to the end."""
        return self.auto_pad == "SAME_UPPER"

    @property
    def is_padded(self) -> bool:
        """Say whether a window may read pads, for some size of the input."""
        if self.is_automatic:
            return self.output_shape is not None or any(size > 1 for size in self.kernel)
        return any(self.begins) or any(self.ends)

    @property
    def is_pointwise(self) -> bool:
        """Say whether every output reads one position, its own."""
        return not self.is_padded and all(size == 1 for size in (*self.kernel, *self.strides))

    @property
    def reaches(self) -> Sizes:
        """How many positions the kernel spans."""
        return tuple(reach_of(k, d) for k, d in zip(self.kernel, self.dilations, strict=True))

    @property
    def skips(self) -> bool:
        """Say whether a stride is so long that runtimes differ in pads that are less than none."""
        return any(s - r > 2 for s, r in zip(self.strides, self.reaches, strict=True))

    def pads(
        self, sizes: Sequence[Any], larger: Larger = max
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return the pads at the beginnings and at the ends for an input of these spatial `sizes`.

        `larger` is the maximum of two sizes, where they are symbolic.
        """
        if not self.is_automatic:
            return self.begins, self.ends
        found = [self._automatic(axis, size, larger) for axis, size in enumerate(sizes)]
        return tuple(begin for begin, _ in found), tuple(end for _, end in found)

    def outputs(self, sizes: Sequence[Dim]) -> tuple[Dim, ...]:
        """Return the spatial sizes of the result for an input of `sizes`.

        As ONNX Runtime counts them; None where the size is not known, or the window does not fit.
        """
        return tuple(self._outputs(axis, size) for axis, size in enumerate(sizes))

    def _outputs(self, axis: int, size: Dim) -> int | None:
        if self.transposed and self.output_shape is not None:
            return self.output_shape[axis]
        if not isinstance(size, int):
            return None
        reach, stride = self.reaches[axis], self.strides[axis]
        begin, end = self.begins[axis], self.ends[axis]
        if self.is_automatic:
            begin, end = self._automatic(axis, size, max)
        if self.transposed:
            extra = self.output_padding[axis]
            count = transposed_outputs(size, reach, stride, begin, end, extra=extra)
        else:
            count = outputs_of(size, reach, stride, begin, end, ceil=self.ceil)
            room = size + begin + end - reach
            if self.pools and room < 0 and not self.ceil:
                count = 1 - -room // stride  # towards zero, as C++ divides
        return None if count < 0 else int(count)

    @property
    def least(self) -> Sizes:
        """The fewest positions on each axis for which a result has one, read inside the pads.

        Runtimes refuse less, except a pooling of ONNX Runtime whose window reaches beyond its pads
        by less than a stride.
        """
        return tuple(self._least(axis) for axis in range(self.rank))

    def fits(self, sizes: Sequence[Dim]) -> bool:
        """Say whether a result of an input of these `sizes` has positions; True where unknown."""
        pairs = zip(sizes, self.least, strict=True)
        return all(not isinstance(size, int) or size >= least for size, least in pairs)

    def _least(self, axis: int) -> int:
        if self.is_automatic:
            return 1
        room = self.reaches[axis] - self.begins[axis] - self.ends[axis]
        if self.transposed:
            return max(1, 1 - (room + self.output_padding[axis] - 1) // self.strides[axis])
        return max(1, room)

    def fixed_pads(self) -> tuple[Sizes, Sizes] | None:
        """Return the pads where they are the same for every size of the input, else None."""
        if not self.is_automatic or (self.is_same and not self.transposed and self._steps_by_one()):
            return self.pads((1,) * self.rank)
        return None

    def _steps_by_one(self) -> bool:
        return all(stride == 1 for stride in self.strides)

    def _automatic(self, axis: int, size: Any, larger: Larger) -> tuple[Any, Any]:
        reach, stride = self.reaches[axis], self.strides[axis]
        if self.pools:
            kernel = self.kernel[axis]
            return pool_same_pads(size, kernel, stride, upper=self.upper, larger=larger)
        if not self.transposed:
            return same_pads(size, reach, stride, upper=self.upper, larger=larger)
        return transposed_pads(
            size,
            reach,
            stride,
            extra=self.output_padding[axis],
            wanted=None if self.output_shape is None else self.output_shape[axis],
            upper=self.upper,
            larger=larger,
        )


def window_attributes(op: str, attrs: Mapping[str, Any], kernel: Sequence[int]) -> WindowAttributes:
    """Read the attributes of operator `op` with a kernel of the spatial sizes `kernel`.

    An empty `auto_pad` is NOTSET. Pads count for NOTSET alone, and not beside an `output_shape`.
    """
    rank = len(kernel)
    auto = _auto_pad(attrs)
    transposed = op == "ConvTranspose"
    output_shape = _ints(attrs, "output_shape") if transposed else None
    zeros = (0,) * rank
    pads = (_ints(attrs, "pads") if auto == "NOTSET" and output_shape is None else None) or (
        zeros + zeros
    )
    return WindowAttributes(
        kernel=tuple(int(size) for size in kernel),
        strides=_ints(attrs, "strides") or (1,) * rank,
        dilations=_ints(attrs, "dilations") or (1,) * rank,
        begins=pads[:rank],
        ends=pads[rank:],
        auto_pad=auto,
        ceil=bool(attrs.get("ceil_mode", 0)),
        counts_pads=bool(attrs.get("count_include_pad", 0)),
        transposed=transposed,
        pools=op in POOLS,
        output_padding=_ints(attrs, "output_padding") or zeros,
        output_shape=output_shape,
    )


def read_window(node: gs.Node, view: View) -> WindowAttributes:
    """Read the window of a Conv, ConvTranspose or pooling.

    Where sizes are known and `auto_pad` pads nothing at these, it says so: what is written out
    later, all explicit, must be read as before. Declines where the kernel is given by a weight of
    unknown size.
    """
    kernel = _ints(node.attrs, "kernel_shape")
    if kernel is None:
        shape = need(view.shape(node.inputs[1]), "the rank of its weight is unknown")
        kernel = tuple(size for size in shape[2:] if isinstance(size, int))
        need(len(kernel) == len(shape) - 2, "the kernel size is not static")
    return _at(view.shape(node.inputs[0]), window_attributes(node.op, node.attrs, kernel))


def _at(shape: Shape | None, window: WindowAttributes) -> WindowAttributes:
    """Return `window` without automatic pads where these are none for an input of `shape`."""
    if not window.is_same or window.transposed or shape is None or len(shape) != window.rank + 2:
        return window
    sizes = [size for size in shape[2:] if isinstance(size, int)]
    padded = len(sizes) < window.rank or any(map(any, window.pads(sizes)))
    return window if padded or window.skips else replace(window, auto_pad="NOTSET")


def pool_window(node: gs.Node) -> WindowAttributes:
    """Read the window of a pooling operator that has one (not a global one)."""
    return window_attributes(node.op, node.attrs, node.attrs["kernel_shape"])


def averages_pads(node: gs.Node, view: View) -> bool:
    """Say whether `node` is an AveragePool whose means may count zeros beside its input."""
    if node.op != "AveragePool":
        return False
    window = read_window(node, view)
    return window.counts_pads and (window.is_padded or window.ceil)


def explicit_window(node: gs.Node, view: View) -> dict[str, Any]:
    """Return the attributes of a Conv or ConvTranspose, all explicit and `auto_pad` resolved.

    These are `dilations`, `group`, `kernel_shape`, `pads` and `strides`, for ConvTranspose also
    `output_padding`. Declines where a size it needs is not static, and for a ConvTranspose whose
    pads follow from the size of its result, on which the operator's versions disagree.
    """
    window = read_window(node, view)
    found = _explicit(window, node, view)
    found["group"] = node.attrs.get("group", 1)
    if window.transposed:
        found["output_padding"] = list(window.output_padding)
    return found


def explicit_pool(node: gs.Node, view: View, names: frozenset[str]) -> dict[str, Any]:
    """Return the attributes `names` of a MaxPool or AveragePool, all explicit.

    Declines `auto_pad` where a size it needs is not static, or together with `ceil_mode`.
    """
    window = pool_window(node)
    auto = window.auto_pad
    need(auto == "NOTSET" or not window.ceil, f"auto_pad={auto} together with ceil_mode")
    found = _explicit(window, node, view)
    found["ceil_mode"] = int(window.ceil)
    found["count_include_pad"] = int(window.counts_pads)
    return {name: value for name, value in found.items() if name in names}


def _explicit(window: WindowAttributes, node: gs.Node, view: View) -> dict[str, Any]:
    auto = window.auto_pad
    sizes: list[int] = []
    if window.is_automatic:
        need(window.output_shape is None, "its pads follow from output_shape")
        need(not window.transposed, f"its pads follow from auto_pad={auto}")
        shape = need(view.shape(node.inputs[0]), f"auto_pad={auto} and its input has no known size")
        sizes = [size for size in shape[2:] if isinstance(size, int)]
        need(len(sizes) == len(shape) - 2, f"auto_pad={auto} on a dynamic size")
    begins, ends = window.pads(sizes)
    late = window.is_same and window.skips
    need(not late and min((*begins, *ends), default=0) >= 0, f"auto_pad={auto} and a long stride")
    return Window(window.kernel, window.strides, window.dilations, begins, ends).attrs


def _auto_pad(attrs: Mapping[str, Any]) -> AutoPad:
    found = attrs.get("auto_pad", "NOTSET")
    text = found.decode() if isinstance(found, bytes) else found
    return cast("AutoPad", text or "NOTSET")


def _ints(attrs: Mapping[str, Any], name: str) -> Sizes | None:
    """Return a list of integers; None where it is absent or empty."""
    found = attrs.get(name)
    return tuple(int(value) for value in found) if isinstance(found, list | tuple) else None
