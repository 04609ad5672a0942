"""Merge a convolution or Gemm with the activation after it, and the residual Add between them.

    act(W * x + b)        -> ConvRelu, ConvClip, ConvSilu, GemmRelu, ...
    act(W * x + b + z)    -> ConvAddRelu, ...       with act(x) = f(x) or x * f(x)

The result is a local function of the domain `planish` whose body is what it replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ...ir.edit import Edit
from ...ir.functions import ensure_function
from ...ir.variables import FUSED_DOMAIN, is_standard
from ...ir.view import View
from ..contract import Rewrite, RewritePass, need
from .fused_operators import (
    CONV,
    GEMM,
    GEMM_DEFAULTS,
    Activation,
    Linear,
    activation_of,
    fused_function,
)
from .windows import explicit_window


@dataclass(frozen=True)
class FuseConvActivation(RewritePass):
    """Fuse Conv or Gemm with Relu, Clip, LeakyRelu, Sigmoid, Tanh, HardSigmoid, HardSwish or SiLU.

    A residual Add between the two is taken in where both of its operands have the same shape.
    """

    name: ClassVar[str] = "fuse-conv-activation"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the rewrites for plain activations and for x * f(x)."""
        return (_FuseActivation(), _FuseGated())


@dataclass(frozen=True)
class _Site:
    linear: Linear
    activation: Activation
    removed: tuple[gs.Node, ...]  # from the linear operator to the activation's result
    inputs: tuple[gs.Tensor, ...]
    attrs: dict[str, Any]
    residual: bool


class _Fuse(Rewrite[_Site]):
    def rewrite(self, site: _Site, edit: Edit) -> None:
        last = site.removed[-1]
        function = fused_function(site.linear, site.activation, site.residual, edit.graph.opset)
        ensure_function(edit.graph, function)
        for node in site.removed:
            edit.remove(node)
        edit.node(
            function.name,
            site.inputs,
            [last.outputs[0]],
            site.attrs,
            at=last,
            domain=FUSED_DOMAIN,
        )


class _FuseActivation(_Fuse):
    ops = frozenset(["Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish"])

    def match(self, node: gs.Node, view: View) -> _Site | None:
        activation = activation_of(node.op, view.opset)
        return (
            None if activation is None else _site(node.inputs[0], (node,), activation, node, view)
        )


class _FuseGated(_Fuse):
    ops = frozenset({"Mul"})

    def match(self, node: gs.Node, view: View) -> _Site | None:
        for position in (0, 1):
            gate = view.producer(node.inputs[position])
            x = node.inputs[1 - position]
            if gate is None or not is_standard(gate):
                continue
            activation = activation_of(gate.op, view.opset, gated=True)
            if activation is not None and gate.inputs[0] is x:
                need(view.read_only_by(gate.outputs[0], node), "the gate has other readers")
                return _site(x, (gate, node), activation, gate, view)
        return None


def _site(
    x: gs.Tensor,
    tail: tuple[gs.Node, ...],
    activation: Activation,
    node: gs.Node,
    view: View,
) -> _Site | None:
    """Return the site whose linear operator, with or without a residual Add, gives `x`."""
    producer = view.producer(x)
    if producer is None or not is_standard(producer):
        return None
    add = None
    if producer.op == "Add":
        found = _residual(producer, view)
        if found is None:
            return None
        add, (producer, other) = producer, found
    linear = {"Conv": CONV, "Gemm": GEMM}.get(producer.op)
    if linear is None:
        return None
    need(view.read_only_by(x, *tail), f"the value before {node.op} has other readers")
    inputs = [*producer.inputs, *[gs.Variable.empty()] * (3 - len(producer.inputs))]
    if add is not None:
        need(
            view.same_shape(producer.outputs[0], other),
            "the residual is broadcast, or its shape is not known",
        )
        inputs.append(other)
    if activation.bounds:
        bounds = list(node.inputs[1:3])
        inputs += [*bounds, *[gs.Variable.empty()] * (2 - len(bounds))]
    if linear is CONV:
        attrs = explicit_window(producer, view)
    else:
        need(view.opset >= 7, "Gemm broadcasts its bias only from opset 7 on")
        attrs = {**GEMM_DEFAULTS, **producer.attrs}
    for name, default in activation.defaults:
        attrs[f"activation_{name}"] = node.attrs.get(name, default)
    removed = (producer, *([add] if add is not None else []), *tail)
    return _Site(linear, activation, removed, tuple(inputs), attrs, add is not None)


def _residual(add: gs.Node, view: View) -> tuple[gs.Node, gs.Tensor] | None:
    """Return the linear operator that `add` alone reads, and the other operand."""
    for position in (1, 0):
        producer = view.producer(add.inputs[position])
        if (
            producer is not None
            and producer.op in ("Conv", "Gemm")
            and is_standard(producer)
            and view.read_only_by(producer.outputs[0], add)
        ):
            return producer, add.inputs[1 - position]
    return None
