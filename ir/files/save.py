"""Writing models: whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import onnx
import onnx_graphsurgeon as gs

from ..core.atomic import replacing, written_to
from ..core.errors import SaveError
from ..core.kind import kind_of
from ..core.variables import dense_values
from ..graph.inline import inline_fused
from ..proto.apart import LARGE, put_together
from ..proto.left_out import can_leave_out
from ..proto.to_proto import to_proto
from ..proto.write_values import PROTOBUF_LIMIT, stored_bytes
from .data_file import DataFile, Writer
from .given import Model, as_graph
from .unchanged import require_unchanged

_INLINE = 1024


def to_model(graph: Model, *, portable: bool = False) -> onnx.ModelProto:
    """Return `graph` as a ModelProto with its weights; `portable` as in `save`.

    Raises SaveError where the weights exceed the 2 GB a proto may have.
    """
    graph = as_graph(graph)
    _require_small(graph)
    return to_proto(inline_fused(graph) if portable else graph, keep_version=True)[0]


def save(
    graph: Model,
    path: str | os.PathLike[str],
    *,
    portable: bool = False,
    external: bool | None = None,
) -> None:
    """Write `graph` to `path` atomically: a temporary file, then a rename.

    A symbolic link is followed: the file that it names is replaced, with its weights beside it.
    `portable=True` inlines the fused operators of the `planish` domain, for runtimes that read no
    local functions. Weights go into `<path>.data` beside the model where they would exceed 2 GB
    (`external=None`), always (True) or never (False). Where other weights lie there, which the
    model that is replaced still reads, the name has a digest in it: whenever the process ends, the
    model at `path` is the old one with its weights, or the new one with its own. The same graph
    gives the same bytes. Raises SaveError, leaving nothing behind and an existing file untouched.
    """
    if not isinstance(path, str | os.PathLike):
        raise SaveError(f"the path is {kind_of(path)}; name the file to write")
    path, graph = written_to(Path(path)), as_graph(graph)
    if external is None:
        external = sum(stored_bytes(c) for c in _constants(graph)) > PROTOBUF_LIMIT - (1 << 26)
    try:
        if external:
            _save_external(graph, path, portable)
        else:
            pieces = _serialized_apart(inline_fused(graph) if portable else graph)
            with replacing(path) as file:
                for piece in pieces:
                    file.write(piece)
                require_unchanged(graph)
    except OSError as error:
        raise SaveError(
            f"cannot write '{path}': {error.strerror or error}; nothing was left behind"
        ) from error


def _save_external(graph: gs.Graph, path: Path, portable: bool) -> None:
    graph = inline_fused(graph) if portable else graph
    model, weights = to_proto(
        graph,
        leave_out=lambda c: stored_bytes(c) > _INLINE and _plain(c),
        keep_version=True,
    )
    placeholders = {t.name: t for t in model.graph.initializer if t.external_data}
    data = DataFile(path)
    with replacing(path) as file, replacing(data.usual, lambda: data.place) as beside:
        writer = Writer(beside)
        places = {}
        for constant in weights:
            values = dense_values(constant)
            assert values is not None
            places[constant.name] = writer.append(values)
        data.choose(writer)
        for name, (offset, length) in places.items():
            del placeholders[name].external_data[:]
            location = (("location", data.place.name), ("offset", offset), ("length", length))
            for key, value in location:
                placeholders[name].external_data.add(key=key, value=str(value))
        file.write(_serialized(model))
        require_unchanged(graph)
        # A full disk must show before the data file takes its place.
        file.flush()
        os.fsync(file.fileno())
    data.remove_others()


def _require_small(graph: gs.Graph) -> None:
    total = sum(stored_bytes(c) for c in _constants(graph))
    if total > PROTOBUF_LIMIT:
        raise SaveError(
            f"the weights take {total} bytes, over the 2 GB that one proto may hold; save the "
            "graph to a file instead"
        )


def _serialized_apart(graph: gs.Graph) -> Sequence[bytes | memoryview]:
    """Return the bytes of the model of `graph` in pieces, large weights as they lie in memory."""
    _require_small(graph)
    model, left_out = to_proto(
        graph, leave_out=lambda c: stored_bytes(c) >= LARGE and _plain(c), keep_version=True
    )
    if not left_out:
        return [_serialized(model)]
    pieces = put_together(model, [v for c in left_out if (v := dense_values(c)) is not None])
    _require_within(sum(map(len, pieces)))
    return pieces


def _serialized(model: onnx.ModelProto) -> bytes:
    _require_within(model.ByteSize())
    return bytes(model.SerializeToString(deterministic=True))


def _require_within(size: int) -> None:
    if size > PROTOBUF_LIMIT:
        raise SaveError(
            f"the model takes {size} bytes without its external weights, over the 2 GB "
            "that one proto may hold; shrink its subgraphs and Constant nodes"
        )


def _plain(constant: gs.Constant) -> bool:
    values = dense_values(constant)
    return values is not None and values.flags.c_contiguous and can_leave_out(constant)


def _constants(graph: gs.Graph) -> list[gs.Constant]:
    found: dict[int, gs.Constant] = {}
    for node in graph.nodes:
        for tensor in node.inputs:
            if isinstance(tensor, gs.Constant):
                found[id(tensor)] = tensor
    return list(found.values())
