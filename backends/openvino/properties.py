"""Properties that a network is compiled with: one stream, its threads, its precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from ...ir.core.errors import BackendOptionError
from ...ir.core.nearest import nearest
from ..contract.threads import require_threads

Precision = Literal["float32", "bfloat16", "float16"]

_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


def properties(threads: int | None, precision: str) -> dict[str, Any]:
    """Return properties for one run after the other: all `threads` work on each.

    `precision`: what floats are computed in. OpenVINO's own default is bfloat16 where the CPU has
    it. Raises BackendOptionError.
    """
    if precision not in _HINTS:
        hint = nearest(str(precision), get_args(Precision))
        raise BackendOptionError(f"precision is '{precision}'{hint}")
    found: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
    }
    require_threads(threads)
    if threads is not None:
        found["INFERENCE_NUM_THREADS"] = threads
    return found


def precision_of(found: Mapping[str, Any]) -> str:
    """Return what floats are computed in by these properties."""
    return next(name for name, hint in _HINTS.items() if hint == found["INFERENCE_PRECISION_HINT"])
