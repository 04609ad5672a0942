"""What `planish inspect` shows: costs and roofline times."""

from __future__ import annotations

from rich.table import Table

from ...ir.core.durations import duration
from ...ir.core.scaled import scaled
from ...ir.core.shown import in_short
from ...passes.analysis.cost import GraphCost
from ...passes.analysis.roofline import Machine, NodeTime, Roofline
from .numbers import shape_of, three
from .plain import plain_table


def machine_line(machine: Machine, peak_given: bool, bandwidth_given: bool) -> str:
    """Say in one line which figures of the machine the roofline is drawn from."""
    how = [" (given)" if given else " (measured)" for given in (peak_given, bandwidth_given)]
    return (
        f"machine: {scaled(three(machine.peak), 'FLOP/s')}{how[0]}, "
        f"{scaled(three(machine.bandwidth), 'B/s')}{how[1]}; compute-bound from "
        f"{machine.ridge:.1f} FLOP/B on"
    )


def shown_nodes(times: Roofline, most: int | None, top: int | None) -> tuple[NodeTime, ...]:
    """Return the first `most` nodes, and of those the `top` slowest in falling order.

    Constants, which compute nothing, are left out: their readers have their parameters.
    """
    shown = _computing(times)[:most]
    if top is None:
        return shown
    return tuple(sorted(shown, key=lambda node: -(node.seconds or 0))[:top])


def _computing(times: Roofline) -> tuple[NodeTime, ...]:
    return tuple(node for node in times.nodes if node.cost.op != "Constant")


def cost_table(
    cost: GraphCost, times: Roofline, most: int | None = None, top: int | None = None
) -> Table:
    """Return the table of nodes with their costs and roofline times, and the totals.

    At most the first `most` nodes are shown, or the `top` slowest in falling order.
    """
    columns = ("MACs", "parameters", "bytes moved", "roofline", "share")
    table = plain_table("node", "output", *(f">{name}" for name in columns), "bound")
    table.show_footer = True
    shown = shown_nodes(times, most, top)
    for node in shown:
        shape = node.cost.output_shape
        table.add_row(
            in_short(node.cost.node),
            shape_of(shape) or "?",
            "" if node.cost.macs == 0 else scaled(node.cost.macs),
            "" if node.cost.parameters == 0 else scaled(node.cost.parameters),
            scaled(node.cost.bytes_moved, "B"),
            duration(node.seconds),
            "?" if node.share is None else f"{100 * node.share:.1f} %",
            node.bound or "?",
        )
    left = len(_computing(times)) - len(shown)
    if left:
        table.add_row(f"... {left} more", *[""] * 7)
    totals = (
        "total",
        "",
        scaled(cost.macs),
        scaled(cost.parameters),
        scaled(cost.bytes_moved, "B"),
        duration(times.seconds),
        "",
        "",
    )
    for column, total in zip(table.columns, totals, strict=True):
        column.footer = total
    return table
