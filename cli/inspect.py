"""`planish inspect`: nodes with their costs, or channels that go together."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import onnx_graphsurgeon as gs
import typer

from ..backends.contract.registry import describe
from ..ir.core.counted import counted
from ..ir.core.errors import LoadError, PlanishError
from ..ir.files.load import load
from ..passes.analysis.channels.find_groups import channel_groups
from ..passes.analysis.cost import GraphCost, cost
from ..passes.analysis.roofline import Machine, Roofline, measure_machine, roofline
from .feeds import assignment
from .options import ModelFile, ThreadsOption
from .show.console import out, print_json, print_plain
from .show.cost import cost_table, machine_line


def inspect(
    model: ModelFile,
    size: Annotated[
        list[str] | None, typer.Option(help="A dynamic dimension, `N=8`; others count as 1.")
    ] = None,
    most: Annotated[int | None, typer.Option(min=0, help="Show only the first nodes.")] = None,
    top: Annotated[
        int | None, typer.Option(min=1, help="Show only the slowest nodes, the slowest first.")
    ] = None,
    peak_gflops: Annotated[
        float | None, typer.Option(help="What the machine computes, in GFLOP/s; default: measured.")
    ] = None,
    bandwidth_gbs: Annotated[
        float | None, typer.Option(help="What its memory moves, in GB/s; default: measured.")
    ] = None,
    threads: ThreadsOption = None,
    groups: Annotated[
        bool, typer.Option("--groups", help="Show instead which channels can only go together.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show the nodes of a model with their MACs, parameters, bytes and roofline times.

    The roofline time is the least that the machine needs: it is bound by computing or by memory.
    Of what a backend saved, show what it says of itself.
    """
    try:
        graph = load(model)
    except LoadError:
        lines = describe(model)
        if lines is None:
            raise
        for line in lines:
            print_plain(line)
        return None
    if groups and as_json:
        raise PlanishError("--groups is shown as text only; leave --json out")
    if groups:
        return _show_groups(graph)
    found = cost(graph, dict(assignment(item, int) for item in size or ()))
    machine = measure_machine(
        threads,
        peak=None if peak_gflops is None else 1e9 * peak_gflops,
        bandwidth=None if bandwidth_gbs is None else 1e9 * bandwidth_gbs,
    )
    times = roofline(found, machine)
    if as_json:
        return print_json(_as_json(found, times, machine))
    given = [peak_gflops is not None, bandwidth_gbs is not None]
    _show_interface(graph)
    out.print(machine_line(machine, *given), highlight=False)
    out.print(cost_table(found, times, most, top))
    if found.unknown:
        unknown = counted(
            found.unknown,
            "node has an unknown shape and is not in the totals",
            "nodes have unknown shapes and are not in the totals",
        )
        out.print(unknown)
    return None


def _show_groups(graph: gs.Graph) -> None:
    for group in channel_groups(graph):
        out.print(f"{group}\n", highlight=False, markup=False, soft_wrap=True)


def _show_interface(graph: gs.Graph) -> None:
    for title, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        for tensor in tensors:
            print_plain(f"{title} {tensor.name}: {tensor.shape}")


def _as_json(found: GraphCost, times: Roofline, machine: Machine) -> dict[str, Any]:
    roofs = [
        {"seconds": node.seconds, "share": node.share, "bound": node.bound} for node in times.nodes
    ]
    times_of = {"machine": asdict(machine), "seconds": times.seconds, "nodes": roofs}
    return {**asdict(found), "roofline": times_of}
