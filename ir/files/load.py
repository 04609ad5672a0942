"""Reading models: a path, bytes or a ModelProto -> one graph, or one clear refusal."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
import onnx_graphsurgeon as gs
from google.protobuf.message import DecodeError

from ..core.errors import LoadError, PlanishError
from ..core.garbage_collection import paused_gc
from ..core.kind import kind_of
from ..core.whole_file import read_whole
from ..graph.freeze import freeze_initializers
from ..graph.signatures import check_signatures
from ..graph.wellformed import check
from ..graph.written_out import require_few_nodes
from ..proto.from_proto import from_proto
from ..proto.left_out import DataBeside
from ..proto.tensor_data import TensorData
from .read import read_apart


def load(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto, *, mutable_initializers: bool = True
) -> gs.Graph:
    """Read an ONNX model into a graph (an `onnx_graphsurgeon.Graph`).

    `source` is a file path, the bytes of such a file, or a `ModelProto`, which is left untouched.
    External data is mapped into memory, so weights over 2 GB are not copied. Nodes are sorted
    topologically.

    `mutable_initializers=False`: weights that are also graph inputs, as old exporters list all of
    them, become constants and leave the inputs, so that passes fold and quantize them. By default
    they stay inputs with a value, which a caller may give anew.

    Raises LoadError where the source is not a readable model, names files outside its folder, or
    holds a graph that is not well-formed (a cycle, a missing or second producer).
    """
    graph = _read(source)
    if not mutable_initializers:
        freeze_initializers(graph)
    return graph


def load_lazily(path: Path) -> gs.Graph:
    """Read the model at `path` as `load` does, and leave large weights in their files.

    They are read when they are asked for, and nobody but who asks holds them. The files must not be
    written to meanwhile; another may take the place of each. Where the system cannot have both, all
    are read at once.
    """
    return _read(path, lazily=hasattr(os, "pread"))


def _read(
    source: str | os.PathLike[str] | bytes | onnx.ModelProto, *, lazily: bool = False
) -> gs.Graph:
    if isinstance(source, onnx.ModelProto):
        return import_model(source, TensorData(None), "the ModelProto")
    if isinstance(source, bytes | bytearray | memoryview):
        where = "the given data"
        return import_model(_parse(bytes(source), where), TensorData(None), where)
    if not isinstance(source, str | os.PathLike):
        raise LoadError(
            f"{kind_of(source)} is given where a model is read; give the path of an ONNX file, its "
            "bytes or a ModelProto"
        )
    path = Path(source)
    where = f"'{path}'"
    if path.is_dir():
        raise LoadError(f"{where} is a folder; name the .onnx file inside it")
    try:
        data, weights = read_apart(path, lazily=lazily)
    except (OSError, ValueError) as error:  # a path with a null byte is a ValueError
        why = getattr(error, "strerror", None) or error
        raise LoadError(f"cannot read {where}: {why}; check the path") from error
    folder = path.resolve().parent
    if not weights:
        return import_model(_parse(data, where), TensorData(folder, lazily=lazily), where)
    try:
        model = _parse(data, where)
    except LoadError:
        _parse(read_whole(path), where)  # says it of the whole file
        raise
    return import_model(model, DataBeside(weights, folder, lazily=lazily), where)


def _parse(data: bytes, where: str) -> onnx.ModelProto:
    if not data:
        raise LoadError(f"{where} is empty; an ONNX model was expected")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise LoadError(
            f"{where} is not an ONNX model: its {len(data)} bytes do not decode as one (text, "
            "another format, or a truncated file); export or download it again"
        ) from error
    return model


def import_model(model: onnx.ModelProto, data: TensorData, where: str) -> gs.Graph:
    """Return the graph of `model`, whose external tensors `data` reads; it is called `where`.

    Raises LoadError, as `load` does.
    """
    for present, what in (
        (model.HasField("graph"), "graph"),
        (bool(model.opset_import), "opset import"),
        (bool(model.graph.output), "graph output"),
    ):
        if not present:
            raise LoadError(
                f"{where} decodes but holds no {what}, so it is not a complete ONNX model; "
                "export or download it again"
            )
    try:
        with paused_gc():
            graph = from_proto(model, data)
            check(graph, sort=True)
            check_signatures(graph)
            require_few_nodes(graph)
    except PlanishError as error:
        raise LoadError(f"{where}: {error}") from error
    except Exception as error:  # a corrupt file can break the reading of any field
        raise LoadError(
            f"{where} is malformed: {type(error).__name__}: {error}; export or download it again"
        ) from error
    return graph
