"""How large a graph was and is: nodes, operators, multiply-accumulates and parameters."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import onnx_graphsurgeon as gs
from rich.table import Table

from ...ir.core.errors import PlanishError
from ...ir.core.scaled import scaled
from ...ir.graph.uses import scopes
from ...passes.analysis.cost import cost
from .plain import plain_table


@dataclass(frozen=True)
class GraphSize:
    """Nodes by operator, in bodies of If, Loop and Scan too, and the cost of the main graph.

    `macs`, `parameters`: None where the graph contradicts itself. Dynamic sizes count as `cost`
    has them. `unknown`: how many nodes have a shape that is not known, and are left out of MACs.
    """

    operators: dict[str, int]
    macs: int | None
    parameters: int | None
    unknown: int = 0

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return sum(self.operators.values())


def size_of(graph: gs.Graph) -> GraphSize:
    """Return the size of a graph."""
    operators = Counter(node.op for scope in scopes(graph) for node in scope.nodes)
    by_name = dict(sorted(operators.items()))
    try:
        found = cost(graph)
    except PlanishError:
        return GraphSize(by_name, None, None)
    return GraphSize(by_name, found.macs, found.parameters, found.unknown)


def size_line(before: GraphSize, after: GraphSize, fused: int) -> str:
    """Say in one line what became of nodes, MACs and parameters.

    `fused`: the nodes of the result before fused operators were inlined for its file.
    """
    inlined = "" if fused == after.nodes else f" ({fused} before fused operators were inlined)"
    parts = [f"{_change(str(before.nodes), str(after.nodes), 'nodes')}{inlined}"]
    if before.macs is not None and after.macs is not None:
        parts.append(_change(_macs(before), _macs(after), "MACs"))
    if before.parameters is not None and after.parameters is not None:
        numbers = (scaled(before.parameters), scaled(after.parameters))
        parts.append(_change(*numbers, "parameters"))
    return ", ".join(parts)


def operators_table(before: GraphSize, after: GraphSize) -> Table:
    """Return the table of operators, what there is most of first."""
    table = plain_table("operator", ">before", ">after")
    names = {**before.operators, **after.operators}
    pairs = {name: (before.operators.get(name, 0), after.operators.get(name, 0)) for name in names}
    for name, (old, new) in sorted(pairs.items(), key=lambda item: (-max(item[1]), item[0])):
        table.add_row(name, str(old) if old else "", str(new) if new else "")
    return table


def _macs(size: GraphSize) -> str:
    """Write the MACs; of a graph with unknown shapes they are the least that there may be."""
    return f"{'over ' if size.unknown else ''}{scaled(size.macs)}"


def _change(before: str, after: str, unit: str) -> str:
    if before != after:
        return f"{before} -> {after} {unit}"
    return f"{before} {unit.removesuffix('s') if before == '1' else unit}"
