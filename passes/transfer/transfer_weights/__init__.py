"""Take the weights of a network from another model of it, or of a relative.

w_target[name] := w_source[name]        where both are the same kind of weight of one shape

Of a source of another shape, `slice` takes the leading part along every axis, as networks that
were widened or thinned share it; what the target has beyond that keeps its values.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError, need
from ....ir.core.errors import RefusedError
from ....ir.core.nearest import nearest
from ....ir.files.given import Model, as_graph
from ....ir.files.load import load
from ....ir.graph.clone import clone
from ....ir.graph.edit import Edit
from ....ir.torch.source import lift_weights
from ...engine.context import Context
from ...engine.contract import Pass
from ...fusion.inline_fused_operators import inline_fused_operators
from .fit import fit
from .pairing import By, pair, read_rename, renamed
from .parameters import NamedWeight, read_parameters
from .report import Status, TransferReport, TransferRow

Array = np.ndarray[Any, Any]
_MOST_NEAREST = 3
_MOST_NAMES = 5


@dataclass(frozen=True, kw_only=True)
class TransferWeights(Pass):
    """Take weights from another model by name and shape, and tell what was taken and what was left.

    Masks, and weights stored as integers, are left.

    - `source`: the model's file.
    - `slice`: where shapes differ, take the leading part that fits along each axis.
    - `rename`: prefixes of the source's names and what they are here, such as `backbone.=`.
    - `only`: patterns (`layer1.*`) of the names here, of which to take no others.
    - `exclude`: patterns of the names here that keep their values.
    - `by`: `name`; or `place`, which also pairs weights whose names tell nothing by where they
      stand in the network, as far as no two stand alike.
    """

    name: ClassVar[str] = "transfer-weights"
    exact: ClassVar[bool] = False
    keeps_outputs: ClassVar[bool] = False

    source: str
    slice: bool = False
    rename: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    by: By = "name"

    def __post_init__(self) -> None:
        """Check the prefixes."""
        read_rename(self.rename)

    def run(self, graph: gs.Graph, context: Context) -> None:
        """Load the source, pair the weights, write those that differ, and tell."""
        for line in self.transfer(graph, load(self.source), context).remarks():
            context.remark(line)

    def transfer(self, graph: gs.Graph, source: gs.Graph, context: Context) -> TransferReport:
        """Write the weights of `source`, which this may change, into `graph`; tell of each."""
        inline_fused_operators(graph, context)
        inline_fused_operators(source, context.on(source))
        lift_weights(source)
        targets = self._chosen(read_parameters(graph))
        sources = self._named(read_parameters(source))
        pairing = pair(graph, source, targets, sources, self.by)
        rows: list[TransferRow] = []
        used: set[int] = set()
        with context.editing() as edit:
            for each in targets:
                row = TransferRow(
                    name=each.name, status="left", size=each.size, values=each.values.size
                )
                try:
                    need(not each.obstacle, each.obstacle)
                    found = need(pairing.sources.get(each.name), pairing.reasons.get(each.name, ""))
                    row = replace(row, source=found.name)
                    fitted = fit(each, found, self.slice)
                except DeclinedError as reason:
                    rows.append(replace(row, note=str(reason)))
                    continue
                used.add(id(found.tensor))
                status: Status = "sliced" if fitted.is_part else "taken"
                rows.append(replace(row, status=status, note=fitted.note))
                _write(each, fitted.values, edit)
        if not used:
            raise RefusedError(_nothing_taken(rows, sources))
        rows += [
            TransferRow(
                name=each.name,
                status="unused",
                size=each.size,
                values=each.values.size,
                note=each.obstacle,
            )
            for each in sources.values()
            if id(each.tensor) not in used
        ]
        return TransferReport(tuple(rows))

    def _chosen(self, targets: Sequence[NamedWeight]) -> list[NamedWeight]:
        names = [each.name for each in targets]
        for option, patterns in (("only", self.only), ("exclude", self.exclude)):
            for pattern in patterns:
                if not fnmatch.filter(names, pattern):
                    raise RefusedError(
                        f"{option} has '{pattern}', which no weight of the graph is called"
                        f"{nearest(pattern, names[:_MOST_NAMES])}"
                    )
        return [
            each
            for each in targets
            if (not self.only or any(fnmatch.fnmatchcase(each.name, p) for p in self.only))
            and not any(fnmatch.fnmatchcase(each.name, p) for p in self.exclude)
        ]

    def _named(self, sources: Sequence[NamedWeight]) -> dict[str, NamedWeight]:
        """Return the weights of the source by the names that they go under here."""
        prefixes = read_rename(self.rename)
        for old, new in prefixes:
            if not any(each.name.startswith(old) for each in sources):
                names = [each.name for each in sources[:_MOST_NAMES]]
                raise RefusedError(
                    f"rename has '{old}={new}', but no weight of the source starts with '{old}'; "
                    f"the first are {', '.join(names)}"
                )
        found: dict[str, NamedWeight] = {}
        for each in sources:
            name = renamed(each.name, prefixes)
            if name in found:
                raise RefusedError(
                    f"rename gives '{found[name].name}' and '{each.name}' of the source the same "
                    f"name, '{name}'"
                )
            found[name] = each
        return found


def transfer_weights(
    target: Model,
    source: Model,
    *,
    slice: bool = False,
    rename: Sequence[str] = (),
    only: Sequence[str] = (),
    exclude: Sequence[str] = (),
    by: By = "name",
) -> tuple[gs.Graph, TransferReport]:
    """Return a copy of `target` with the weights of `source`, and what became of each.

    Options as of the pass `TransferWeights`; neither graph is touched. `str(report)` is a table.
    Raises RefusedError where nothing can be taken.
    """
    target, source = as_graph(target), as_graph(source)
    item = TransferWeights(
        source="",
        slice=slice,
        rename=tuple(rename),
        only=tuple(only),
        exclude=tuple(exclude),
        by=by,
    )
    graph = clone(target)
    report = item.transfer(graph, clone(source), Context(graph))
    return graph, report


def _write(target: NamedWeight, values: Array, edit: Edit) -> None:
    """Let every reader of the weight read `values`, under its name, unless it has them already."""
    if np.array_equal(values, target.values, equal_nan=True) or not edit.begin():
        return
    tensor = target.tensor
    made = edit.constant(values, f"{tensor.name}_new")
    edit.replace(tensor, made)
    producer = edit.uses.producer(tensor)
    if producer is not None:
        edit.remove(producer)
    edit.take_name(made, tensor)


def _nothing_taken(rows: Sequence[TransferRow], sources: Mapping[str, NamedWeight]) -> str:
    hints = [
        f"'{row.name}'{nearest(row.name, sources)}"
        if row.note.endswith("name")
        else f"'{row.name}': {row.note}"
        for row in rows[:_MOST_NEAREST]
    ]
    return (
        f"no weight could be taken from the source, which has {len(sources)} for {len(rows)} here: "
        f'{"; ".join(hints)}; give rename=["from=to"] for prefixes, or by=place'
    )
