"""Small models, one a pattern that an optimizer should rewrite, for `benchmarks/rewrites.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import onnx


@dataclass(frozen=True)
class Pattern:
    """A pattern: its name, the model that shows it, and how to tell that it is gone.

    `folded` looks at the operators of an optimized model alone, so that it is fair to any
    optimizer; the numbers are checked apart from it. `portable=False` shows it planish's fused
    operators as they are instead of inlined.
    """

    name: str
    build: Callable[[], onnx.ModelProto]
    folded: Callable[[onnx.ModelProto], bool]
    portable: bool = True


def count(model: onnx.ModelProto) -> Counter[str]:
    """Count the operators of the main graph and, as `domain.op`, those of other domains."""
    return Counter(
        node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        for node in model.graph.node
    )
