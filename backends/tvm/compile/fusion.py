"""TVM's own operators as loop nests, with what follows an operator in its kernel."""

from __future__ import annotations

from typing import Any


def fused(module: Any, *first: Any) -> Any:
    """Return the Relax `module` so; `first` are passes that run before."""
    import tvm
    from tvm.relax import transform as passes

    return tvm.transform.Sequential(
        [
            passes.DeadCodeElimination(),  # what a converter began and was not taken
            *first,
            passes.LegalizeOps({"relax.take": _take}),
            passes.AnnotateTIROpPattern(),
            passes.FoldConstant(),
            passes.FuseOps(),
            passes.FuseTIR(),
            passes.DeadCodeElimination(),
        ]
    )(module)


def _take(builder: Any, call: Any) -> Any:
    """Return what `call`, one relax.take, computes, as a loop nest.

    What is imported has constant indices that are known to lie within the axis, and TVM's own loop
    nest warns of indices that do not.
    """
    from tvm import te, topi

    axis, mode = call.attrs.axis, call.attrs.mode
    if axis is None or mode != "fast":
        return builder.call_te(topi.take, *call.args, axis, mode=mode)

    def take(data: Any, indices: Any) -> Any:
        first = int(axis) % len(data.shape)
        behind = first + len(indices.shape)
        return te.compute(
            [*data.shape[:first], *indices.shape, *data.shape[first + 1 :]],
            lambda *at: data(*at[:first], indices(*at[first:behind]), *at[behind:]),
            name="T_take",
            tag="injective",
        )

    return builder.call_te(take, *call.args)
