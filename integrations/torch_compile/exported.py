"""A frozen module as torch.export has it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ...ir.core.errors import TraceError
from .frozen import Frozen


def exported(frozen: Frozen, tensors: Sequence[torch.Tensor]) -> torch.export.ExportedProgram:
    """Return `frozen` as torch.export has it; `tensors` are examples of what it takes.

    Raises TraceError with what torch.export says.
    """
    try:
        return torch.export.export(
            frozen.module, tuple(tensors), dynamic_shapes=frozen.dynamic_shapes, strict=False
        )
    except Exception as error:  # torch.export raises whatever the traced code raises
        told = next((line for line in str(error).splitlines() if line.strip()), repr(error))
        raise TraceError(f"torch.export: {told[:300]}") from error


def may_draw(program: torch.export.ExportedProgram) -> bool:
    """Say whether `program` has operators that can draw random numbers."""
    tags = (getattr(node.target, "tags", ()) for node in program.graph.nodes)
    return any(torch.Tag.nondeterministic_seeded in each for each in tags)
