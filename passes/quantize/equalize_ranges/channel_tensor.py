"""A tensor with the cells of its channels: those that have to be scaled alike are one."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ...analysis.channels.cells import Array


@dataclass(frozen=True)
class ChannelTensor:
    """A tensor whose index i along `axis` is of the cell `cells[i]`."""

    tensor: gs.Tensor
    cells: Array
    axis: int
