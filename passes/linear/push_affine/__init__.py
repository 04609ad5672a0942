"""Push per-channel affine maps into the linear operators that read them.

    W * (s x + t) + b = (W s) * x + (b + W * t)        * is a convolution, or for Gemm a product

With padding W * t differs along the border: it becomes a constant map, added to the result. Where
that costs more than it saves, the scale alone is taken in:  W * (s x + t) = (W s) * (x + t / s).

    W * Gelu(x) = (W / 2) * (x (1 + erf(x / sqrt(2))))     with `split-gelu`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError, need
from ....ir.core.variables import is_standard
from ....ir.graph.edit import Edit
from ....ir.graph.view import View
from ....ir.ops.linear.affine import AFFINE_OPS, Affine, composed, read_affine, try_affine
from ....ir.ops.linear.layer import read_layer
from ....ir.ops.traits.groups import LAYERS
from ...engine.rewrite import Rewrite, RewritePass
from ..fold_after import site_after
from ..shared_weights import SharedWeights
from .absorb import AbsorbedAffine, map_bytes, plan, write
from .linear_readers import is_read_by_linear, read_linear_readers
from .map_room import MapRoom
from .split_gelu import SplitGelu


@dataclass(frozen=True)
class PushAffine(RewritePass):
    """Push per-channel Mul, Div, Add, Sub, Neg and BatchNormalization into the layers after them.

    Every reader must take the map in: a Conv, ConvTranspose, Gemm or MatMul, also behind pooling,
    Flatten, Reshape or Transpose. A map that the operator before can take in is left to
    fold-affine.

    - `map-limit`: the largest constant, in elements, that may be added for a padded convolution.
    - `map-growth`: by how much such constants, together with others that are no weights, may make
      the model larger, as a part of what its weights take. Narrow networks of large images have
      maps that take more than all weights; there the scale alone is taken in.
    - `split-gelu`: whether the 0.5 of a GELU goes into the layers after it, which is exact. The
      fewest nodes before opset 20; but ONNX Runtime no longer sees the nodes that it replaces by
      one kernel, and takes 5 to 20 % longer. It finds no GELU that a layer before has taken in:
      `exact{split-gelu=true}` comes before that.
    """

    map_limit: int = 1 << 20
    map_growth: float = 0.25
    split_gelu: bool = False

    name: ClassVar[str] = "push-affine"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the rewrite of affine maps and, where it is asked for, that of GELUs."""
        shared = SharedWeights()
        push = _PushIntoReaders(MapRoom(self.map_limit, self.map_growth), shared)
        return (push, SplitGelu(shared)) if self.split_gelu else (push,)


@dataclass(frozen=True)
class _PushIntoReaders(Rewrite[AbsorbedAffine]):
    room: MapRoom
    shared: SharedWeights

    ops = AFFINE_OPS

    def match(self, node: gs.Node, view: View) -> AbsorbedAffine | None:
        result = node.outputs[0]
        if not is_read_by_linear(result, view):
            return None
        last = read_affine(node, view)
        if last is None:
            return None
        found = read_linear_readers(result, view)
        rank, axis, channels = found.rank, found.axis, found.channels
        chain = _chain_up(last, rank, axis, channels, view)
        need(
            not _folds_up(chain, view, self.shared), "the linear operator before it can take it in"
        )
        for each in found.readers:
            self.shared.need_room(each.layer, view)
        total = composed(chain, rank, axis, channels)
        if found.needs_positive:
            need((total.scale > 0).all(), "MaxPool reads it, and a scale is not positive")
        return plan(chain, total, found, self.room, view)

    def rewrite(self, site: AbsorbedAffine, edit: Edit) -> None:
        self.room.take(map_bytes(site))
        write(site, edit)


def _chain_up(last: Affine, rank: int, axis: int, channels: int, view: View) -> list[Affine]:
    """Return the chain that ends at `last`, each node the sole reader of the one before."""
    need(
        _fits(last, rank, axis, channels, view),
        "its constant is not one value per channel of what the layers read",
    )
    chain = [last]
    while True:
        source = chain[-1].source
        before = try_affine(view.producer(source), view)
        if (
            before is None
            or view.only_reader(source) is not chain[-1].node
            or not _fits(before, rank, axis, channels, view)
        ):
            return chain[::-1]
        chain.append(before)


def _fits(affine: Affine, rank: int, axis: int, channels: int, view: View) -> bool:
    """Say whether `affine` maps channel by channel, and does not broadcast one channel to many."""
    if affine.on_channels(rank, axis, channels) is None:
        return False
    if affine.is_batchnorm:
        return True
    shape = view.shape(affine.source)
    # A constant of fewer axes than the result leaves the source all of them.
    keeps_rank = max(affine.scale.ndim, affine.shift.ndim) < rank
    if affine.scale.size == affine.shift.size == 1 and keeps_rank:
        return True
    if shape is None or len(shape) != rank:
        return False
    return shape[axis] == channels or affine.scale.size == affine.shift.size == 1


def _folds_up(chain: Sequence[Affine], view: View, shared: SharedWeights) -> bool:
    """Say whether the linear operator before `chain` can take it in, which costs nothing."""
    linear = view.producer(chain[0].source)
    if linear is None or linear.op not in LAYERS or not is_standard(linear):
        return False
    try:
        site_after(read_layer(linear, view), chain, view, shared)
    except DeclinedError:
        return False
    return True
