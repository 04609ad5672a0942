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
from ...engine.records import Failure
from ...trust.reproduce import command, write_reproducer
from ..scripts import scripts_of
from .failures import CopyNeeded


class Reproducers:
    """Keeps the graph before a pass, and writes it with the pass and `feeds` where it fails."""

    def __init__(
        self, folder: Path | None, feeds: Sequence[Mapping[str, np.ndarray[Any, Any]]]
    ) -> None:
        self._folder = folder
        self._feeds = feeds
        self._before: gs.Graph | None = None
        self._written = 0

    def use(self, feeds: Sequence[Mapping[str, np.ndarray[Any, Any]]]) -> None:
        """Write `feeds` from here on: the graph has other inputs."""
        self._feeds, self._before = feeds, None

    def keep(self, graph: gs.Graph) -> None:
        """Keep a copy of `graph`, unless the one that is kept is still right."""
        if self._before is None:
            self._before = clone(graph)

    def forget(self) -> None:
        """Drop the copy: a pass has edited."""
        self._before = None

    def give(self) -> gs.Graph:
        """Return the copy that was kept, to go on with, and forget it.

        Raises CopyNeeded where none was kept.
        """
        if self._before is None:
            raise CopyNeeded
        kept, self._before = self._before, None
        return kept

    def failure(self, item: Pass, place: str, error: str, trace: str) -> Failure:
        """Return the failure of `item` as a whole, with a reproducer of it.

        Raises CopyNeeded where the graph before it was not kept.
        """
        if self._before is None:
            raise CopyNeeded
        folder, scripts = self._write(self._before, [item], trace=trace)
        return Failure(
            pass_name=item.name,
            place=place,
            node=None,
            error=error.removeprefix(f"after {place} "),
            reproducer=folder,
            command=command(folder, scripts),
        )

    def of_pass(self, error: PassError, item: Pass, place: str) -> PassError:
        """Return the error of `item`, with a reproducer where the graph before it is kept."""
        message = str(error)
        text = message if message.startswith("after ") else f"{place}: {message}"
        if self._before is None:
            again = "verify='each' (`planish optimize --verify each`)"
            text += f"; run again with {again} for a reproducer"
            return error.with_message(text, pass_name=item.name)
        folder, scripts = self._write(self._before, [item])
        return error.with_message(
            f"{text}; reproduce with\n  {command(folder, scripts)}",
            pass_name=item.name,
            reproducer=folder,
        )

    def of_pipeline(
        self, graph: gs.Graph, items: Sequence[Pass], pipeline: str, error: VerificationError
    ) -> VerificationError:
        """Return the error of a run of `items`, written as `pipeline`, with a reproducer."""
        folder, scripts = self._write(graph, items, pipeline)
        how = command(folder, scripts)
        text = f"{error}; find the pass and edit with `planish bisect`, or run\n  {how}"
        return error.with_message(text, reproducer=folder)

    def _write(
        self, graph: gs.Graph, items: Sequence[Pass], text: str = "", trace: str = ""
    ) -> tuple[Path, list[Path] | None]:
        """Write a reproducer; return its folder and the scripts that register its passes.

        Each one after the first gets a folder beside the one asked for. `text`: the pipeline of
        `items`, the one pass by default.
        """
        folder = self._folder
        self._written += 1
        if folder is not None and self._written > 1:
            folder = folder.with_name(f"{folder.name}-{self._written}")
        scripts = scripts_of(map(type, items))
        pipeline = text or str(items[0])
        return write_reproducer(folder, graph, pipeline, self._feeds, trace, scripts or ()), scripts
