"""Lift scales and shifts over operators that move elements, into the layer before these.

    s * R(W x + b) + t    =  R((s' W) x + (s' b + t'))     R: Reshape, Transpose, Split, Gather, ...
    s * (R(W x + b) @ k)  =  R((s W) x + s b) @ k          s one number
    s * R(u x + v) + t    =  (s u') R(x) + (s v' + t)      where no layer stands before R

where s' and t' are s and t at the channel that an element comes from. So go the scale of attention,
before or behind the product of queries and keys (Vaswani et al., "Attention Is All You Need", 2017,
section 3.2.1), and a normalization over tokens behind the Reshape of a linear layer, as in LeViT
(Graham et al., ICCV 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError, need
from ....ir.core.variables import is_standard
from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from ....ir.ops.linear.affine import AFFINE_OPS, Affine, Composition, read_affine
from ....ir.ops.linear.kernel import Kernel
from ....ir.ops.linear.layer import Layer, write_layer
from ....ir.ops.linear.storing import need_storable
from ...engine.rewrite import Rewrite, RewritePass
from .join import JoinOverMovement
from .trace import Array, LayerBehind, layer_behind


@dataclass(frozen=True)
class LiftAffine(RewritePass):
    """Lift Mul, Div, Add, Sub, Neg and BatchNormalization over movement into the layer before.

    What moves must be read by nothing else, but for other channels of it, such as the keys and
    values of attention. A lone shift behind a MatMul without a bias would need an Add there. Where
    no layer stands before what moves, maps on both sides of it become one behind it.
    """

    name: ClassVar[str] = "lift-affine"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the rewrites, into a layer and into maps of which no layer is before."""
        return (_LiftIntoLayer(), JoinOverMovement())


@dataclass(frozen=True)
class _LiftedAffine:
    affine: Affine
    producer: gs.Node  # of what `affine` reads
    layer: Layer
    kernel: Kernel
    type: TensorType | None


class _LiftIntoLayer(Rewrite[_LiftedAffine]):
    ops = AFFINE_OPS

    def match(self, node: gs.Node, view: View) -> _LiftedAffine | None:
        affine = read_affine(node, view)
        if affine is None:
            return None
        producer, behind = view.producer(affine.source), _behind(affine, view)
        if producer is None or behind is None:
            return None
        rank = need(view.rank(affine.source), "the rank of its input is unknown")
        wide = max(affine.scale.ndim, affine.shift.ndim) > rank
        need(affine.is_batchnorm or not wide, "its constant has more axes than what it reads")
        layer, dtype = behind.layer, behind.layer.weight.dtype
        scale, shift = _by_channel(affine, behind)
        free = layer.op != "MatMul" or layer.added is not None or layer.rank == 2
        need(
            free or not shift.any() or affine.is_batchnorm,
            "MatMul would need an Add for its bias, which it is already",
        )
        before = layer.kernel()
        total = Composition.of(before.full_bias()).then(scale, shift, None)
        total.need_conditioned(dtype)
        kernel = before.then_affine(scale, shift if shift.any() else None)
        need_storable(kernel, dtype)
        return _LiftedAffine(affine, producer, layer, kernel, view.type(layer.result))

    def rewrite(self, site: _LiftedAffine, edit: Edit) -> None:
        edit.remove(site.affine.node)
        edit.rename_output(site.producer, site.affine.source, site.affine.result)
        write_layer(edit, site.layer, site.kernel, like=site.type)


def _behind(affine: Affine, view: View) -> LayerBehind | None:
    """Return the layer that `affine` can go into: over what moves, or over a product of two."""
    found = layer_behind(affine.source, affine.node, view)
    product = view.producer(affine.source)
    if found is not None or product is None or product.op != "MatMul" or not is_standard(product):
        return found
    alone = affine.scale.size == 1 and not affine.shift.any()
    if not alone or view.only_reader(affine.source) is not affine.node:
        return None
    refusal: DeclinedError | None = None
    for operand in product.inputs:
        try:
            found = layer_behind(operand, product, view)
        except DeclinedError as reason:
            refusal = refusal or reason
            continue
        if found is not None:
            return found
    if refusal is not None:
        raise refusal
    return None


def _by_channel(affine: Affine, behind: LayerBehind) -> tuple[Array, Array]:
    """Return scale and shift [M] by channel of the layer; 1 and 0 for those it does not touch."""
    column = [1] * (behind.channels.ndim - 2) if affine.is_batchnorm else []
    parts = [
        part.reshape(-1, *column) if affine.is_batchnorm else part
        for part in (affine.scale, affine.shift)
    ]
    scale, shift = (
        _spread(part, neutral, behind) for part, neutral in zip(parts, (1.0, 0.0), strict=True)
    )
    return scale, shift


def _spread(part: Array, neutral: float, behind: LayerBehind) -> Array:
    """Return [M] with `part`, which broadcasts against the tensor, at the channels it meets."""
    channels = behind.channels
    try:
        values = np.broadcast_to(part if part.size > 1 else part.reshape(()), channels.shape)
    except ValueError:
        values = None
    found = np.full(behind.layer.outputs, neutral)
    met = need(values, "its constant is not one value per channel of the layer before it")
    found[channels] = met
    need((found[channels] == met).all(), "it maps one channel in several ways")
    return found
