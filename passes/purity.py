"""Which operators always give the same tensors for the same inputs."""

from __future__ import annotations

import functools

import onnx


@functools.lru_cache(maxsize=4096)
def is_pure(op: str, opset: int) -> bool:
    """Say whether the standard operator is deterministic and gives ordinary tensors."""
    if not onnx.defs.has(op, max_inclusive_version=opset):
        return False
    schema = onnx.defs.get_schema(op, opset)
    deterministic = onnx.defs.OpSchema.NodeDeterminism.Deterministic
    return schema.node_determinism == deterministic and all(
        kind.startswith("tensor(") for output in schema.outputs for kind in output.types
    )
