"""Merge a convolution, fused with others before or not, and the pooling that alone reads it.

    pool(act(W * x + b [+ z]))    -> ConvReluMaxPool, ConvAddReluGlobalAveragePool, ConvMaxPool, ...

The result is a local function of the domain `planish` whose body is what it replaced, flat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ...ir.core.decline import need
from ...ir.core.variables import is_standard
from ...ir.graph.edit import Edit
from ...ir.graph.functions import call_function
from ...ir.graph.parts import is_written_out
from ...ir.graph.view import View
from ...ir.ops.fused.operators import LINEARS, Fused, fused_function, fused_parts, pool_of
from ...ir.ops.linear.operators import CONV_OPS
from ...ir.ops.traits.groups import MEAN_AND_MAX_POOLS
from ...ir.ops.windows.attributes import explicit_pool, explicit_window
from ..engine.rewrite import Rewrite, RewritePass
from .explicit_bias import with_bias

_LINEAR = CONV_OPS


@dataclass(frozen=True)
class FuseConvPool(RewritePass):
    """Fuse Conv or ConvTranspose, with what was fused to it, and the pooling after it.

    The pooling must be the only reader. Runs after `fuse-conv-activation`, whose results it takes
    in.
    """

    name: ClassVar[str] = "fuse-conv-pool"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the one rewrite of this pass."""
        return (_FusePool(),)


@dataclass(frozen=True)
class _PooledConv:
    fused: Fused
    linear: gs.Node
    pool: gs.Node
    inputs: tuple[gs.Tensor, ...]
    attrs: dict[str, Any]


class _FusePool(Rewrite[_PooledConv]):
    ops = MEAN_AND_MAX_POOLS

    def match(self, node: gs.Node, view: View) -> _PooledConv | None:
        pool = pool_of(node.op, view.opset) if is_standard(node) else None
        linear = view.producer(node.inputs[0])
        if pool is None or linear is None:
            return None
        if is_standard(linear) and linear.op in _LINEAR:
            fused = Fused(LINEARS[linear.op])
        else:
            known = fused_parts(linear, view.opset)
            if known is None or known.pool is not None or known.linear.op not in _LINEAR:
                return None
            fused = known
        need(
            view.read_only_by(linear.outputs[0], node),
            f"the value before {node.op} has other readers",
        )
        indices = node.outputs[1:]
        need(
            not any(view.readers(t) or view.is_output(t) for t in indices),
            "the places of the maxima are read",
        )
        inputs = list(linear.inputs)
        attrs = dict(linear.attrs)
        if is_standard(linear):
            inputs += [gs.Variable.empty()] * (3 - len(inputs))
            attrs = explicit_window(linear, view)
        if pool.attributes:
            names = frozenset(name for name, _ in pool.attributes)
            window = explicit_pool(node, view, names)
            attrs |= {f"pool_{name}": value for name, value in window.items()}
        return _PooledConv(replace(fused, pool=pool), linear, node, tuple(inputs), attrs)

    def rewrite(self, site: _PooledConv, edit: Edit) -> None:
        result = site.pool.outputs[0]
        edit.remove(site.pool)
        edit.remove(site.linear)
        restored = self.restores(site)
        inputs = with_bias(edit, site.fused, site.inputs, site.attrs, restored=restored)
        function, of = fused_function(site.fused, edit.graph.opset), (site.linear, site.pool)
        call_function(edit, function, inputs, result, site.attrs, of=of, at=site.pool)

    def restores(self, site: _PooledConv) -> bool:
        return is_written_out(site.linear) and is_written_out(site.pool)
