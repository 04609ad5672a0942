"""Give a network other input sizes than it was exported at.

f(x), x [10, 3, 32, 32]   ->   f(x), x [1, 3, 320, 320]

Layers slide over any size; what a file declares of inner sizes follows from the inputs. What stands
in the way are constants that an exporter has computed from the size: the target of a Reshape, the
sizes of a Resize, the window of a pool over everything. Each is set to what it is at the new size
where the old one says what that is (`rules`); where it does not, nothing is changed and the node is
named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import onnx_graphsurgeon as gs

from ....ir.core.errors import ExecutionError, FeedError, RefusedError
from ....ir.core.variables import FUSED_DOMAIN
from ....ir.graph.clone import clone
from ....ir.graph.edit import Edit
from ....ir.graph.types import Dim, Types
from ....ir.graph.uses import scopes
from ....ir.ops.shapes.infer import declared_type, infer_types
from ....ir.run.feeds import random_feeds
from ....ir.run.reference import Reference
from ...engine.context import Context
from ...engine.contract import Pass
from ...engine.node_names import check_node_names
from .asked import read_sizes, shapes_asked
from .like import told_by
from .mend import Mend, Told, nodes_of
from .plan import plan
from .splits import Parts
from .symbols import Shapes, new_names, open_sizes

_COMPLAINT = "(op_type:"
_FUSED = (
    "; fused operators may hold values for one size: set the sizes before the passes that make "
    "them, as in set-shapes{...},exact"
)
_UNCOMPARED = (
    "no comparison at the new size says that these are right: compare one result with the source "
    "network"
)


@dataclass(frozen=True)
class SetShapes(Pass):
    """Set the sizes of inputs, and bind sizes that have a name.

    Inner and output sizes are inferred anew. Constants that hold a size which has changed are
    mended where that size is the operand's own, or that of every tensor before it with this size on
    this axis; else the pass refuses, and names the nodes; so it does for a few numbers that were
    such a size, as in a division by the width. The result is run once at the new size. It is
    compared with no other: what is verified is what other passes do to it. Compare one result with
    the source network at the new size.

    Where a Reshape takes an axis apart, as into windows or patches, one part stays and the other
    follows: the one that recurs, as the 2 of 32 = 16 * 2 and 16 = 8 * 2, or without which the
    network does not run. Where neither says so, the pass refuses; `windows` says it.

    - `shapes`: what is set, such as `["input.1=1,3,320,320","batch=1"]`; without quotes,
      `[input.1:1x3x320x320,batch:1]`.
    - `keep`: nodes that stay as they are.
    - `follow`: pools, Resizes and TopK whose windows and sizes go with those of their inputs.
    - `windows`: sizes of windows, patches, cells that stay where a Reshape takes an axis apart.
    - `like`: a file with another export of the network, by the same exporter, at other sizes:
      constants that are the same in both stay, the others go along.
    """

    name: ClassVar[str] = "set-shapes"
    exact: ClassVar[bool] = True
    keeps_interface: ClassVar[bool] = False

    shapes: tuple[str, ...]
    keep: tuple[str, ...] = ()
    follow: tuple[str, ...] = ()
    windows: tuple[int, ...] = ()
    like: str = ""

    def __post_init__(self) -> None:
        """Check that the sizes can be read."""
        read_sizes(self.shapes)

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Set the shapes of the inputs of `graph`."""
        shapes = shapes_asked(graph, read_sizes(self.shapes))
        if not shapes:
            return
        before = {t.name: t.shape for t in graph.inputs}
        check_node_names(graph, "keep", self.keep)
        check_node_names(graph, "follow", self.follow)
        told = Told(
            keep=frozenset(self.keep),
            follow=frozenset(self.follow),
            parts=Parts(given=frozenset(self.windows)),
        )
        if self.like:
            told = told_by(graph, Path(self.like), shapes, told)
        if new_names(graph, shapes):
            self._open(graph, shapes, told, context)
            return
        found = plan(graph, shapes, told)
        with context.editing() as edit:
            if not edit.begin():
                return
            for tensor in graph.inputs:
                if tensor.name in shapes:
                    edit.declare(tensor, tensor.dtype, shapes[tensor.name])
            nodes = [node for _, node in nodes_of(graph)]
            for mend in found.mends:
                _apply(mend, nodes[mend.place], edit)
        declare_inferred(graph, context.infer())
        for tensor in graph.outputs:
            if tensor.name in found.outputs:
                tensor.shape = list(found.outputs[tensor.name])
        _need_running(graph, context.original or graph)
        _need_elements(found.outputs)
        for line in _shown(graph, shapes, before):
            context.remark(line)
        for line in (*(mend.told for mend in found.mends), *found.told):
            context.remark(line)
        if found.mends:
            context.remark(self._compared())

    def _open(self, graph: gs.Graph, shapes: Shapes, told: Told, context: Context) -> None:
        """Give sizes names, and say so."""
        before = {t.name: t.shape for t in graph.inputs}
        with context.editing() as edit:
            if not edit.begin():
                return
            lines = open_sizes(graph, shapes, told, edit)
        declare_inferred(graph, context.infer())
        for line in (*_shown(graph, shapes, before), *lines):
            context.remark(line)
        if lines:
            context.remark(self._compared())

    def _compared(self) -> str:
        if self.like:
            return f"at the sizes of '{self.like}' the same rules give the constants that it holds"
        return _UNCOMPARED


