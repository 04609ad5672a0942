"""Optimizers that take an ONNX model and return a better one, each behind one function."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import onnx

import planish

Optimizer = Callable[[onnx.ModelProto], onnx.ModelProto]


def by_planish(
    model: onnx.ModelProto, *, portable: bool = True, text: str = "exact"
) -> onnx.ModelProto:
    """Run the preset `exact`, or the pipeline of `text`."""
    result = planish.Pipeline.parse(text).run(planish.load(model), verify="off")
    return planish.to_model(result.graph, portable=portable)


def by_onnxsim(model: onnx.ModelProto) -> onnx.ModelProto:
    """Run onnxsim with its defaults."""
    import onnxsim

    return onnxsim.simplify(model)[0]


def by_onnxslim(model: onnx.ModelProto) -> onnx.ModelProto:
    """Run onnxslim with its defaults."""
    import onnxslim

    return onnxslim.slim(model)


def by_onnxoptimizer(model: onnx.ModelProto) -> onnx.ModelProto:
    """Run all fusing and eliminating passes of onnxoptimizer."""
    import onnxoptimizer

    return onnxoptimizer.optimize(model, onnxoptimizer.get_fuse_and_elimination_passes())


def by_onnxscript(model: onnx.ModelProto) -> onnx.ModelProto:
    """Run onnxscript's optimizer and its default rewrite rules."""
    from onnxscript import optimizer, rewriter

    return rewriter.rewrite(optimizer.optimize(model))


def by_onnxruntime(model: onnx.ModelProto, level: str = "EXTENDED") -> onnx.ModelProto:
    """Return the graph that ONNX Runtime runs, optimized at one of its levels.

    EXTENDED: before its layout for this machine's vectors; BASIC: what depends on no machine.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "optimized.onnx")
        options.optimized_model_filepath = path
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(path)


PEERS: dict[str, Optimizer] = {
    "onnxsim": by_onnxsim,
    "onnxslim": by_onnxslim,
    "onnxoptimizer": by_onnxoptimizer,
    "onnxscript": by_onnxscript,
    "ONNX Runtime": by_onnxruntime,
}
