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
            passes.LegalizeOps(),
            passes.AnnotateTIROpPattern(),
            passes.FoldConstant(),
            passes.FuseOps(),
            passes.FuseTIR(),
            passes.DeadCodeElimination(),
        ]
    )(module)
