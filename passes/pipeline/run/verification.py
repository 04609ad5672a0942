"""Outputs after passes against those before them, as often as a run is asked to compare."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.run.comparison import Comparison
from ...engine.analyses import Analyses
from ...engine.context import Feeds
from ...engine.contract import Pass
from ...trust.verify import Verifier
from .options import RunOptions
from .recorder import Recorder


@dataclass(frozen=True)
class VerificationMark:
    """What outputs were compared with."""

    original: gs.Graph
    since: int
    verifier: Verifier | None


class Verification:
    """Compares with `original`, or with the graph after the last pass that changed it by intent.

    Raises FeedError where the feeds do not fit. `known`: what is known of a copy of `original`.
    Nothing is compared until it `starts`, here or with `start_anew`.
    """

    def __init__(
        self,
        original: gs.Graph,
        feeds: Feeds | None,
        options: RunOptions,
        recorder: Recorder,
        known: Analyses,
        *,
        starts: bool = True,
    ) -> None:
        self.original = original
        # What is proved is compared as well: runtimes are no part of a proof.
        self._mode = "end" if options.verify == "prove" else options.verify
        self._hunt = options.hunt
        self._recorder = recorder
        self._since = 0  # how many of the edited passes precede `original`
        self._verifier: Verifier | None = None
        self._from = ""
        self._seed = options.seed
        if starts:
            self.start_anew(original, feeds, known)

    def start_anew(
        self, original: gs.Graph, feeds: Feeds | None, known: Analyses, behind: int | None = None
    ) -> None:
        """Compare with `original` on `feeds` from here on: pass `behind` has made its inputs."""
        self.original = original
        self._since = len(self._recorder.edited)
        if behind is not None:
            self._from = self._recorder.place(behind)
        if self._mode != "off":
            self._recorder.tell(0, "verify", 0.0, of="the model as it is given")
            self._verifier = Verifier(original, feeds, self._seed, known)

    @property
    def feeds(self) -> Sequence[Mapping[str, np.ndarray[Any, Any]]]:
        """What the graphs are compared on."""
        return [] if self._verifier is None else self._verifier.feeds

    @property
    def edited(self) -> Sequence[Pass]:
        """The passes that have edited since `original`, in order."""
        return [item for item, _ in self._recorder.edited[self._since :]]

    @property
    def note(self) -> str:
        """Why nothing was checked, or why the check says little."""
        remark = "" if self._verifier is None else self._verifier.remark
        begins = self._from and f"outputs are compared from {self._from}, on"
        return "; ".join(filter(None, (remark, begins)))

    def check_each(self, index: int, graph: gs.Graph) -> float | None:
        """With `verify="each"`, return the error of `graph` against the one before pass `index`.

        In a hunt for what breaks the end, compare with the untouched graph instead, and return
        None. Raises VerificationError where the error is too large.
        """
        verifier = self._active() if self._mode == "each" or self._hunt else None
        if verifier is None:
            return None
        self._recorder.tell(index, "verify", 0.0)
        exact = self._recorder.passes[index].is_exact
        if self._hunt:
            exact = exact and all(item.is_exact for item, _ in self._recorder.edited[self._since :])
            verifier.check_end(graph, exact, self._recorder.place(index))
            return None
        return verifier.check(graph, exact, self._recorder.place(index))

    def check_end(self, graph: gs.Graph) -> None:
        """With `verify="end"`, record the error of `graph` against the untouched one.

        Raises VerificationError where it is too large.
        """
        verifier = self._active() if self._mode == "end" else None
        edited = [e for e in self._recorder.edited[self._since :] if e[0].keeps_interface]
        if verifier is None or not edited:
            return
        self._recorder.tell(len(self._recorder.passes) - 1, "verify", 0.0, of="the result")
        exact = all(item.is_exact for item, _ in edited)
        names = ", ".join(dict.fromkeys(item.name for item, _ in edited))
        error = verifier.check_end(graph, exact, f"the pipeline ({names})")
        self._recorder.set_error(edited[-1][1], error)

    def start_over(self, index: int, original: gs.Graph) -> None:
        """Compare with `original` from here on: pass `index` changed the outputs by intent.

        Raises VerificationError where it does not run.
        """
        verifier = self._active()
        if verifier is not None:
            self._recorder.tell(index, "verify", 0.0)
            verifier.start_over(original, self._recorder.place(index))
        self.original = original
        self._since = len(self._recorder.edited) + 1

    def mark(self) -> VerificationMark:
        """Return what outputs are compared with now."""
        return VerificationMark(self.original, self._since, copy.copy(self._verifier))

    def go_back(self, mark: VerificationMark) -> None:
        """Compare with what outputs were compared with at `mark`."""
        self.original, self._since, self._verifier = mark.original, mark.since, mark.verifier

    def outcome(self) -> tuple[bool, float | None]:
        """Say whether something was verified, and the tolerance that exact passes were held to."""
        edited = [item for item, _ in self._recorder.edited]
        held = [item for item in edited if item.keeps_outputs and item.keeps_interface]
        verifier = self._active()
        if verifier is None or (edited and not held):
            return False, None
        if not verifier.telling:
            return False, None
        return True, verifier.tolerance if all(item.is_exact for item in held) else None

    def comparison(self) -> Comparison | None:
        """Return how far the outputs last compared are from the untouched graph's.

        None where nothing was compared, all passes that edited are exact, or one of them changed
        the outputs by intent.
        """
        verifier = self._active()
        if verifier is None or all(item.is_exact for item, _ in self._recorder.edited):
            return None
        return verifier.comparison(self.original)

    def _active(self) -> Verifier | None:
        return self._verifier if self._verifier is not None and self._verifier.active else None
