"""A chain of affine maps after a linear operator, folded into its weights.

    s * (W x + b) + t = (s W) x + (s b + t)

A result with several readers is no obstacle where all of them are the same map: it is folded once.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.decline import DeclinedError, need
from ...ir.graph.edit import Edit
from ...ir.graph.types import TensorType
from ...ir.graph.view import View
from ...ir.ops.linear.affine import Affine, composed, try_affine
from ...ir.ops.linear.kernel import Kernel
from ...ir.ops.linear.layer import Layer, write_layer
from ...ir.ops.linear.storing import need_storable
from .shared_weights import SharedWeights

_MOST_READERS = 8


@dataclass(frozen=True)
class AffineAfterLayer:
    """A layer, the affine nodes after it in order, twins of the first, and the folded kernel."""

    layer: Layer
    chain: tuple[gs.Node, ...]
    twins: tuple[gs.Node, ...]
    kernel: Kernel
    type: TensorType | None


def site_after(
    layer: Layer, chain: Sequence[Affine], view: View, shared: SharedWeights
) -> AffineAfterLayer:
    """Return how `layer` takes in `chain`, whose first node reads it; or decline."""
    first = chain[0]
    if shared.is_shared(layer, view) and any((affine.scale != 1).any() for affine in chain):
        shared.need_room(layer, view)
    for affine in chain:
        if affine.on_channels(layer.rank, layer.axis, layer.outputs) is None:
            raise DeclinedError(_misfit(affine, layer))
    for affine, after in itertools.pairwise(chain):
        need(
            view.read_only_by(affine.result, after.node),
            f"the result of {affine.node.op} after {layer.op} has other readers",
        )
    twins = _twins(layer, first, view)
    if twins:
        chain = chain[:1]
    place, kernel = (layer.rank, layer.axis, layer.outputs), layer.kernel()
    total = composed(chain, *place)
    biased = total if kernel.bias is None else composed(chain, *place, kernel.bias)
    biased.need_conditioned(layer.weight.dtype)
    kernel = kernel.then_affine(total.scale, total.shift if total.shift.any() else None)
    need_storable(kernel, layer.weight.dtype)
    nodes = tuple(affine.node for affine in chain)
    return AffineAfterLayer(layer, nodes, twins, kernel, view.type(nodes[-1].outputs[0]))


def fold_after(site: AffineAfterLayer, edit: Edit) -> None:
    """Make the change that `site_after` found."""
    results = [site.chain[-1].outputs[0], *(twin.outputs[0] for twin in site.twins)]
    for node in (*reversed(site.chain), *site.twins):
        edit.remove(node)
    pinned = [tensor for tensor in results if id(tensor) in edit.uses.pinned]
    result = pinned[0] if pinned else results[0]
    for tensor in results:
        if tensor is not result:
            edit.replace(tensor, result)
    write_layer(edit, site.layer, site.kernel, result=result, like=site.type)


def _twins(layer: Layer, first: Affine, view: View) -> tuple[gs.Node, ...]:
    """Return the other readers of `layer`, all of which compute what `first` does; or decline."""
    if view.read_only_by(layer.result, first.node):
        return ()
    problem = f"the result of {layer.op} has other readers"
    readers = view.readers(layer.result)
    need(not view.is_output(layer.result) and len(readers) <= _MOST_READERS, problem)
    expected = composed([first], layer.rank, layer.axis, layer.outputs)
    for reader in readers:
        affine = need(try_affine(reader, view), problem)
        need(view.producer(affine.result) is reader, problem)  # not inside a subgraph
        found = need(affine.on_channels(layer.rank, layer.axis, layer.outputs), problem)
        equal = all(map(np.array_equal, (expected.scale, expected.shift), found))
        need(equal, f"{problem}, which scale and shift it otherwise")
    outputs = [reader for reader in readers if view.is_output(reader.outputs[0])]
    need(len(outputs) <= 1, f"the same map of the result of {layer.op} is two graph outputs")
    return tuple(reader for reader in readers if reader is not first.node)


def _misfit(affine: Affine, layer: Layer) -> str:
    if not affine.is_batchnorm:
        return f"its constant is not one value per channel of {layer.op}"
    if layer.is_spatial or layer.rank == 2:
        return f"it has {len(affine.scale)} channels and {layer.op} gives {layer.outputs}"
    return f"{layer.op} gives no matrix, so its channels differ"
