"""The graph that runtimes compute fastest on integers, by exact rewrites.

Each of them costs time in float or gains none there, so they stand with quantization alone.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ...engine.context import Context
from ...engine.contract import Pass
from ...linear.lower_conv_transpose import LowerConvTranspose
from .align_channels import AlignChannels
from .depth_to_space_channels_last import DepthToSpaceChannelsLast
from .raise_bounds import RaiseBounds
from .split_branches import split_branches

LOWERINGS: tuple[Pass, ...] = (
    LowerConvTranspose(),
    DepthToSpaceChannelsLast(),
    RaiseBounds(),
    AlignChannels(),
)


def lower_for_integers(graph: gs.Graph, context: Context, apart: tuple[str, ...] = ()) -> None:
    """Rewrite `graph` in place; what is declined on the way is of no interest to a user.

    `apart`: layers to take apart, since their branches need grids of their own.
    """
    if apart:
        split_branches(graph, context.quietly(), apart)
    for step in LOWERINGS:
        step.run(graph, context.quietly())
