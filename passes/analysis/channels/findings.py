"""What an analysis of channels finds: sliced constants, layers and shuffles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from .cells import Array

Role = Literal["makes", "bias", "reads", "carries", "scales", "shifts", "follows"]


@dataclass(frozen=True, kw_only=True)
class SlicedConstant:
    """A constant that `node` reads at `position`, whose index i along `axis` is of `cells[i]`.

    Of a weight with several `blocks` (the groups of a convolution) the index counts through them:
    index b * k + j is index j of the k along `axis`, for the weights of block b only.
    """

    node: gs.Node
    position: int
    axis: int
    role: Role
    cells: Array
    blocks: int = 1


@dataclass(frozen=True, kw_only=True)
class ChannelLayer:
    """A linear operator: cells [C] read and [M] made, in `group` groups of as many of either.

    A depthwise layer makes what it reads.
    """

    node: gs.Node
    view: View
    axis: int  # of the channels in its input
    group: int
    read: Array
    made: Array
    depthwise: bool = False


@dataclass(frozen=True, kw_only=True)
class RecurrentLayer:
    """A recurrent layer: cells [C] read and hidden units [H] made, each in so many `gates`."""

    node: gs.Node
    view: View
    gates: int
    read: Array
    made: Array


@dataclass(frozen=True)
class ChannelShuffle:
    """Nodes that together only reorder channels: result channel i is source channel `order[i]`."""

    nodes: tuple[gs.Node, ...]
    source: gs.Tensor
    result: gs.Tensor
    axis: int
    order: Array
