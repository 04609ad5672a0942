"""`planish inspect`: nodes with their costs, or channels that go together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any

import onnx_graphsurgeon as gs
import typer

from ..backends.contract.registry import describe
from ..ir.core.counted import counted
from ..ir.core.errors import LoadError, PlanishError
from ..passes.analysis.channels.find_groups import channel_groups
from ..passes.analysis.cost import GraphCost, cost
from ..passes.analysis.roofline import (
    Machine,
    NodeTime,
    Roofline,
    measure_machine,
    roofline,
)
from .feeds import assignment
from .given import given_model
from .options import InputShapeOption, JsonOption, ModelFile, MutableOption, ThreadsOption
from .show.console import out, print_json, print_plain, teller
from .show.cost import cost_table, machine_line, shown_nodes


def inspect(
    model: ModelFile,
    input_shape: InputShapeOption = None,
    size: Annotated[list[str] | None, typer.Option(hidden=True)] = None,
    most: Annotated[
        int | None, typer.Option(min=0, help="Show only the first nodes, or groups.")
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Show only the slowest nodes, the slowest first; with --groups, the largest ones.",
        ),
    ] = None,
    peak_gflops: Annotated[
        float | None, typer.Option(help="What the machine computes, in GFLOP/s; default: measured.")
    ] = None,
    bandwidth_gbs: Annotated[
        float | None, typer.Option(help="What its memory moves, in GB/s; default: measured.")
    ] = None,
    threads: ThreadsOption = None,
    mutable_initializers: MutableOption = False,
    groups: Annotated[
        bool, typer.Option("--groups", help="Show instead which channels can only go together.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the nodes of a model with their MACs, parameters, bytes and roofline times.

    The roofline time is the least that the machine needs: it is bound by computing or by memory.
    Of what a backend saved, show what it says of itself.
    """
    try:
        graph = given_model(
            model, input_shape, mutable=mutable_initializers, tell=teller(as_json=as_json)
        )
    except LoadError:
        lines = describe(model)
        if lines is None:
            raise
        if groups or as_json or size or input_shape:
            raise PlanishError(
                f"what '{model}' says of itself is shown as text only; leave --groups, --json and "
                "--input-shape out"
            ) from None
        for line in lines:
            print_plain(line)
        return None
    if groups and (as_json or size):
        option = "--json" if as_json else "--size"
        raise PlanishError(f"--groups is shown as text, of any size; leave {option} out")
    if groups:
        return _show_groups(graph, most, top)
    found = cost(graph, dict(assignment(item, int) for item in size or ()))
    machine = measure_machine(
        threads,
        peak=None if peak_gflops is None else 1e9 * peak_gflops,
        bandwidth=None if bandwidth_gbs is None else 1e9 * bandwidth_gbs,
    )
    times = roofline(found, machine)
    if as_json:
        return print_json(_as_json(found, times, machine, shown_nodes(times, most, top)))
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


def _show_groups(graph: gs.Graph, most: int | None, top: int | None) -> None:
    found = channel_groups(graph)
    shown = found if top is None else sorted(found, key=lambda group: -group.channels)
    shown = shown[: most if top is None else top]
    for group in shown:
        out.print(f"{group}\n", highlight=False, markup=False, soft_wrap=True)
    if len(shown) < len(found):
        out.print(f"... {len(found) - len(shown)} more", highlight=False)


def _show_interface(graph: gs.Graph) -> None:
    for title, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        fed = [tensor for tensor in tensors if not isinstance(tensor, gs.Constant)]
        for tensor in fed:
            print_plain(f"{title} {tensor.name}: {tensor.shape}")
        if len(fed) < len(tensors):
            weights = counted(len(tensors) - len(fed), "weight that is", "weights that are")
            print_plain(f"and {weights} also {title}s")


def _as_json(
    found: GraphCost, times: Roofline, machine: Machine, shown: Sequence[NodeTime]
) -> dict[str, Any]:
    """Return totals of all nodes, and the costs and times of those that are shown."""
    roofs = [{"seconds": node.seconds, "share": node.share, "bound": node.bound} for node in shown]
    times_of = {"machine": asdict(machine), "seconds": times.seconds, "nodes": roofs}
    nodes = tuple(node.cost for node in shown)
    return {**asdict(replace(found, nodes=nodes)), "roofline": times_of}
