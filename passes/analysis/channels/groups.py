"""Groups of channels that can only be removed together, found before anything is cut.

Two channels are one where they meet in one element of some tensor: in a residual Add, in a gate, in
a depthwise convolution. Channels that the same constants make, carry and read are interchangeable:
they form a group, of which any may go and the rest stay.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import dense_values, node_key
from ...engine.context import Context
from .cells import Array
from .describe import describe
from .walk import Role, Use, Walk

_UNEVEN = "its channels are spread unevenly over the groups of a convolution"
_COMPUTED = "a weight that makes or reads it is not stored as a constant"


@dataclass(frozen=True)
class Slot:
    """Where the channels of a group stand in one constant.

    `role` is what the constant is to them:

    - "makes": the weight of a layer that computes them, "bias": the bias of it;
    - "reads": the weight of a layer that sums over them;
    - "carries": the weight of a depthwise convolution, which passes each on;
    - "scales", "shifts": what they are multiplied by or what is added to them, such as scale and
      bias of a BatchNormalization; "follows": any other value per channel.

    Channel c stands at `index[c]`, an array [channels, k] of places along `axis` (k > 1 behind a
    Flatten). Where `blocks` is more than one, as for the groups of a convolution, places count
    through the blocks into which axis 0 is divided. `mask` is the constant it is multiplied by.
    """

    node: gs.Node
    position: int
    constant: gs.Constant
    mask: gs.Constant | None
    axis: int
    role: Role
    index: Array
    blocks: int = 1

    @property
    def layer(self) -> str:
        """What options call the node that reads the constant."""
        return node_key(self.node)

    def rows(self, values: Array) -> Array:
        """Return the values of each channel, [channels, n], of an array of the constant's shape."""
        if self.blocks == 1:
            lines = np.moveaxis(values, self.axis, 0)
        else:
            own = values.reshape(self.blocks, -1, *values.shape[1:])
            lines = own.swapaxes(1, 2).reshape(self.blocks * values.shape[1], -1)
        return lines[self.index].reshape(len(self.index), -1)

    def where(self, channels: Array) -> Array:
        """Return which elements of the constant belong to `channels`: bool, of its shape."""
        shape = tuple(self.constant.shape)
        flags = np.zeros(self.blocks * shape[self.axis], bool)
        flags[self.index[channels]] = True
        if self.blocks == 1:
            line = flags.reshape(-1, *[1] * (len(shape) - self.axis - 1))
            return np.broadcast_to(line, shape).copy()
        parts = flags.reshape(self.blocks, 1, shape[1], *[1] * (len(shape) - 2))
        each = shape[0] // self.blocks
        return np.broadcast_to(parts, (self.blocks, each, *shape[1:])).reshape(shape)


@dataclass(frozen=True)
class Carrier:
    """A tensor of the graph in which the channels stand: channel c at `index[c]` along `axis`."""

    tensor: gs.Tensor
    axis: int
    index: Array  # [channels, k]


@dataclass(frozen=True)
class Group:
    """Interchangeable channels: what makes, carries and reads them, and whether any can go.

    `reason` says why none can; None where they can. `balance` holds arrays [channels] of block
    numbers: in each block as many channels have to stay as in every other (the groups of a grouped
    convolution). At least one channel of a group has to stay.
    """

    channels: int
    slots: tuple[Slot, ...]
    carriers: tuple[Carrier, ...]
    reason: str | None = None
    balance: tuple[Array, ...] = ()
    cells: Array = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)

    def of_role(self, *roles: Role) -> tuple[Slot, ...]:
        """Return the slots with one of `roles`."""
        return tuple(slot for slot in self.slots if slot.role in roles)

    @property
    def makers(self) -> tuple[Slot, ...]:
        """The weights of the layers that compute the channels."""
        return self.of_role("makes")

    @property
    def readers(self) -> tuple[Slot, ...]:
        """The weights of the layers that sum over the channels."""
        return self.of_role("reads")

    @property
    def name(self) -> str:
        """What options call the group: the first layer that makes it."""
        return next((slot.layer for slot in (*self.makers, *self.slots)), "")

    def __str__(self) -> str:
        """Show the group for a person to look at before it is cut."""
        return describe(self)


