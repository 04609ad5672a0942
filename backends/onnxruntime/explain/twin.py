"""Whether a float model can be the one that a quantized model was made of."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_graphsurgeon as gs

from ....ir.core.errors import GraphError
from ....ir.graph.types import TensorType
from ....passes.quantize.qdq.match_float import view_of


def need_twin(graph: gs.Graph, original: gs.Graph) -> None:
    """Raise GraphError where inputs or outputs of `original` are not those of `graph`."""
    for kind, quantized, floats in (
        ("input", _types(graph, "inputs"), _types(original, "inputs")),
        ("output", _types(graph, "outputs"), _types(original, "outputs")),
    ):
        if quantized.keys() != floats.keys():
            raise _no_twin(f"its {kind}s are {_listing(floats)}, not {_listing(quantized)}")
        for name, found in floats.items():
            if not may_be_same(found, quantized[name]):
                raise _no_twin(
                    f"its {kind} '{name}' is {_shown(found)}, not {_shown(quantized[name])}"
                )


def may_be_same(a: TensorType | None, b: TensorType | None) -> bool:
    """Say whether nothing that is known of two tensors differs: element type, rank, sizes."""
    if a is None or b is None:
        return True
    if a.dtype is not None and b.dtype is not None and a.dtype != b.dtype:
        return False
    if a.shape is None or b.shape is None:
        return True
    return len(a.shape) == len(b.shape) and all(
        x == y or not (isinstance(x, int) and isinstance(y, int))
        for x, y in zip(a.shape, b.shape, strict=True)
    )


def _types(graph: gs.Graph, side: str) -> Mapping[str, TensorType | None]:
    view = view_of(graph)
    tensors = getattr(graph, side)
    return {t.name: view.type(t) for t in tensors if not isinstance(t, gs.Constant)}


def _no_twin(reason: str) -> GraphError:
    return GraphError(
        f"this is not the float model that was quantized: {reason}; give that one, or none, and it "
        "is made from the quantized model"
    )


def _listing(names: Mapping[str, TensorType | None]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "none"


def _shown(found: TensorType | None) -> str:
    if found is None:
        return "of unknown type"
    sizes = "?" if found.shape is None else list(found.shape)
    return f"{found.dtype}{sizes}"
