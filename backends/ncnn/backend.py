"""The ncnn backend.

Graphs are converted straight from planish's, one layer at a time; what ncnn has not, or computes
otherwise, is refused by node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ...ir.core.errors import BackendError
from ...ir.core.target import Target
from ..contract.backend import Backend
from ..contract.port import Port, ports_line, ports_of
from . import artifact
from .compiled import NcnnNetwork
from .convert import convert, inputs_of
from .live import live
from .model import text_of, weights_of
from .settings import NcnnSettings


class Ncnn(Backend):
    """ncnn on the CPU, by a converter of planish's own."""

    name: ClassVar[str] = "ncnn"
    summary: ClassVar[str] = "ncnn on the CPU, image by image"
    target_options: ClassVar[tuple[str, ...]] = ("isa", "threads")

    def lower(
        self,
        graph: gs.Graph,
        target: Target,
        threads: int | None,
        *,
        precision: str = "float32",
        **unknown: Any,
    ) -> NcnnNetwork:
        """Return `graph` as ncnn's layers.

        `precision`: `float32`, or `float16` or `bfloat16`, which ncnn by itself takes where the CPU
        has them; with `float16` weights are stored in 16 bits as well. Raises BackendError naming
        the first node that ncnn cannot compute as ONNX says.
        """
        self.refuse_other_than_cpu(target)
        self.refuse_options(unknown, ["precision"])
        settings = NcnnSettings.of(precision, threads)
        model = convert(graph, settings.precision)
        layers = live(model.layers, model.outputs)
        text, outputs = text_of(layers, model.outputs)
        files = artifact.NcnnFiles(text, weights_of(layers, half=precision == "float16"))
        header = artifact.NcnnHeader(
            inputs=ports_of(inputs_of(graph)),
            outputs=_outputs(graph, model.shapes),
            blobs=(model.inputs, outputs),
            shapes=model.shapes,
            precision=settings.precision,
            threads=settings.threads,
            text=len(text.encode()),
            version=_version(),
            remarks=(*_fixed(graph), *model.remarks),
        )
        return NcnnNetwork(header, files)

    def load(self, path: str | Path, target: Target, threads: int | None) -> NcnnNetwork:
        """Return the network that `NcnnNetwork.save` wrote to `path`."""
        self.refuse_other_than_cpu(target)
        header, files = _held(path)
        if threads is not None:
            threads = NcnnSettings.of(header.precision, threads).threads
            header = replace(header, threads=threads)
        return NcnnNetwork(header, files)

    def wrote(self, path: str | Path) -> bool:
        """Say whether the file at `path` begins as an artifact of any version does."""
        return artifact.SEAL.is_on(path)

    def describe(self, path: str | Path) -> list[str] | None:
        """Return what the header of an artifact says; nothing of it is run."""
        if not artifact.SEAL.is_on(path):
            return None
        header, _ = _held(path)
        lines = [
            f"for ncnn, made beside {header.version}",
            ports_line(header.inputs, header.outputs),
            f"precision={header.precision}, threads={header.threads or 'by ncnn'}",
            *header.remarks,
        ]
        return [*lines, *filter(None, [header.verdict])]

    def targets(self) -> list[str]:
        """Return `cpu`, where ncnn is installed."""
        return [] if self.lacking() else ["cpu"]

    def lacking(self) -> dict[str, str]:
        """Return why there is no ncnn."""
        try:
            import ncnn  # noqa: F401
        except ImportError as error:
            return {"cpu": f"ncnn cannot be imported ({error}); pip install 'planish[ncnn]'"}
        return {}


def _held(path: str | Path) -> tuple[artifact.NcnnHeader, artifact.NcnnFiles]:
    try:
        return artifact.read(path)
    except artifact.ArtifactError as error:
        raise BackendError(str(error)) from error


def _version() -> str:
    import ncnn

    return str(ncnn.__version__)


def _fixed(graph: gs.Graph) -> tuple[str, ...]:
    """Return what is to be said of inputs whose values by default have become constants."""
    names = [tensor.name for tensor in graph.inputs if isinstance(tensor, gs.Constant)]
    return (f"values by default are fixed: {', '.join(names)}",) if names else ()


def _outputs(graph: gs.Graph, shapes: Sequence[tuple[int, ...]]) -> tuple[Port, ...]:
    """Return the outputs, of as many images as the first input."""
    images = inputs_of(graph)[0].shape[0]
    return tuple(
        Port(tensor.name, "float32", (images, *shape))
        for tensor, shape in zip(graph.outputs, shapes, strict=True)
    )
