"""Fold an explicit Pad into the convolutions and pools that read it.

    Conv_p(Pad_q(x)) = Conv_(p+q)(x)                  where q adds zeros
    AveragePool_p(Pad_q(x)) = AveragePool_(p+q)(x)    where q adds zeros and the mean counts pads
    MaxPool_p(Pad_q(x)) = MaxPool_(p+q)(x)            where q adds v, and no x is less than v
    Pad_p(Pad_q(x)) = Pad_(p+q)(x)                    where both add the same value

A window that reads x at all has its maximum there, so what is no more than any x counts for
nothing, as the -inf that MaxPool itself pads with does: zeros after a Relu, the lowest float after
whatever cannot give -inf.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.decline import need
from ...ir.core.variables import is_standard
from ...ir.graph.edit import Edit
from ...ir.graph.view import View
from ...ir.ops.opsets import has_attribute
from ...ir.ops.parameters import spell
from ...ir.ops.traits import operators_with
from ...ir.ops.traits.groups import MEAN_AND_MAX_POOLS
from ...ir.ops.windows.attributes import WindowAttributes, explicit_window, pool_window
from ...ir.ops.windows.elements import has_elements
from ...ir.ops.windows.pad import Padding, read_padding
from ..analysis.value_range import is_nonnegative, value_range
from ..engine.rewrite import Rewrite, RewritePass

# Of pools with windows; the norm of an LpPool has no pads of its own to add to.
_POOLS = MEAN_AND_MAX_POOLS & operators_with(lambda traits: traits.windowed)
_ABSORBING = _POOLS | {"Conv", "Pad"}


@dataclass(frozen=True)
class FoldPad(RewritePass):
    """Fold an explicit Pad into the Conv, AveragePool, MaxPool or Pad that reads it.

    All readers must take it in: otherwise the Pad stays, and its copies would only add work.
    """

    name: ClassVar[str] = "fold-pad"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the one rewrite of this pass."""
        return (_FoldPad(),)


@dataclass(frozen=True)
class _PadReader:
    node: gs.Node
    attrs: dict[str, Any]
    pads: tuple[int, ...] | None = None  # of a Pad


@dataclass(frozen=True)
class _FoldablePad:
    padding: Padding
    readers: tuple[_PadReader, ...]


class _FoldPad(Rewrite[_FoldablePad]):
    ops = frozenset({"Pad"})

    def match(self, node: gs.Node, view: View) -> _FoldablePad | None:
        padded = node.outputs[0]
        readers = view.readers(padded)
        if not any(reader.op in _ABSORBING and is_standard(reader) for reader in readers):
            return None
        need(not view.is_output(padded), "its result is a graph output")
        for reader in readers:
            need(
                reader.op in _ABSORBING and is_standard(reader),
                f"its result is also read by {reader.op}",
            )
            own = view.producer(reader.outputs[0]) is reader
            need(own, "its result is also read inside a subgraph")
            others = any(tensor is padded for tensor in reader.inputs[1:])
            need(not others, f"its result is an operand of {reader.op} other than the first")
        padding = read_padding(node, view)
        need(not padding.crops, "a pad is negative, so it takes elements away")
        negative = padding.value == 0 and bool(np.signbit(padding.value))
        need(not (view.signed_zeros and negative), "it pads with -0.0, and windows with 0.0")
        return _FoldablePad(padding, tuple(_absorbed(padding, reader, view) for reader in readers))

    def rewrite(self, site: _FoldablePad, edit: Edit) -> None:
        pad = site.padding.node
        edit.remove(pad)
        for reader in site.readers:
            node, x = reader.node, pad.inputs[0]
            edit.remove(node)
            if reader.pads is None:
                inputs = [x, *node.inputs[1:]]
                edit.node(node.op, inputs, node.outputs, reader.attrs, at=node)
            else:
                attrs, constants = spell("Pad", edit.graph.opset, {"pads": reader.pads})
                pads = [edit.constant(v, f"{pad.name or 'Pad'}_pads") for v in constants.values()]
                inputs = [x, *pads, *node.inputs[2:3]]  # the value that it pads with stays
                edit.node("Pad", inputs, node.outputs, {**reader.attrs, **attrs}, at=node)