def set_shapes(graph: gs.Graph, shapes: Iterable[str]) -> tuple[gs.Graph, tuple[str, ...]]:
    """Return a copy of `graph` with the sizes of `shapes`, and what to tell a person of it.

    `shapes`: items as `NAME=1,3,320,320` or `batch=1`. Raises RefusedError as `set-shapes` does.
    """
    made = clone(graph)
    context = Context(made, original=graph)
    SetShapes(tuple(shapes)).run(made, context)
    return made, context.remarks


def declare_inferred(graph: gs.Graph, types: Types) -> None:
    """Declare inner tensors and outputs of `graph` as `types` have them, none where unknown."""
    given = {id(tensor) for tensor in graph.inputs}
    for scope in scopes(graph):
        for node in scope.nodes:
            for tensor in node.outputs:
                if isinstance(tensor, gs.Variable) and tensor.shape is not None:
                    tensor.shape = _shape_of(tensor, types)
    for tensor in graph.outputs:
        if isinstance(tensor, gs.Variable) and id(tensor) not in given:
            tensor.shape = _shape_of(tensor, types)


def _shape_of(tensor: gs.Tensor, types: Types) -> list[Dim] | None:
    found = types.of(tensor)
    shape = None if found is None else declared_type(found).shape
    return None if shape is None else list(shape)


def _apply(mend: Mend, node: gs.Node, edit: Edit) -> None:
    inputs = list(node.inputs)
    for position, values in mend.inputs.items():
        inputs[position] = edit.constant(values, f"{node.inputs[position].name}_sized")
    if not mend.attrs:
        for position in mend.inputs:
            edit.set_input(node, position, inputs[position])
        return
    edit.remove(node)
    attrs = {**node.attrs, **mend.attrs}
    edit.node(node.op, inputs, list(node.outputs), attrs, at=node, domain=node.domain)


def _need_running(graph: gs.Graph, original: gs.Graph) -> None:
    """Raise RefusedError where `graph` does not run, and `original` does."""
    try:
        # With its optimizations, which believe what inference says of sizes.
        Reference(graph, optimized=True)(random_feeds(graph)[0])
    except FeedError:
        return  # too large to draw, or no tensor: nobody knows
    except ExecutionError as error:
        problem = infer_types(graph).problem
        if _runs(original):
            fused = any(node.domain == FUSED_DOMAIN for node in graph.nodes)
            raise RefusedError(
                "the sizes cannot be set: at them the network does not run: "
                f"{_first_of(problem or str(error))}{_FUSED if fused else ''}"
            ) from error


def _first_of(problem: str) -> str:
    """Return what inference complains of first: the rest follows from it."""
    parts = problem.split(_COMPLAINT)
    return problem if len(parts) < 3 else _COMPLAINT.join(parts[:2]).partition("): [")[0] + ")"


def _need_elements(outputs: Mapping[str, Sequence[int]]) -> None:
    """Raise RefusedError where an output has no elements: something was cut out of too little."""
    for name, shape in outputs.items():
        if 0 in shape:
            raise RefusedError(
                f"the sizes cannot be set: output '{name}' would be {list(shape)}, without elements"
            )


def _runs(graph: gs.Graph) -> bool:
    try:
        Reference(graph)(random_feeds(graph)[0])
    except (FeedError, ExecutionError):
        return False
    return True


def _shown(
    graph: gs.Graph, shapes: Collection[str], before: Mapping[str, Sequence[Dim] | None]
) -> list[str]:
    inputs = [
        f"{t.name}: {_text(before[t.name])} -> {_text(t.shape)}"
        for t in graph.inputs
        if t.name in shapes
    ]
    outputs = [f"{t.name} {_text(t.shape)}" for t in graph.outputs]
    word = "output" if len(outputs) == 1 else "outputs"
    return [f"{', '.join(inputs)}; {word} {', '.join(outputs)}"]


def _text(shape: Sequence[Dim] | None) -> str:
    sizes = ["?" if dim is None else str(dim) for dim in shape or ()]
    return "[?]" if shape is None else f"[{','.join(sizes)}]"
