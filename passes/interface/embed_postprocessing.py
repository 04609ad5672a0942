"""Give what a caller would make of the scores.

f(x)   ->   softmax(f(x)),   argmax f(x),   the k largest of f(x) and where they are

One operator behind an output, so that every runtime gives the same and less is copied out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.errors import RefusedError
from ...ir.core.nearest import nearest
from ...ir.graph.edit import Edit
from ...ir.graph.types import Dim, TensorType
from ...ir.graph.view import View
from ...ir.ops.build import build
from ...ir.run.feeds import is_size
from ..engine.context import Context
from ..engine.contract import Pass
from .marked import is_marked, mark

_NAME = "postprocessing"
_CLASSES_OF_MAPS = 4


@dataclass(frozen=True)
class EmbedPostprocessing(Pass):
    """Put Softmax, ArgMax or TopK behind an output.

    The output keeps its name; of `top-k`, the places are one more output, `NAME_indices`. Before
    opset 13 a Softmax takes the last axis only.

    - `softmax`: whether scores become shares of one.
    - `argmax`: whether the class is given instead of the scores.
    - `top-k`: how many of the largest scores are given; 0: all.
    - `axis`: the axis of the classes; by default the last, of maps [N, C, H, W] the second.
    - `output`: the output that is meant, where there are several.
    """

    name: ClassVar[str] = "embed-postprocessing"
    keeps_interface: ClassVar[bool] = False

    softmax: bool = False
    argmax: bool = False
    top_k: int = 0
    axis: int | None = None
    output: str = ""

    def __post_init__(self) -> None:
        """Check that something is asked for, and one thing at the end."""
        if self.top_k < 0 or not (self.softmax or self.argmax or self.top_k):
            raise RefusedError("embed-postprocessing takes softmax, argmax or top-k=5; name one")
        if self.argmax and self.top_k:
            raise RefusedError("argmax and top-k exclude each other; top-k=1 gives both")

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Put the steps behind the output."""
        view = context.view()
        tensor = _score_output(graph, self.output)
        producer = view.producer(tensor)
        if producer is not None and is_marked([producer], _NAME):
            return
        if producer is None or not isinstance(tensor, gs.Variable):
            raise RefusedError(f"output '{tensor.name}' is no result of a node")
        found = view.type(tensor)
        if found is None or not found.shape:
            raise RefusedError(f"the sizes of output '{tensor.name}' are not known; set them first")
        axis = self._axis(tensor.name, len(found.shape))
        size = found.shape[axis]
        if self.top_k and is_size(size) and isinstance(size, int) and self.top_k > size:
            raise RefusedError(f"top-k is {self.top_k}, and '{tensor.name}' has {size} classes")
        if self.softmax and graph.opset < 13 and axis != len(found.shape) - 1:
            raise RefusedError("a Softmax over another axis than the last needs opset 13")
        with context.editing() as edit:
            if edit.begin():
                self._embed(tensor, producer, (axis, found), view, edit)

    def _axis(self, name: str, rank: int) -> int:
        chosen = self.axis
        if chosen is None:
            chosen = 1 if rank >= _CLASSES_OF_MAPS else rank - 1
        if not -rank <= chosen < rank:
            raise RefusedError(f"axis is {chosen}, and '{name}' has {rank} axes")
        return chosen % rank

    def _embed(
        self,
        tensor: gs.Variable,
        producer: gs.Node,
        about: tuple[int, TensorType],
        view: View,
        edit: Edit,
    ) -> None:
        axis, found = about
        scores: gs.Tensor = edit.variable(f"{tensor.name}_scores", found)
        edit.rename_output(producer, tensor, scores)
        ends = not (self.argmax or self.top_k)
        if self.softmax:
            made = tensor if ends else edit.variable(f"{tensor.name}_shares", found)
            node = edit.node("Softmax", [scores], [made], {"axis": axis}, at=producer)
            mark(node, _NAME, edit)
            scores = made
        shape = list(found.shape or ())
        if self.argmax:
            attrs = {"axis": axis, "keepdims": 0}
            mark(edit.node("ArgMax", [scores], [tensor], attrs, at=producer), _NAME, edit)
            edit.declare(tensor, np.dtype(np.int64), shape[:axis] + shape[axis + 1 :])
        elif self.top_k:
            self._take_largest(scores, tensor, (axis, shape), producer, edit)
        else:
            edit.declare(tensor, found.dtype, shape)

    def _take_largest(
        self,
        scores: gs.Tensor,
        tensor: gs.Variable,
        about: tuple[int, list[Dim]],
        producer: gs.Node,
        edit: Edit,
    ) -> None:
        axis, shape = about
        places: Any = edit.variable(f"{tensor.name}_indices")
        k = np.array([self.top_k]) if edit.graph.opset >= 10 else self.top_k
        node = build(
            edit, "TopK", [scores], [tensor, places], {"k": k}, {"axis": axis}, at=producer
        )
        mark(node, _NAME, edit)
        shape[axis] = self.top_k
        edit.declare(tensor, tensor.dtype, shape)
        edit.declare(places, np.dtype(np.int64), shape)
        outputs = list(edit.graph.outputs)
        at = next(place for place, each in enumerate(outputs) if each is tensor)
        edit.set_interface(edit.graph.inputs, [*outputs[: at + 1], places, *outputs[at + 1 :]])


def _score_output(graph: gs.Graph, name: str) -> gs.Tensor:
    known = [tensor.name for tensor in graph.outputs]
    if name and name not in known:
        raise RefusedError(f"the graph has no output '{name}'{nearest(name, known)}")
    marked = [t for t in graph.outputs if not name or t.name == name]
    scores = [t for t in marked if not t.name.endswith("_indices")]
    if len(scores) != 1:
        raise RefusedError(f"the graph has the outputs {', '.join(known)}; name one: output=...")
    return scores[0]
