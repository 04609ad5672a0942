"""What cannot be known of decisions about open sizes: said, where a graph may hang on it."""

from __future__ import annotations

import warnings
from typing import Any

from ...core.shown import shortened


def warn_of_untold(given: Any, dynamic_shapes: Any, torch: Any) -> None:
    """Warn where what an example decided about sizes of `given`, a module or program, is lost."""
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    from .decided import decisions_of

    if isinstance(given, torch.export.ExportedProgram):
        # A file holds the conditions that a program checks, not who asked for them.
        conditions = getattr(given, "_guards_code", None)
        if conditions and not decisions_of(given, torch):
            _warn(
                f"the program was loaded, and its graph is right only where "
                f"{shortened(' and '.join(conditions), 200)}, which no graph checks; trace the "
                "program that torch.export.export returns to have what matters refused"
            )
    elif dynamic_shapes and not hasattr(ShapeEnv, "_log_guard"):
        _warn(
            f"PyTorch {torch.__version__} does not tell what the example decides about open "
            "sizes; compare the graph with the module at other sizes, or trace with PyTorch 2.13"
        )


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)
