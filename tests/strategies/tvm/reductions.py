"""Reductions over axes, and what is found along one."""

from __future__ import annotations

import numpy as np

from .draft import Draft, is_float


def reduction(d: Draft) -> None:
    x = d.tensor(lambda v: is_float(v) and v.size > 0)
    if x is None:
        return
    rank = d.values[x].ndim
    op = d.pick("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSumExp", "LogSum")
    if op == "LogSum":
        made = d.add("Abs", [x])
        if not made:
            return
        x = made[0]
    axes = d.rng.sample(range(rank), d.between(0, rank)) if rank else []
    axes = [axis - rank if d.flip(0.3) else axis for axis in axes]
    keep = d.pick(0, 1)
    as_input = d.opset >= 18 or (op == "Sum" and d.opset >= 13)
    exact = op in ("Max", "Min")
    if as_input:
        inputs = [x, d.constant(axes, np.int64)] if axes or d.flip() else [x]
        noop = d.pick(0, 0, 1)
        d.add(f"Reduce{op}", inputs, keepdims=keep, noop_with_empty_axes=noop, exact=exact)
    else:
        d.add(f"Reduce{op}", [x], keepdims=keep, axes=axes or None, exact=exact)


def arg(d: Draft) -> None:
    x = d.tensor(
        lambda v: v.dtype in (np.float32, np.int64) and v.ndim > 0 and v.size > 0, exact=True
    )
    if x is None:
        return
    rank = d.values[x].ndim
    axis = d.between(-rank, rank - 1)
    kind = d.pick("ArgMax", "ArgMin", "TopK", "CumSum")
    if kind == "TopK":
        k = d.between(1, d.values[x].shape[axis])
        largest = d.pick(0, 1)
        d.add(
            "TopK",
            [x, d.constant([k], np.int64)],
            outputs=2,
            axis=axis,
            largest=largest,
            exact=True,
        )
    elif kind == "CumSum":
        flags = {"exclusive": d.pick(0, 1), "reverse": d.pick(0, 1)}
        d.add("CumSum", [x, d.constant(axis, np.int64)], **flags)
    else:
        last = {"select_last_index": d.pick(0, 1)} if d.opset >= 12 else {}
        d.add(kind, [x], axis=axis, keepdims=d.pick(0, 1), exact=True, **last)


def softmax(d: Draft) -> None:
    x = d.tensor(lambda v: is_float(v) and v.ndim > 0 and v.size > 0)
    if x is not None:
        rank = d.values[x].ndim
        axis = d.between(-rank, rank - 1) if d.flip(0.8) else None
        d.add(d.pick("Softmax", "LogSoftmax"), [x], axis=axis)
