"""Neighbouring affine operators as one Mul and one Add, or as one BatchNormalization.

s2 * (s1 x + t1) + t2 = (s2 s1) x + (s2 t1 + t2)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from ....ir.ops.linear.affine import (
    AFFINE_OPS,
    Affine,
    Array,
    Composition,
    is_chained,
    need_zeros_kept,
    try_affine,
)
from ....ir.ops.linear.layer import channel_vector
from ....ir.ops.linear.storing import need_kept, stored
from ....ir.ops.opsets import has_attribute
from ...engine.rewrite import Rewrite
from ..write_maps import write_maps


@dataclass(frozen=True)
class AffineChain:
    """A chain of affine nodes, and the fewer operators that replace it."""

    chain: tuple[Affine, ...]
    steps: tuple[tuple[str, tuple[Array, ...]], ...]  # operators and their constants
    type: TensorType | None


class MergeAffine(Rewrite[AffineChain]):
    """Merge the chain of affine nodes that begins at a node, where that leaves fewer."""

    ops = AFFINE_OPS

    def match(self, node: gs.Node, view: View) -> AffineChain | None:
        """Return the chain and what replaces it."""
        if not is_chained(node, view):
            return None
        first = try_affine(node, view)
        if first is None:
            return None
        before = try_affine(view.producer(first.source), view)
        if before is not None and view.only_reader(first.source) is node:
            return None  # the chain begins further up
        chain, total = _chain(first, view)
        kind = view.type(chain[-1].result) if len(chain) > 1 else None
        if kind is None:
            return None
        steps = _steps(chain, total, view)
        if steps is None or len(steps) >= len(chain):
            return None
        need_zeros_kept(chain, view)
        total.need_conditioned(kind.dtype)
        total.need_movable(kind.dtype)
        reason = "the merged constants are not finite"
        need_kept(total.scale, kind.dtype, what=reason)
        need_kept(total.shift, kind.dtype, np.abs(total.scale), reason)
        kept = tuple(
            (op, tuple(stored(c, kind.dtype) for c in constants)) for op, *constants in steps
        )
        last = chain[-1].result
        need(kept or not view.is_output(last), "it joins its input to a graph output")
        return AffineChain(tuple(chain), kept, kind)

    def rewrite(self, site: AffineChain, edit: Edit) -> None:
        """Put the new operators in the place of the last of the chain."""
        source = site.chain[0].source
        for affine in reversed(site.chain):
            edit.remove(affine.node)
        write_maps(edit, source, site.steps, site.chain[-1], site.type)


def _chain(first: Affine, view: View) -> tuple[list[Affine], Composition]:
    """Return the chain from `first` on whose constants broadcast to no more than the largest."""
    chain: list[Affine] = []
    total = Composition.of(np.array(0.0))
    largest = 1
    after: Affine | None = first
    while after is not None:
        found = _shaped(after, view)
        if found is None:
            break
        scale, shift, typical = found
        largest = max(largest, scale.size, shift.size)
        try:
            joint = np.broadcast_shapes(total.shift.shape, scale.shape, shift.shape)
        except ValueError:
            break
        if math.prod(joint) > largest:
            break
        total = total.then(scale, shift, typical)
        chain.append(after)
        after = try_affine(view.only_reader(after.result), view)
    return chain, total


def _shaped(affine: Affine, view: View) -> tuple[Array, Array, tuple[Array, Array] | None] | None:
    """Return scale, shift and typical values, shaped to broadcast as the operator does."""
    if not affine.is_batchnorm:
        return affine.scale, affine.shift, None
    rank = view.rank(affine.source)
    if rank is None or has_attribute("BatchNormalization", "spatial", view.opset):
        return None
    column = (-1, *[1] * (rank - 2))
    assert affine.typical is not None
    center, spread = (part.reshape(column) for part in affine.typical)
    return affine.scale.reshape(column), affine.shift.reshape(column), (center, spread)


def _steps(chain: Sequence[Affine], total: Composition, view: View) -> list[tuple[Any, ...]] | None:
    """Return operators and constants that compute `total`; None where the shape is not kept."""
    source = chain[0].source
    normalization = next((affine for affine in chain if affine.is_batchnorm), None)
    if normalization is not None:
        shape, channels = view.shape(source), len(normalization.scale)
        rank = None if shape is None else len(shape)
        scale = channel_vector(total.scale, rank, 1, channels)
        shift = channel_vector(total.shift, rank, 1, channels)
        # A constant before it may have spread the one channel of the source to all of them.
        alike = chain[0] is normalization or (shape is not None and shape[1:2] == (channels,))
        if alike and scale is not None and shift is not None:
            zeros, ones = np.zeros(channels), np.ones(channels)
            return [("BatchNormalization", scale, shift, zeros, ones)]
    shape = total.shift.shape  # that of all constants together
    scales, shifts = bool((total.scale != 1).any()), bool(total.shift.any())
    if shifts:
        return [*([("Mul", total.scale)] if scales else []), ("Add", total.shift)]
    if scales:
        return [("Mul", np.broadcast_to(total.scale, shape))]
    return [] if shape == () or view.same_shape(source, chain[-1].result) else None
