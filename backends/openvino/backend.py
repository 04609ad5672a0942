"""The OpenVINO backend.

Graphs are handed over as ONNX without planish's fused operators, of which OpenVINO makes its own.
Pairs of QuantizeLinear and DequantizeLinear become its integer kernels, on the scales that they
have.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ...ir.core.errors import BackendError
from ...ir.core.target import Target
from ...ir.files.save import save
from ...ir.graph.clone import clone
from ...ir.graph.types import Types
from ...ir.ops.shapes.infer import infer_types
from ...passes.opset.convert_opset.adapters import LEAST_TARGET
from ...passes.pipeline.pipeline import Pipeline
from ..contract.backend import Backend
from ..contract.port import ports_line, ports_of
from . import artifact
from .compiled import OpenVinoNetwork
from .fences import fence
from .layers import time_layers
from .meanings import joins_axes, refuse_other_meanings
from .narrowed import feed_limit
from .properties import properties
from .refusals import has_halves, refusal_of, refuse_other_types


class OpenVino(Backend):
    """OpenVINO on the CPU, through its ONNX reader."""

    name: ClassVar[str] = "openvino"
    summary: ClassVar[str] = "OpenVINO on the CPU"
    target_options: ClassVar[tuple[str, ...]] = ("isa", "threads")

    def lower(
        self,
        graph: gs.Graph,
        target: Target,
        threads: int | None,
        *,
        precision: str = "float32",
        **unknown: Any,
    ) -> OpenVinoNetwork:
        """Return `graph` compiled for this CPU.

        `precision`: what floats are computed in, `float32`, `bfloat16` or `float16`; the default is
        not OpenVINO's, which takes bfloat16 where the CPU has it. Raises BackendError where it
        lacks an operator, or would compute a tensor in a narrower type than the graph says.
        """
        self.refuse_other_than_cpu(target)
        self.refuse_options(unknown, ["precision"])
        asked = properties(threads, precision)
        types = infer_types(graph)
        refuse_other_types(graph, types)
        limit = feed_limit(graph, types)
        copy = _of_one_axis(graph, types)
        refuse_other_meanings(copy, infer_types(copy))
        with _read(copy) as model:
            compiled = _compile(copy, model, asked)
        header = artifact.Described(
            inputs=ports_of([t for t in copy.inputs if not isinstance(t, gs.Constant)]),
            outputs=ports_of(copy.outputs),
            version=_version(),
            properties=asked,
            largest=limit.largest,
            leaving=limit.node,
            halves=has_halves(graph, types),
            fixed=tuple(t.name for t in copy.inputs if isinstance(t, gs.Constant)),
        )
        return OpenVinoNetwork(compiled, header, layers=partial(_times, copy, asked))

    def load(self, path: str | Path, target: Target, threads: int | None) -> OpenVinoNetwork:
        """Return the network that `OpenVinoNetwork.save` wrote to `path`."""
        self.refuse_other_than_cpu(target)
        header, blob = _held(path)
        if header.version != _version():
            raise BackendError(
                f"'{path}' was compiled with OpenVINO {header.version} and this is {_version()}; "
                "lower the model again"
            )
        if threads is not None:
            asked = {**header.properties, "INFERENCE_NUM_THREADS": threads}
            header = replace(header, properties=asked)
        try:
            compiled = core().import_model(blob, "CPU", header.properties)
        except RuntimeError as error:
            raise BackendError(
                f"OpenVINO cannot load '{path}': {' '.join(str(error).split())[:300]}; it may be "
                "from another kind of CPU, lower the model again"
            ) from error
        return OpenVinoNetwork(compiled, header, blob=blob)

    def wrote(self, path: str | Path) -> bool:
        """Say whether the file at `path` begins as an artifact of any version does."""
        return artifact.SEAL.is_on(path)

    def describe(self, path: str | Path) -> list[str] | None:
        """Return what the header of an artifact says; nothing of it is run."""
        if not artifact.SEAL.is_on(path):
            return None
        header, _ = _held(path)
        how = ", ".join(f"{key}={value}" for key, value in sorted(header.properties.items()))
        lines = [
            f"compiled by OpenVINO {header.version}, for this kind of CPU",
            ports_line(header.inputs, header.outputs),
            how,
        ]
        return [*lines, *filter(None, [header.verdict])]

    def targets(self) -> list[str]:
        """Return `cpu`, where OpenVINO is installed."""
        return [] if self.lacking() else ["cpu"]

    def lacking(self) -> dict[str, str]:
        """Return why there is no OpenVINO."""
        try:
            import openvino  # noqa: F401
        except ImportError as error:
            text = f"OpenVINO cannot be imported ({error}); pip install 'planish[openvino]'"
            return {"cpu": text}
        return {}


def _held(path: str | Path) -> tuple[artifact.Described, bytes]:
    try:
        return artifact.read(path)
    except artifact.ArtifactError as error:
        raise BackendError(str(error)) from error


def _of_one_axis(graph: gs.Graph, types: Types) -> gs.Graph:
    """Return a copy of `graph` in which each Softmax has one axis, where the opset can be raised.

    Older ones may join several, of which OpenVINO takes the first alone.
    """
    if not joins_axes(graph, types):
        return clone(graph)
    steps = Pipeline.parse(f"convert-opset{{to={LEAST_TARGET}}}")
    return steps.run(graph, verify="off").graph


@functools.cache
def core() -> Any:
    """Return the one OpenVINO of this process.

    Its plugins stay loaded with it: where one is unloaded, a signal that comes later, as by
    Ctrl-C, ends the process.
    """
    import openvino as ov

    return ov.Core()


def _version() -> str:
    import openvino as ov

    return str(ov.get_version())


@contextlib.contextmanager
def _read(graph: gs.Graph) -> Iterator[Any]:
    """Give OpenVINO's model of `graph`; its weights are mapped from a file for that long."""
    with tempfile.TemporaryDirectory(prefix="planish-") as folder:
        path = Path(folder) / "model.onnx"
        save(graph, path, portable=True)
        try:
            model = core().read_model(path)
        except RuntimeError as error:
            raise refusal_of(graph, error) from error
        for op in model.get_ops():
            if op.get_type_name() == "TopK" and op.get_attributes()["sort"] != "none":
                op.set_attribute("stable", True)  # of equal values ONNX takes the first
        fence(model)
        yield model


def _compile(graph: gs.Graph, model: Any, asked: dict[str, Any]) -> Any:
    try:
        return core().compile_model(model, "CPU", asked)
    except RuntimeError as error:
        raise refusal_of(graph, error) from error


def _times(graph: gs.Graph, asked: dict[str, Any], feeds: Any, rounds: int, whole: float) -> Any:
    with _read(graph) as model:
        watched = _compile(graph, model, {**asked, "PERF_COUNT": True})
    return time_layers(watched.create_infer_request(), graph, feeds, rounds, whole)