def _absorbed(padding: Padding, reader: gs.Node, view: View) -> _PadReader:
    if reader.op == "Pad":
        return _merged(padding, reader, view)
    need(padding.is_spatial, "it pads batch or channels")
    window = explicit_window(reader, view)
    need(len(padding.spatial) == len(window["pads"]), "its pads do not fit the rank of the window")
    pads = [own + more for own, more in zip(window["pads"], padding.spatial, strict=True)]
    if reader.op == "Conv":
        need(padding.value == 0, f"it pads with {padding.value:g}, and Conv with 0")
    else:
        _need_pool(padding, reader, window, pads, view)
    attrs = {**reader.attrs, "pads": pads}
    attrs.pop("auto_pad", None)
    if reader.op == "AveragePool":
        attrs["count_include_pad"] = 1
    return _PadReader(reader, attrs)


def _need_pool(
    padding: Padding, reader: gs.Node, window: dict[str, Any], pads: list[int], view: View
) -> None:
    # With it, the last window may lie in the pads, where definitions of both operators differ.
    pool = pool_window(reader)
    need(not pool.ceil, f"{reader.op} rounds its size up (ceil_mode)")
    kernel = window["kernel_shape"]
    fits = all(pad < k for pad, k in zip(pads, [*kernel, *kernel], strict=True))
    need(fits, f"a window of {reader.op} would read nothing but padding")
    x = padding.node.inputs[0]
    refuses = has_elements(x, view) or _refuses_nothing(pool, pads, padding.spatial)
    need(refuses, f"a window of {reader.op} may read nothing but padding")
    if reader.op == "AveragePool":
        need(padding.value == 0, f"it pads with {padding.value:g}, and AveragePool with 0")
        counts = has_attribute("AveragePool", "count_include_pad", view.opset)
        need(counts, "AveragePool counts no padding before opset 7")
        need(pool.counts_pads or not any(window["pads"]), "AveragePool leaves its own padding out")
        return
    need(all(d == 1 for d in window["dilations"]), "MaxPool is dilated and may skip the input")
    indices = reader.outputs[1:]
    need(
        not any(view.readers(t) or view.is_output(t) for t in indices),
        "the indices of MaxPool count the padding",
    )
    least = "negative" if padding.value == 0 else "less"
    need(
        padding.value <= _low(padding.node.inputs[0], view),
        f"it pads MaxPool with {padding.value:g} and its input may be {least}",
    )


def _refuses_nothing(pool: WindowAttributes, pads: list[int], added: Sequence[int]) -> bool:
    """Say whether an input without positions gives no result before either.

    A pool of nothing is refused, however much it pads; one of pads `added` before may have windows.
    """
    rank = pool.rank
    begins, ends = tuple(pads[:rank]), tuple(pads[rank:])
    counts = replace(pool, begins=begins, ends=ends, auto_pad="NOTSET").outputs((0,) * rank)
    grows = map(any, zip(added[:rank], added[rank:], strict=True))
    return all(count is None or not more for count, more in zip(counts, grows, strict=True))


def _low(x: gs.Tensor, view: View) -> float:
    """Return a bound that no element of `x` is below, as far as its producers show."""
    return 0.0 if is_nonnegative(x, view) else value_range(x, view)[0]


def _merged(padding: Padding, reader: gs.Node, view: View) -> _PadReader:
    outer = read_padding(reader, view)
    need(outer.value == padding.value, "the Pad after it pads with another value")
    need(not outer.crops, "the Pad after it takes elements away")
    begins = tuple(a + b for a, b in zip(padding.begins, outer.begins, strict=True))
    ends = tuple(a + b for a, b in zip(padding.ends, outer.ends, strict=True))
    return _PadReader(reader, dict(reader.attrs), (*begins, *ends))
