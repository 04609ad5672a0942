"""Where a run stands, so that it can go back there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from ....ir.graph.clone import clone
from ...engine.contract import Pass
from .recorder import Recorder, RecorderMark
from .state import GraphState
from .verification import Verification, VerificationMark


@dataclass(kw_only=True)
class Checkpoint:
    """A copy of the graph, weights shared, and what was recorded and verified until then.

    - `since`: the first item of the pipeline that outputs are held to.
    - `last`: the last pass that may go back to it.
    - `ran`: the passes that have edited since, by their index, in order and each time anew.
    - `before_integers`: the graph before what prepared for integers until then.
    """

    graph: gs.Graph
    nodes: int
    recorded: RecorderMark
    verified: VerificationMark
    since: int
    last: int
    before_integers: gs.Graph | None
    ran: list[int] = field(default_factory=list)


class Checkpoints:
    """The states of a run from before an attempt, and from before passes that prepare."""

    def __init__(
        self,
        passes: Sequence[Pass],
        state: GraphState,
        recorder: Recorder,
        verification: Verification,
    ) -> None:
        self._passes = passes
        self._state = state
        self._recorder = recorder
        self._verification = verification
        self._attempt: Checkpoint | None = None
        self._prepared: Checkpoint | None = None
        self._before_integers: gs.Graph | None = None

    @property
    def before_integers(self) -> gs.Graph | None:
        """The graph before the first pass that prepared or settled, where it is not as given.

        What other passes have changed by intent is in it: where one edits, it is taken anew.
        None before such a pass, and where exact passes alone have run.
        """
        edited = self._verification.edited
        return self._before_integers if any(map(is_for_itself, edited)) else None

    def start_attempt(self, since: int, last: int) -> None:
        """Keep the state before the passes of a group, of which `last` is the last."""
        self._attempt, self._prepared = self._taken(since, last), None

    def start_preparing(self, since: int) -> None:
        """Keep the state before a pass that prepares or settles, unless one is kept already."""
        if self._prepared is None:
            last = len(self._passes) - 1 if self._attempt is None else self._attempt.last
            self._prepared = self._taken(since, last)
        if self._before_integers is None:
            self._before_integers = clone(self._state.graph)

    def settle(self) -> None:
        """Go back to neither any more: what was prepared has been used."""
        self._attempt = self._prepared = None

    def ran(self, index: int) -> None:
        """Note that pass `index` has edited."""
        if self._prepared is not None:
            self._prepared.ran.append(index)
        if is_for_itself(self._passes[index]):
            self._before_integers = None

    def is_last(self, index: int) -> bool:
        """Say whether no pass behind `index` may use what was prepared."""
        kept = self._prepared
        return kept is None or not any(p.settles for p in self._passes[index + 1 : kept.last + 1])

    def restore_attempt(self, reason: str) -> Checkpoint | None:
        """Go back to before the attempt; None where there is none to go back to."""
        return self._restored(self._attempt, reason)

    def restore_unprepared(self, reason: str) -> Checkpoint | None:
        """Go back to before the passes that prepare; None where nothing is kept."""
        return self._restored(self._prepared, reason)

    def _taken(self, since: int, last: int) -> Checkpoint:
        return Checkpoint(
            graph=clone(self._state.graph),
            nodes=self._state.nodes,
            recorded=self._recorder.mark(),
            verified=self._verification.mark(),
            since=since,
            last=last,
            before_integers=self._before_integers,
        )

    def _restored(self, kept: Checkpoint | None, reason: str) -> Checkpoint | None:
        if kept is None:
            return None
        self._attempt = None if kept is self._attempt else self._attempt
        self._prepared = None
        self._before_integers = kept.before_integers
        self._state.take(kept.graph)
        self._verification.go_back(kept.verified)
        self._recorder.undo(kept.recorded, kept.nodes, reason)
        return kept


def is_for_itself(item: Pass) -> bool:
    """Say whether `item` changes outputs by intent, and not for the sake of integers."""
    if not (item.keeps_outputs and item.keeps_interface):
        return True
    return not (item.is_exact or item.prepares or item.settles)
