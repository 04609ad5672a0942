"""Groups of channels that can only be removed together, found before anything is cut.

Two channels are one where they meet in one element of some tensor: in a residual Add, in a gate, in
a depthwise convolution. Channels that the same constants make, carry and read are interchangeable:
they form a group, of which any may go and the rest stay.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import dense_values
from ....ir.files.given import Model, as_graph
from ....ir.run.contradiction import contradiction_told
from ...engine.context import Context
from .analysis import ChannelAnalysis
from .analyze import analyze_channels
from .cells import Array
from .findings import SlicedConstant
from .group import ChannelCarrier, ChannelGroup, ChannelSlice

_UNEVEN = "its channels are spread unevenly over the groups of a convolution"
_COMPUTED = "a weight that makes or reads it is not stored as a constant"


def channel_groups(
    graph: Model, context: Context | None = None, *, across_layernorm: bool = False
) -> list[ChannelGroup]:
    """Return the groups of channels of `graph`, in the order in which layers make them.

    The graph is left alone. Its operators have to be plain: channels do not pass what is fused.
    `across_layernorm`: they pass where LayerNormalization takes its statistics over them, which
    are of fewer channels then.
    """
    graph = as_graph(graph)
    with contradiction_told(graph):
        known = Context(graph) if context is None else context
        analysis = analyze_channels(known, across_layernorm=across_layernorm)
        return groups_of(analysis)


def groups_of(analysis: ChannelAnalysis) -> list[ChannelGroup]:
    """Return the groups of an analyzed graph; linear in all channels of all slots."""
    roots = analysis.cells.roots()
    members = _Members(analysis, roots)
    slots = members.slots()
    carriers = members.carriers()
    balance, uneven = members.balance()
    found = []
    for number, cells in enumerate(members.cells):
        own = tuple(slots[number])
        if not any(slot.role in ("makes", "carries") for slot in own):
            continue
        reason = analysis.cells.reason(int(cells[0]))
        if reason is None and number in uneven:
            reason = _UNEVEN
        if reason is None and number in members.computed:
            reason = _COMPUTED
        found.append(
            ChannelGroup(
                channels=len(cells),
                slots=own,
                carriers=tuple(carriers[number]),
                reason=reason,
                balance=tuple(balance[number]),
                cells=cells,
            )
        )
    return found


class _Members:
    """Which group each cell is of, and the places of groups in arrays of cells."""

    def __init__(self, analysis: ChannelAnalysis, roots: Array) -> None:
        self._analysis = analysis
        self._roots = roots
        self._constants: dict[int, tuple[gs.Constant | None, gs.Constant | None]] = {}
        self.computed: set[int] = set()
        # The sum of a random number a slot tells with near certainty which slots a cell has.
        generator = np.random.default_rng(0)
        signature = np.zeros(len(roots), np.uint64)
        seen: dict[tuple[int, int, int, int], np.uint64] = {}
        for each in analysis.sliced:
            key = (id(each.node), each.position, each.axis, each.blocks)
            if key not in seen:
                seen[key] = np.uint64(generator.integers(1, 1 << 63))
            np.add.at(signature, roots[each.cells], seen[key])
        reasons: dict[str | None, int] = {}
        stays = np.zeros(len(roots), np.int64)
        for root in np.unique(roots).tolist():
            stays[root] = reasons.setdefault(analysis.cells.reason(root), len(reasons))
        used = np.flatnonzero((roots == np.arange(len(roots))) & (signature > 0))
        keys = np.stack([signature[used], stays[used].astype(np.uint64)], axis=1)
        _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        order = np.argsort(np.argsort(first))  # numbered as their first cells are
        self._group = np.full(len(roots), -1, np.int64)
        self._group[used] = order[group.reshape(-1)]
        self._place = np.zeros(len(roots), np.int64)
        self.cells = _split(used, self._group[used], len(first))
        for cells in self.cells:
            self._place[cells] = np.arange(len(cells))

    def places(self, cells: Array) -> list[tuple[int, Array]]:
        """Return for each group with all of its channels in `cells` the index [channels, k]."""
        own = self._roots[cells]
        group = self._group[own]
        at = np.flatnonzero(group >= 0)
        at = at[np.lexsort((at, self._place[own[at]], group[at]))]
        if not len(at):
            return []
        numbers, starts = np.unique(group[at], return_index=True)
        found = []
        for number, part in zip(numbers.tolist(), np.split(at, starts[1:]), strict=True):
            channels = len(self.cells[number])
            if len(part) % channels == 0:
                index = part.reshape(channels, -1)
                if (self._place[own[index]] == np.arange(channels)[:, None]).all():
                    found.append((number, index))
        return found

    def slots(self) -> list[list[ChannelSlice]]:
        """Return the slots of each group."""
        found: list[list[ChannelSlice]] = [[] for _ in self.cells]
        for each in self._analysis.sliced:
            constant, mask = self._stored(each)
            for number, index in self.places(each.cells):
                if constant is not None:
                    found[number].append(
                        ChannelSlice(
                            node=each.node,
                            position=each.position,
                            constant=constant,
                            mask=mask,
                            axis=each.axis,
                            role=each.role,
                            index=index,
                            blocks=each.blocks,
                        )
                    )
                elif each.role in ("makes", "reads", "carries"):
                    self.computed.add(number)
        return found

    def _stored(self, each: SlicedConstant) -> tuple[gs.Constant | None, gs.Constant | None]:
        tensor = each.node.inputs[each.position]
        masked = self._analysis.masked(tensor)
        if masked is not None:
            return masked.weight, masked.mask
        if isinstance(tensor, gs.Constant) and dense_values(tensor) is not None:
            return tensor, None
        return None, None

    def carriers(self) -> list[list[ChannelCarrier]]:
        """Return the tensors of each group in which its channels stand along one axis."""
        found: list[list[ChannelCarrier]] = [[] for _ in self.cells]
        for node, _ in self._analysis.nodes:
            for tensor in node.outputs:
                labels = self._analysis.of(tensor)
                if labels is None or not labels.ndim or max(labels.shape) != labels.size:
                    continue
                axis = int(np.argmax(labels.shape))
                if labels.size == 1:
                    axis = min(1, labels.ndim - 1)
                for number, index in self.places(labels.reshape(-1)):
                    found[number].append(ChannelCarrier(tensor, axis, index))
        return found

    def balance(self) -> tuple[list[list[Array]], set[int]]:
        """Return the block numbers of each group, and the groups whose blocks are not even."""
        found: list[list[Array]] = [[] for _ in self.cells]
        uneven: set[int] = set()
        grouped = [e for e in self._analysis.layers if e.group > 1 and not e.depthwise]
        for constraint in grouped:
            for cells in (constraint.read, constraint.made):
                blocks = np.arange(len(cells)) // (len(cells) // constraint.group)
                for number, index in self.places(cells):
                    own = blocks[index]
                    counts = np.bincount(own[:, 0], minlength=constraint.group)
                    if (own != own[:, :1]).any() or (counts != counts[0]).any():
                        uneven.add(number)
                    else:
                        found[number].append(own[:, 0])
                partial = set(np.unique(self._group[self._roots[cells]]).tolist()) - {-1}
                uneven |= partial - {number for number, _ in self.places(cells)}
        return found, uneven


def _split(cells: Array, group: Array, count: int) -> list[Array]:
    order = np.argsort(group, kind="stable")
    return np.split(cells[order], np.searchsorted(group[order], np.arange(1, count)))
