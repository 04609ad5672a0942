"""Finding the windows that show two graphs equal.

Nodes that are the same on the same are passed over. Where a tensor stands in both graphs, the
nodes that compute it from what is known to be equal are a window; where that is not shown, it is
computed from further away in a larger one (translation validation with cut points; A. Kuehlmann and
F. Krohm, Equivalence Checking Using Cuts and Heaps, 1997).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ....ir.proof.before_jumps import JumpsAhead
from ....ir.proof.proof import NotProvedError, Proof
from ....ir.proof.prove import prove_at
from ....ir.proof.sides import Equalities, PairedSizes, Side, seed_of
from ....ir.proof.windows import ProofWindow, cone

# How often a window is made larger.
_MOST_TRIES = 4
# A checker draws points of its own.
_LEEWAY = 0.5


@dataclass(frozen=True)
class ShownWindow:
    """A window with what was shown of it."""

    window: ProofWindow
    proof: Proof


@dataclass(frozen=True)
class Open:
    """A graph output that was not shown to be equal, and why."""

    name: str
    reason: str


class WindowSearch:
    """Walks the graph after, in order. `stands_for`: tensors before, by the name of those after."""

    def __init__(self, before: Side, after: Side, stands_for: Mapping[str, str]) -> None:
        self.before, self.after = before, after
        self._stands_for = stands_for
        self.sizes = PairedSizes(before, after)
        self._jumps = JumpsAhead(after)
        self._before: dict[str, str] = {}  # tensors before, by what they compute
        for name, tensor in before.tensors.items():
            self._before.setdefault(before.expressions.key(tensor), name)
        self._equalities = Equalities(before, after)
        self.equal: dict[str, str] = {}  # tensors after, with those before
        self._reasons: dict[str, str] = {}
        self.shown: list[ShownWindow] = []

    def run(self) -> list[Open]:
        """Look for windows; return the outputs that are not shown to be equal."""
        for tensor in self.after.graph.inputs:
            self.equal[tensor.name] = tensor.name
        for node in self.after.graph.nodes:
            for tensor in node.outputs:
                if tensor.name and self.after.tensors[tensor.name] is tensor:
                    self._look(tensor)
        return list(self._left())

    def _left(self) -> Iterator[Open]:
        pairs = zip(self.before.graph.outputs, self.after.graph.outputs, strict=True)
        for output, late in pairs:
            a = self.before.tensors.get(output.name, output)
            b = self.after.tensors.get(late.name, late)
            # Where another tensor before computes it as well, a window may show this one.
            if not self._equalities.hold(a, b) and not self._show(a, b):
                reason = self._reasons.get(b.name, "nothing before stands for it")
                yield Open(late.name, reason)

    def _look(self, tensor: gs.Tensor) -> None:
        """Find the tensor before that is equal to `tensor`, if there is one."""
        known = self._before.get(self.after.expressions.key(tensor))
        if known is not None:
            self.equal[tensor.name] = known
            return
        for name in dict.fromkeys((self._stands_for.get(tensor.name, ""), tensor.name)):
            candidate = self.before.tensors.get(name)
            if candidate is not None and self._show(candidate, tensor):
                return

    def _show(self, before: gs.Tensor, after: gs.Tensor) -> bool:
        left_out: set[str] = set()
        for _ in range(_MOST_TRIES):
            window, stops = self._window(before, after, left_out)
            if window is None:
                return False
            try:
                proof = self._proved(window)
            except NotProvedError as reason:
                self._reasons[after.name] = str(reason)
                fresh = stops - left_out
                if not fresh:
                    return False
                left_out |= fresh
                continue
            self.shown.append(ShownWindow(window, self._jumps.named(window, proof)))
            self.equal[after.name] = before.name
            self._equalities.enter(before, after)
            return True
        return False

    def _proved(self, window: ProofWindow) -> Proof:
        opsets = int(self.before.graph.opset), int(self.after.graph.opset)
        drawn = seed_of(self.before, self.after, len(self.shown))
        return prove_at(window, self.sizes, opsets, drawn, leeway=_LEEWAY)

    def _window(
        self, before: gs.Tensor, after: gs.Tensor, left_out: set[str]
    ) -> tuple[ProofWindow | None, set[str]]:
        """Return the smallest window that begins at the same tensors on both sides.

        With it the tensors after, no inputs of the graph, at which it begins. None where there is
        none of acceptable size.
        """
        left_out = set(left_out)
        while True:
            stops = {
                name
                for name in self.equal
                if name not in left_out and not self._is_computed_size(name)
            }
            late = cone(self.after, after, stops)
            if late is None:
                return None, set()
            begins = {self.equal[name]: name for name in late.begins if name in self.equal}
            early = cone(self.before, before, begins.keys())
            if early is None:
                return None, set()
            own = {name for name in begins.values() if self._is_inner(name)}
            extra = early.begins.keys() - begins.keys()
            if not extra or not own:
                break
            unread = {name for name in own if self.equal[name] not in early.begins}
            left_out |= unread or own
        names = dict(begins)
        pairs = [
            (self.before.tensors[name], self.after.tensors[names.get(name, name)])
            for name in sorted({*begins, *early.begins})
            if names.get(name, name) in self.after.tensors
        ]
        return ProofWindow(early.nodes, late.nodes, pairs, (before, after)), own

    def _is_inner(self, name: str) -> bool:
        return self.after.producer(self.after.tensors[name]) is not None

    def _is_computed_size(self, name: str) -> bool:
        """Say whether a tensor is a list of integers: sizes, whose values have to be known."""
        found = self.sizes.base[0].get(self.equal[name])
        return (
            self._is_inner(name)
            and found is not None
            and found.dtype.kind in "iu"
            and found.shape is not None
            and len(found.shape) <= 1
        )
