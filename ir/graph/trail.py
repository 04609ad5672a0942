"""Which nodes each edit touched."""

from __future__ import annotations

import onnx_graphsurgeon as gs


class Trail:
    """The edits of a pass, in order, each with the nodes that it added, changed or removed."""

    def __init__(self) -> None:
        self.edits: list[list[gs.Node]] = []
        self._latest: tuple[int, int] | None = None

    def note(self, batch: object, count: int, node: gs.Node | None) -> None:
        """Note that edit `count` of a batch of changes touched `node`, or something else."""
        if count and self._latest != (id(batch), count):
            self._latest = (id(batch), count)
            self.edits.append([])
        if node is not None and self.edits:
            self.edits[-1].append(node)

    def cut(self, edits: int) -> None:
        """Forget all but the first `edits`: the others were taken back."""
        del self.edits[edits:]
        self._latest = None