def find_channel_groups(graph: gs.Graph, context: Context | None = None) -> list[Group]:
    """Return the groups of channels of `graph`, in the order in which layers make them.

    The graph is left alone. Its operators have to be plain: channels do not pass what is fused.
    """
    walk = Walk(Context(graph) if context is None else context)
    return groups_of(walk)


def groups_of(walk: Walk) -> list[Group]:
    """Return the groups of a graph that was walked over; linear in all channels of all slots."""
    roots = walk.cells.roots()
    members = _Members(walk, roots)
    slots = members.slots()
    carriers = members.carriers()
    balance, uneven = members.balance()
    found = []
    for number, cells in enumerate(members.cells):
        own = tuple(slots[number])
        if not any(slot.role in ("makes", "carries") for slot in own):
            continue
        reason = walk.cells.reason(int(cells[0]))
        if reason is None and number in uneven:
            reason = _UNEVEN
        if reason is None and number in members.computed:
            reason = _COMPUTED
        found.append(
            Group(len(cells), own, tuple(carriers[number]), reason, tuple(balance[number]), cells)
        )
    return found


class _Members:
    """Which group each cell is of, and the places of groups in arrays of cells."""

    def __init__(self, walk: Walk, roots: Array) -> None:
        self._walk = walk
        self._roots = roots
        self._constants: dict[int, tuple[gs.Constant | None, gs.Constant | None]] = {}
        self.computed: set[int] = set()
        # The sum of a random number a slot tells with near certainty which slots a cell has.
        generator = np.random.default_rng(0)
        signature = np.zeros(len(roots), np.uint64)
        seen: dict[tuple[int, int, int, int], np.uint64] = {}
        for use in walk.uses:
            key = (id(use.node), use.position, use.axis, use.blocks)
            if key not in seen:
                seen[key] = np.uint64(generator.integers(1, 1 << 63))
            np.add.at(signature, roots[use.cells], seen[key])
        reasons: dict[str | None, int] = {}
        stays = np.zeros(len(roots), np.int64)
        for root in np.unique(roots).tolist():
            stays[root] = reasons.setdefault(walk.cells.reason(root), len(reasons))
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

    def slots(self) -> list[list[Slot]]:
        """Return the slots of each group."""
        found: list[list[Slot]] = [[] for _ in self.cells]
        for use in self._walk.uses:
            constant, mask = self._stored(use)
            for number, index in self.places(use.cells):
                if constant is not None:
                    found[number].append(
                        Slot(
                            use.node,
                            use.position,
                            constant,
                            mask,
                            use.axis,
                            use.role,
                            index,
                            use.blocks,
                        )
                    )
                elif use.role in ("makes", "reads", "carries"):
                    self.computed.add(number)
        return found

    def _stored(self, use: Use) -> tuple[gs.Constant | None, gs.Constant | None]:
        tensor = use.node.inputs[use.position]
        masked = self._walk.masked(tensor)
        if masked is not None:
            return masked.weight, masked.mask
        if isinstance(tensor, gs.Constant) and dense_values(tensor) is not None:
            return tensor, None
        return None, None

    def carriers(self) -> list[list[Carrier]]:
        """Return the tensors of each group in which its channels stand along one axis."""
        found: list[list[Carrier]] = [[] for _ in self.cells]
        for node, _ in self._walk.nodes:
            for tensor in node.outputs:
                labels = self._walk.of(tensor)
                if labels is None or not labels.ndim or max(labels.shape) != labels.size:
                    continue
                axis = int(np.argmax(labels.shape))
                if labels.size == 1:
                    axis = min(1, labels.ndim - 1)
                for number, index in self.places(labels.reshape(-1)):
                    found[number].append(Carrier(tensor, axis, index))
        return found

    def balance(self) -> tuple[list[list[Array]], set[int]]:
        """Return the block numbers of each group, and the groups whose blocks are not even."""
        found: list[list[Array]] = [[] for _ in self.cells]
        uneven: set[int] = set()
        grouped = [e for e in self._walk.layers if e.group > 1 and not e.depthwise]
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
