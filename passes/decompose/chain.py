"""Linear operators in a row that take the place of one, with nothing between them.

y = A (B x) + b        only the last adds a bias, so that what the window pads with stays zero

Several such chains may be added up: depthwise convolutions with more than one channel an input are
several times slower on ONNX Runtime than as many with one, and their sum costs it next to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.graph.edit import Edit
from ...ir.ops.build import needs_bias
from ...ir.ops.linear.kernel import Array
from ...ir.ops.linear.layer import Layer
from ...ir.ops.linear.operators import is_transposed, reads_transposed
from ...ir.ops.linear.storing import need_kept, stored
from ...ir.ops.traits.groups import LAYERS

_SUFFIX = re.compile(r"_factor_([a-z]+)(_\d+)?$")


@dataclass(frozen=True)
class Factor:
    """One operator: weight [M, C/group, k...] and attributes of a Conv, or a matrix [M, C].

    `role` goes into the name of its weight, by which it is known again.
    """

    role: str
    weight: Array
    attrs: dict[str, Any]


@dataclass(frozen=True)
class FactorChain:
    """Factors in order, and the bias [M] that is added (None: none).

    Where the role of the first comes again, another branch starts at the layer's input; what the
    branches give is added up.
    """

    factors: tuple[Factor, ...]
    bias: Array | None = None

    @property
    def branches(self) -> list[list[Factor]]:
        """The factors of each branch."""
        found: list[list[Factor]] = []
        for factor in self.factors:
            if factor.role == self.factors[0].role:
                found.append([])
            found[-1].append(factor)
        return found

    def scaled(self, scale: Array, *, has_bias: bool) -> FactorChain:
        """Return the chain whose outputs [M] are `scale` times these; own biases stay."""
        last = self.branches[0][-1].role
        factors = tuple(
            replace(f, weight=(f.weight.swapaxes(0, -1) * scale).swapaxes(0, -1))
            if f.role == last
            else f
            for f in self.factors
        )
        bias = self.bias * scale if has_bias and self.bias is not None else self.bias
        return FactorChain(factors, bias)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(factor.weight.size for factor in self.factors)


def pointwise(role: str, weight: Array, layer: Layer, group: int = 1) -> Factor:
    """Return a factor that reads one position, weight [M, C/group], in the operator of `layer`."""
    if not layer.is_spatial:
        return Factor(role, weight, {})
    rank = layer.weight.ndim - 2
    attrs = {"kernel_shape": [1] * rank} | ({"group": group} if group > 1 else {})
    return Factor(role, weight.reshape(*weight.shape, *[1] * rank), attrs)


def windowed(role: str, weight: Array, layer: Layer, group: int = 1) -> Factor:
    """Return a factor with the window (strides, dilations, pads) of the convolution `layer`."""
    return Factor(role, weight, dict(layer.node.attrs) | {"group": group})


def own_bias(layer: Layer) -> Array | None:
    """Return the bias that `layer` adds, [M] in float64."""
    return None if layer.bias is None else layer.kernel().full_bias()


def need_storable(chain: FactorChain, layer: Layer) -> None:
    """Decline where a weight is not finite in the type of the layer's own."""
    arrays = [factor.weight for factor in chain.factors]
    arrays += [] if chain.bias is None else [chain.bias]
    dtype = layer.weight.dtype
    for values in arrays:
        size = np.abs(values).max(initial=0.0)
        need_kept(values, dtype, size, f"its factors are not finite in {dtype.name}")


def write_chain(edit: Edit, layer: Layer, chain: FactorChain) -> None:
    """Replace `layer` by `chain`, its weights in the type of the layer's own."""
    for node in layer.nodes:
        edit.remove(node)
    result, branches = layer.result, chain.branches
    total: gs.Tensor | None = None
    for place, branch in enumerate(branches):
        is_last = place == len(branches) - 1
        alone = is_last and total is None
        out = result if alone else edit.variable(f"{result.name}_term")
        _write_branch(edit, layer, branch, chain.bias if place == 0 else None, out)
        if total is not None:
            added = result if is_last else edit.variable(f"{result.name}_sum")
            edit.node("Add", [total, out], [added], at=layer.node)
            out = added
        total = out


def _write_branch(
    edit: Edit, layer: Layer, factors: Sequence[Factor], bias: Array | None, result: gs.Tensor
) -> None:
    dtype, weight_name = layer.weight.dtype, layer.node.inputs[1].name
    transposed = is_transposed(layer.node)
    tensor, last = layer.source, len(factors) - 1
    for place, factor in enumerate(factors):
        attrs, weight = dict(factor.attrs), factor.weight
        if layer.op == "Gemm":
            attrs |= {"transB": 1} if transposed else {}
            if place == 0 and reads_transposed(layer.node):
                attrs["transA"] = 1
        if not layer.is_spatial and not transposed:
            weight = weight.T
        values = edit.constant(stored(weight, dtype), f"{weight_name}_factor_{factor.role}")
        inputs = [tensor, values]
        added = bias if place == last else None
        if added is None and needs_bias(layer.op, edit.graph.opset):
            added = np.zeros(len(factor.weight))
        out = result if place == last else edit.variable(f"{result.name}_{factor.role}")
        if added is not None:
            constant = edit.constant(stored(added, dtype), f"{weight_name}_factor_bias")
            if layer.op == "MatMul":
                product = edit.variable(f"{result.name}_product")
                edit.node("MatMul", inputs, [product], attrs, at=layer.node)
                edit.node("Add", [product, constant], [out], at=layer.nodes[0])
                return
            inputs.append(constant)
        edit.node(layer.op, inputs, [out], attrs, at=layer.node)
        tensor = out


def role_of(node: gs.Node) -> str | None:
    """Return the role that `node` has in a chain, by the name of its weight; None for none."""
    if node.op not in LAYERS or len(node.inputs) < 2:
        return None
    found = _SUFFIX.search(node.inputs[1].name)
    return found.group(1) if found and isinstance(node.inputs[1], gs.Constant) else None


def has_role(graph: gs.Graph, roles: Iterable[str]) -> bool:
    """Say whether a node of `graph` has one of `roles`."""
    wanted = frozenset(roles)
    return any(role_of(node) in wanted for node in graph.nodes)
