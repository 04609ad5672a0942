"""The kernel of what combines the positions of a window, channel by channel."""

from __future__ import annotations

from typing import Any

from ..graph.spatial import SpatialWindow
from ..kernels.windows import Kind, Windows, windows
from ..spec.layout import BufferSpec
from .blocked import BlockedProgram
from .kernel_result import KernelResult


def emit_windows(
    program: BlockedProgram,
    kind: Kind,
    window: SpatialWindow,
    x: BufferSpec,
    y: KernelResult,
    args: list[Any],
    *,
    counts_pads: bool = False,
) -> None:
    """Emit `kind` over `window` of `x`; `args`: the expression of x, and weights if any.

    `counts_pads`: a mean is over all of the window.
    """
    op = Windows(
        kind=kind,
        x=x,
        y=y.spec,
        kernel=window.kernel,
        strides=window.strides,
        dilations=window.dilations,
        pads=window.pads,
        epilogue=y.epilogue.chain,
        batch=y.batch,
        counts_pads=counts_pads,
    )
    columns = program.settings.columns_of(op)
    y.emit(kind, op, lambda op: windows(op, program.machine, columns), args)
