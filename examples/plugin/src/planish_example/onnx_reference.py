"""The reference evaluator of the onnx package: slow, and independent of every runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx.reference import ReferenceEvaluator

import planish

Arrays = dict[str, np.ndarray[Any, Any]]


class OnnxReference(planish.Backend):
    """Runs a graph node by node in numpy, as the ONNX standard defines its operators."""

    name = "onnx-reference"
    summary = "ONNX's reference evaluator"

    def lower(
        self, graph: gs.Graph, target: planish.Target, threads: int | None, **options: Any
    ) -> _Evaluated:
        """Return the graph in the evaluator; it has one target, and no options."""
        self._check(target)
        if options:
            raise planish.BackendError(
                f"backend '{self.name}' has no option '{next(iter(options))}'"
            )
        return _Evaluated(planish.to_model(graph, portable=True))

    def load(self, path: str | Path, target: planish.Target, threads: int | None) -> _Evaluated:
        """Return the model that `save` wrote."""
        self._check(target)
        return _Evaluated(planish.to_model(planish.load(path)))

    def targets(self) -> list[str]:
        """Return the one target."""
        return ["cpu"]

    def _check(self, target: planish.Target) -> None:
        target.known_options(["threads"])
        if target.kind != "cpu":
            raise planish.BackendError(f"backend '{self.name}' has no target '{target}'; give cpu")


class _Evaluated(planish.Compiled):
    def __init__(self, model: onnx.ModelProto) -> None:
        self._model = model
        self._evaluator = ReferenceEvaluator(model)

    def __call__(self, feeds: Mapping[str, np.ndarray[Any, Any]]) -> Arrays:
        """Run once."""
        names = [output.name for output in self._model.graph.output]
        try:
            found = self._evaluator.run(names, dict(feeds))
        except Exception as error:  # the evaluator raises what numpy raises
            raise planish.ExecutionError(f"ONNX's evaluator failed: {error}") from error
        return dict(zip(names, found, strict=True))

    def save(self, path: str | Path) -> None:
        """Write the model; on failure nothing is left behind."""
        planish.save(planish.load(self._model), path)
