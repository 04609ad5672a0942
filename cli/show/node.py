"""What `planish inspect MODEL NODE` shows."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from ...ir.core.scaled import scaled
from ...ir.core.shown import in_short
from ...passes.analysis.cost import NodeCost
from ...tools.report.document import ConstantEntry, NodeEntry
from ...tools.report.neighbours import Neighbour
from .plain import plain_table


def node_lines(node: NodeEntry, cost: NodeCost | None) -> Iterator[str]:
    """Yield what a node is: operator and name, its results, what it costs, its attributes."""
    operator = f"{node.domain}.{node.op}" if node.domain else node.op
    yield f"{operator} '{in_short(node.name)}'"
    if cost is not None:
        parts = [f"{scaled(cost.macs)} MACs", f"{scaled(cost.parameters)} parameters"]
        yield ", ".join([*parts, f"{scaled(cost.bytes_moved, 'B')} moved"])
    for name, value in node.attributes.items():
        yield f"  {name} = {value}"


def wires_table(inputs: tuple[Neighbour, ...], outputs: tuple[Neighbour, ...]) -> Table:
    """Return the table of what a node reads and makes, with its neighbours there."""
    table = plain_table("", "tensor", "type", "from, or to")
    for side, neighbours in (("input", inputs), ("output", outputs)):
        for each in neighbours:
            others = ", ".join(map(in_short, each.nodes)) or each.role
            table.add_row(f"{side} {each.place}", in_short(each.tensor), each.type, others)
    return table


def constants_table(constants: tuple[ConstantEntry, ...]) -> Table:
    """Return the table of the constants that a node reads, with statistics of their values."""
    table = plain_table("constant", "type", ">least", ">largest", ">mean", ">zeros")
    for each in constants:
        figures = (each.least, each.largest, each.mean)
        table.add_row(
            f"input {each.input}",
            each.type,
            *("" if figure is None else f"{figure:.4g}" for figure in figures),
            "" if each.zeros is None else f"{100 * each.zeros:.1f} %",
        )
    return table
