"""Fold BatchNormalization into the linear operator before it.

BN(W x + b) = (s W) x + (s b + t)   with s = scale / sqrt(var + epsilon), t = bias - mean * s
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.edit import Edit
from ...ir.variables import is_standard
from ...ir.view import View
from ..contract import Rewrite, RewritePass, need
from .batchnorm import Array, affine, fold_conv, fold_conv_transpose, fold_gemm


@dataclass(frozen=True)
class FoldBatchnorm(RewritePass):
    """Fold BatchNormalization into the Conv, ConvTranspose, Gemm or MatMul that feeds it.

    The linear operator's result must be read by the BatchNormalization alone, and all parameters
    must be constant; they are folded in float64 and stored in the weight's own type.
    """

    name: ClassVar[str] = "fold-batchnorm"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the one rewrite of this pass."""
        return (_FoldIntoProducer(),)


@dataclass(frozen=True)
class _Site:
    removed: tuple[gs.Node, ...]  # from the BatchNormalization up to the linear operator
    op: str
    inputs: tuple[gs.Tensor, ...]  # before the weight
    attrs: dict[str, Any]
    weight: Array
    bias: Array
    weight_name: str
    bias_name: str


class _FoldIntoProducer(Rewrite[_Site]):
    ops = frozenset({"BatchNormalization"})

    def match(self, node: gs.Node, view: View) -> _Site | None:
        s, t = _affine_of(node, view)
        source = view.producer(node.inputs[0])
        linear = need(source, "its input is a graph input, not the result of a linear operator")
        added: gs.Node | None = None
        if linear.op == "Add":
            added, linear = linear, _matmul_below(linear, view)
        need(
            linear.op in ("Conv", "ConvTranspose", "Gemm", "MatMul") and is_standard(linear),
            f"its input comes from {linear.op}, which is not a linear operator to fold into",
        )
        need(
            view.read_only_by(linear.outputs[0], added or node)
            and (added is None or view.read_only_by(added.outputs[0], node)),
            f"the result of {linear.op} has other readers",
        )
        values = need(view.constant(linear.inputs[1]), f"the weight of {linear.op} is not constant")
        weight, bias, op, attrs = _folded(linear, added, values, s, t, view)
        kind = values.dtype
        stored_weight, stored_bias = _store(weight, kind), _store(bias, kind)
        weight_name = linear.inputs[1].name
        has_bias = len(linear.inputs) > 2 and not linear.inputs[2].is_empty()
        return _Site(
            tuple(n for n in (node, added, linear) if n is not None),
            op,
            (linear.inputs[0],),
            attrs,
            stored_weight,
            stored_bias,
            f"{weight_name}_folded",
            f"{linear.inputs[2].name}_folded" if has_bias else f"{weight_name}_bias",
        )

    def rewrite(self, site: _Site, edit: Edit) -> None:
        linear, result = site.removed[-1], site.removed[0].outputs[0]
        for node in site.removed:
            edit.remove(node)
        weight = edit.constant(site.weight, site.weight_name)
        bias = edit.constant(site.bias, site.bias_name)
        inputs = (*site.inputs, weight, bias)
        edit.node(site.op, inputs, [result], site.attrs, at=linear)


def _affine_of(node: gs.Node, view: View) -> tuple[Array, Array]:
    need(not node.attrs.get("training_mode", 0), "it is in training mode")
    need(view.opset >= 7 or node.attrs.get("is_test", 0) != 0, "it is in training mode")
    need(node.attrs.get("spatial", 1) == 1, "its statistics are per element (spatial=0)")
    used = [t for t in node.outputs[1:] if view.readers(t) or view.is_output(t)]
    need(not used, "its running statistics are read")
    names = ("scale", "bias", "mean", "var")
    scale, bias, mean, var = (
        need(view.constant(tensor), f"its {name} is not constant")
        for name, tensor in zip(names, node.inputs[1:5], strict=True)
    )
    return affine(scale, bias, mean, var, node.attrs.get("epsilon", 1e-5))


def _matmul_below(add: gs.Node, view: View) -> gs.Node:
    """Return the MatMul that `add` adds a constant to: a linear layer as exporters spell it."""
    for position in (0, 1):
        producer = view.producer(add.inputs[position])
        other = add.inputs[1 - position]
        if producer is not None and producer.op == "MatMul" and view.is_constant(other):
            return producer
    return need(None, "its input comes from Add, which is not a linear operator to fold into")


def _folded(
    linear: gs.Node, added: gs.Node | None, weight: Array, s: Array, t: Array, view: View
) -> tuple[Array, Array, str, dict[str, Any]]:
    """Return weight, bias, operator and attributes of the folded node."""
    attrs = dict(linear.attrs)
    if linear.op in ("Conv", "ConvTranspose"):
        group = attrs.get("group", 1)
        channels = len(weight) if linear.op == "Conv" else weight.shape[1] * group
        need(len(s) == channels, f"it has {len(s)} channels and {linear.op} gives {channels}")
        bias = _bias_of(linear, view)
        # PyTorch's exporter spells a missing Conv3d bias as zeros of shape [M, N].
        if bias is not None and not bias.any():
            bias = None
        need(
            bias is None or bias.shape == (channels,),
            f"the bias of {linear.op} has shape {None if bias is None else list(bias.shape)}, not "
            f"[{channels}]",
        )
        if linear.op == "Conv":
            return *fold_conv(weight, bias, s, t), "Conv", attrs
        return *fold_conv_transpose(weight, bias, s, t, group), "ConvTranspose", attrs
    need(view.opset >= 7, "Gemm broadcasts its bias only from opset 7 on")
    # BatchNormalization works on axis 1, which is the operator's last axis for a matrix only.
    if linear.op == "MatMul":
        need(view.rank(linear.inputs[0]) == 2, "MatMul gives no matrix, so its channels differ")
        need(weight.ndim == 2, "the weight of MatMul is no matrix")
        bias = None
        if added is not None:
            other = added.inputs[1] if added.inputs[0] is linear.outputs[0] else added.inputs[0]
            bias = view.constant(other)
        attrs = {}
    else:
        bias = _bias_of(linear, view)
    transposed = bool(attrs.get("transB", 0))
    columns = weight.shape[0 if transposed else 1]
    need(len(s) == columns, f"it has {len(s)} channels and {linear.op} gives {columns}")
    need(
        bias is None or (bias.ndim <= 2 and bias.shape[:-1] in ((), (1,))),
        f"the bias of {linear.op} differs from row to row",
    )
    beta = float(attrs.pop("beta", 1.0))
    folded = fold_gemm(weight, bias, s, t, transposed=transposed, beta=beta)
    return *folded, "Gemm", attrs


def _bias_of(linear: gs.Node, view: View) -> Array | None:
    if len(linear.inputs) < 3 or linear.inputs[2].is_empty():
        return None
    return need(view.constant(linear.inputs[2]), f"the bias of {linear.op} is not constant")


def _store(values: Array, dtype: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):
        stored = values.astype(dtype)
    finite = np.isfinite(stored).all()
    need(bool(finite), "the folded weights are not finite (variance + epsilon near zero?)")
    return stored
