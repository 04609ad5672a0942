"""What a run keeps for a certificate, and the certificate."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ....ir.core.errors import VerificationError
from ....ir.graph.trail import Trail
from ....ir.proof.certificate import Certificate
from ...engine.context import Context, Feeds
from ...trust.prove.attribution import Edited
from ...trust.prove.certify import Origin, certify
from ...trust.prove.ranges import MeasuredRanges
from ...trust.prove.refute import refute
from .failures import Refuted


class Proving:
    """The edits of a run over `graph`, a copy of `original` that nothing has edited yet."""

    def __init__(self, original: gs.Graph, graph: gs.Graph, seed: int) -> None:
        self._original = original
        self._origin = Origin(original, graph)
        self._seed = seed
        self._edited: list[Edited] = []

    def trail(self) -> Trail:
        """Return what takes the edits of one pass."""
        return Trail()

    def ran(self, name: str, context: Context, edits: int) -> None:
        """Keep what a pass called `name` has edited: `edits`, by hand where its trail is empty."""
        trailed = [] if context.trail is None else context.trail.edits
        self._edited += [Edited(name, tuple(nodes)) for nodes in trailed]
        self._edited += [Edited(name, None)] * (edits - len(trailed))

    def certificate(self, graph: gs.Graph, feeds: Feeds | None) -> Certificate:
        """Return what is proved of `graph`, the result. Raises Refuted where an input shows that
        it computes something else.

        `feeds`: on which rounding is bounded; None for numbers up to 1.
        """
        ranges = None if feeds is None else MeasuredRanges(self._original, feeds)
        found = certify(self._original, graph, self._origin, self._edited, ranges)
        if not self._edited:
            return found
        finite = not found.is_complete
        refuted = refute(self._original, graph, self._seed, finite=finite)
        if refuted is not None:
            text = f"refuted by {refuted.kind}: {refuted.message}"
            raise Refuted(VerificationError(text, output=refuted.output), refuted.feed)
        return found
