"""Which channels have to stay.

A channel has an effect where a layer needs it for a channel that has one; the graph's outputs have,
and so has what cannot be taken out. What has none may still have to stay: one channel of every
tensor, as many in every group of a convolution, a grid where a Reshape makes one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

import numpy as np
import onnx_graphsurgeon as gs

from ...analysis.channels.analysis import ChannelAnalysis
from ...analysis.channels.cells import Array
from ...analysis.channels.findings import ChannelLayer
from ...analysis.channels.labels import varying
from .known_values import LayerFold


class KeptChannels:
    """The cells that stay, by the number of the one that stands for them: `stays`.

    `multiple` rounds the channels left of every layer up, as far as it has channels; `also` are
    kept in any case. Those that are `effective` do not stay for the sake of others alone.
    """

    def __init__(
        self,
        analysis: ChannelAnalysis,
        folds: list[LayerFold],
        multiple: int = 1,
        also: Collection[int] = (),
    ) -> None:
        self.analysis = analysis
        self._multiple = multiple
        self.roots = analysis.cells.roots()
        self.stays = analysis.cells.fixed()
        self.stays[list(also)] = True
        self._spread(folds)
        self.effective = self.stays.copy()
        shuffled = {id(n.outputs[0]) for s in analysis.shuffles for n in s.nodes[:-1]}
        tensors = {
            id(tensor): (tensor, id(tensor) in shuffled)
            for node, _ in analysis.nodes
            for tensor in node.outputs
        }
        self._labels = [
            (self.roots[labels], free)
            for tensor, free in tensors.values()
            if (labels := analysis.of(tensor)) is not None
        ]
        self._close()

    def of(self, cells: Array) -> Array:
        """Say of each cell whether it stays."""
        return np.asarray(self.stays[self.roots[cells]])

    def indices(self, tensor: gs.Tensor) -> dict[int, Array]:
        """Return by axis the indices that stay, for the axes of `tensor` that lose some."""
        labels = self.analysis.of(tensor)
        if labels is None or labels.size == 1:
            return {}
        left = self.of(labels)
        if left.all():
            return {}
        found = {}
        for axis in varying(labels):
            others = tuple(a for a in range(labels.ndim) if a != axis)
            along = left.any(axis=others)
            if not along.all():
                found[axis] = np.flatnonzero(along)
        return found

    def _spread(self, folds: list[LayerFold]) -> None:
        """Keep what is needed for what stays."""
        makers: dict[int, list[tuple[int, int]]] = {}
        for number, fold in enumerate(folds):
            if fold.layer.depthwise:
                continue
            for output, cell in enumerate(self.roots[fold.layer.made].tolist()):
                makers.setdefault(cell, []).append((number, output))
        waiting: dict[int, list[int]] = {}
        queue: deque[int] = deque()

        def arrived(cells: Array) -> None:
            for cell in cells.tolist():
                for number, output in makers.get(cell, ()):
                    if number not in waiting:
                        waiting[number] = []
                        queue.append(number)
                    waiting[number].append(output)

        arrived(np.flatnonzero(self.stays))
        while queue:
            number = queue.popleft()
            layer, needs = folds[number].layer, folds[number].needs
            asked = np.zeros(needs.shape[:2], bool)
            asked.reshape(-1)[waiting.pop(number)] = True
            needed = np.stack(
                [block[rows].any(axis=0) for block, rows in zip(needs, asked, strict=True)]
            )
            cells = np.unique(self.roots[layer.read[needed.reshape(-1)]])
            fresh = cells[~self.stays[cells]]
            self.stays[fresh] = True
            arrived(fresh)

    def _close(self) -> None:
        """Keep more until every tensor and every layer can be cut."""
        before = -1
        while before != (before := int(self.stays.sum())):
            for cells, free in self._labels:
                self._fill(cells, free)
            for layer in self.analysis.layers:
                if layer.group > 1 and not layer.depthwise:
                    self._balance(layer)
                if self._multiple > 1 and not layer.depthwise:
                    own = np.unique(self.roots[layer.made])
                    self._raise(own, -(-int(self.stays[own].sum()) // self._multiple))

    def _raise(self, cells: Array, parts: int) -> None:
        left = self.stays[cells]
        missing = min(parts * self._multiple, len(cells)) - int(left.sum())
        self.stays[cells[~left][: max(missing, 0)]] = True

    def _fill(self, cells: Array, free: bool) -> None:
        """Keep one channel of a tensor, and the grid that those left span."""
        left = self.stays[cells]
        if left.all():
            return
        if not left.any():
            self.stays[cells.flat[0]] = True
            left = self.stays[cells]
        axes = varying(cells)
        if free or len(axes) < 2:
            return
        grid = np.ones_like(left)
        for axis in axes:
            others = tuple(a for a in range(left.ndim) if a != axis)
            grid &= left.any(axis=others, keepdims=True)
        self.stays[cells[grid]] = True

    def _balance(self, layer: ChannelLayer) -> None:
        """Keep as many channels in each group of a convolution, or none."""
        ins, outs = (self.roots[c].reshape(layer.group, -1) for c in (layer.read, layer.made))
        while True:
            counts = [self.stays[side].sum(axis=1) for side in (ins, outs)]
            used = (counts[0] + counts[1]) > 0
            if not used.any():
                return  # a channel of its result will be kept, and then it is looked at again
            before = int(self.stays.sum())
            for side, count in zip((ins, outs), counts, strict=True):
                target = max(int(count.max()), 1)
                for block in np.flatnonzero(used & (count < target)):
                    gone = side[block][~self.stays[side[block]]]
                    self.stays[gone[: target - int(self.stays[side[block]].sum())]] = True
            if before == int(self.stays.sum()):
                return
