"""A pipeline as a pass of onnx_ir."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from ...ir.core.errors import ConversionError, GraphError, LoadError, VerificationError
from ...passes.pipeline.pipeline import Pipeline
from ..hosted import Hosted, hosted
from .convert import to_graph, to_ir
from .tensors import Tensors

_NOT_MET = (ConversionError, GraphError, LoadError)


def as_pass(
    pipeline: str | Pipeline, *, in_place: bool = False, **options: Any
) -> ir.passes.InPlacePass | ir.passes.FunctionalPass:
    """Return `pipeline` as a pass of onnx_ir, for its `Sequential` and `PassManager`.

        result = ir.passes.Sequential(as_pass("exact"))(ir.load("model.onnx"))

    By default it is a `FunctionalPass`, which leaves the model it is given untouched; with
    `in_place` an `InPlacePass`, which puts new contents into it. Weights are not copied: what no
    pass changed is the same tensor object, external and lazy ones too. `modified` says whether the
    model differs. Options: `feeds`, `verify`, `target`, `seed` and `strict` as in `Pipeline.run`,
    and `report`, which is called with the `Result` of every run.

    A model that planish does not read is a `PreconditionError`, with `strict` outputs that differ a
    `PostconditionError`; what else `Pipeline.run` raises goes through. Without `strict`, what
    failed is rolled back, and a `RolledBackWarning` says so.
    """
    run = hosted(pipeline, **options)
    return InPlacePipeline(run) if in_place else FunctionalPipeline(run)


class FunctionalPipeline(ir.passes.FunctionalPass):  # type: ignore[misc]  # untyped
    """A pipeline that returns another model; what `as_pass` returns."""

    def __init__(self, run: Hosted) -> None:
        self._run = run

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Return a new model, and whether it differs from `model`."""
        found = _run(self._run, model)
        return ir.passes.PassResult(model.clone() if found is None else found, found is not None)

    def __repr__(self) -> str:
        return f"as_pass({str(self._run.pipeline)!r})"


class InPlacePipeline(ir.passes.InPlacePass):  # type: ignore[misc]  # untyped
    """A pipeline that changes the model it is given; what `as_pass(in_place=True)` returns."""

    def __init__(self, run: Hosted) -> None:
        self._run = run

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Return `model` with other contents, and whether they differ."""
        found = _run(self._run, model)
        if found is not None:
            model.graph = found.graph
            model.functions.clear()
            model.functions.update(found.functions)
            model.ir_version = found.ir_version
        return ir.passes.PassResult(model, found is not None)

    def __repr__(self) -> str:
        return f"as_pass({str(self._run.pipeline)!r}, in_place=True)"


def _run(run: Hosted, model: ir.Model) -> ir.Model | None:
    """Return what `run` makes of `model`, which is left untouched; None where that is the same."""
    tensors = Tensors()
    try:
        graph = to_graph(model, tensors)
    except _NOT_MET as error:
        raise ir.passes.PreconditionError(str(error)) from error
    try:
        made = run.run(graph)
    except VerificationError as error:
        raise ir.passes.PostconditionError(str(error)) from error
    if made is None:
        return None
    found = to_ir(made, tensors)
    found.graph.name = model.graph.name
    found.meta.update(model.meta)
    return found
