"""Errors of a run, with what is needed to see them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.errors import PassError, VerificationError
from ....ir.graph.clone import clone
from ...engine.contract import Pass
from ...trust.reproduce import command, write_reproducer


class Reproducers:
    """Keeps the graph before a pass, and writes it with the pass and `feeds` where it fails."""

    def __init__(
        self, folder: Path | None, feeds: Sequence[Mapping[str, np.ndarray[Any, Any]]]
    ) -> None:
        self._folder = folder
        self._feeds = feeds
        self._before: gs.Graph | None = None

    def keep(self, graph: gs.Graph) -> None:
        """Keep a copy of `graph`, unless the one that is kept is still right."""
        if self._before is None:
            self._before = clone(graph)

    def forget(self) -> None:
        """Drop the copy: a pass has edited."""
        self._before = None

    def of_pass(self, kind: type[PassError], item: Pass, place: str, message: str) -> PassError:
        """Return the error of `item`, with a reproducer where the graph before it is kept."""
        text = message if message.startswith("after ") else f"{place}: {message}"
        if self._before is None:
            return kind(f"{text}; run again with verify='each' for a reproducer")
        return kind(f"{text}; reproduce with\n  {self._write(self._before, str(item))}")

    def of_pipeline(self, graph: gs.Graph, items: Sequence[object], message: str) -> PassError:
        """Return the error of a run of `items` over `graph`, with a reproducer."""
        how = self._write(graph, ",".join(map(str, items)))
        return VerificationError(
            f"{message}; find the pass and edit with `planish bisect`, or run\n  {how}"
        )

    def _write(self, graph: gs.Graph, pipeline: str) -> str:
        return command(write_reproducer(self._folder, graph, pipeline, self._feeds))
