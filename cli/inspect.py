"""`planish inspect`: nodes with their costs, or channels that go together."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import onnx_graphsurgeon as gs
import typer

from ..backends.contract.registry import describe
from ..ir.core.counted import counted
from ..ir.core.errors import GraphError, LoadError
from ..ir.core.shown import in_short, one_line
from ..passes.analysis.channels.find_groups import channel_groups
from ..passes.analysis.channels.group import ChannelGroup
from ..passes.analysis.cost import NodeCost, cost
from ..passes.analysis.roofline import Machine, measure_machine, roofline
from ..tools.report.neighbours import NodeAround, node_around
from .feeds import assignment
from .given import given_model
from .options import (
    InputShapeOption,
    JsonOption,
    MutableOption,
    ThreadsOption,
    refuse_unread,
)
from .show.console import is_verbose, out, print_plain, teller
from .show.cost import cost_table, machine_line, shown_nodes
from .show.models_json import models_json
from .show.node import constants_table, node_lines, wires_table
from .show.printable import as_message

_SUFFIXES = frozenset({".onnx", ".pb", ".ort", ".planish", ".json"})


def inspect(
    given: Annotated[
        list[str],
        typer.Argument(
            help="ONNX files; - reads standard input. Behind one file, the name of a node.",
            metavar="MODELS",
            show_default=False,
        ),
    ],
    node: Annotated[
        str | None,
        typer.Option(help="Show one node, named, or by what it makes, and what is around it."),
    ] = None,
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
        float | None,
        typer.Option(min=0.001, help="What the machine computes, in GFLOP/s; default: measured."),
    ] = None,
    bandwidth_gbs: Annotated[
        float | None,
        typer.Option(min=0.001, help="What its memory moves, in GB/s; default: measured."),
    ] = None,
    threads: ThreadsOption = None,
    mutable_initializers: MutableOption = False,
    groups: Annotated[
        bool, typer.Option("--groups", help="Show instead which channels can only go together.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the nodes of models with their MACs, parameters, bytes and roofline times, or one node.

    The roofline time is the least that the machine needs: it is bound by computing or by memory.
    Of what a backend saved, show what it says of itself.
    """
    if node is None and len(given) == 2 and not _may_be_model(given[1]):
        given, node = given[:1], given[1]  # as it is: a path would lose some of a name
    models = [Path(each) for each in given]
    if node is not None:
        refuse_unread(
            "one node is shown",
            groups=groups,
            most=most,
            top=top,
            peak_gflops=peak_gflops,
            bandwidth_gbs=bandwidth_gbs,
            threads=threads,
        )
    if groups:
        refuse_unread(
            "--groups is shown of any size and machine",
            size=size,
            peak_gflops=peak_gflops,
            bandwidth_gbs=bandwidth_gbs,
            threads=threads,
        )
    if peak_gflops is not None and bandwidth_gbs is not None:
        refuse_unread("nothing is left to measure with them", threads=threads)
    view = _View(
        peak=None if peak_gflops is None else 1e9 * peak_gflops,
        bandwidth=None if bandwidth_gbs is None else 1e9 * bandwidth_gbs,
        threads=threads,
        sizes=dict(assignment(item, int) for item in size or ()),
        most=most,
        top=top,
    )
    with models_json(shown=as_json, alone=len(models) == 1) as found:
        for model in models:
            if len(models) > 1 and not as_json:
                print_plain(f"{model}:")
            try:
                graph = given_model(
                    model, input_shape, mutable=mutable_initializers, tell=teller(as_json=as_json)
                )
            except LoadError:
                lines = describe(model)
                if lines is None:
                    raise
                refuse_unread(
                    f"what '{model}' says of itself is shown as text",
                    groups=groups,
                    json=as_json,
                    input_shape=input_shape,
                    size=size,
                    most=most,
                    top=top,
                    peak_gflops=peak_gflops,
                    bandwidth_gbs=bandwidth_gbs,
                    threads=threads,
                    mutable_initializers=mutable_initializers,
                )
                for line in lines:
                    print_plain(line)
                continue
            if node is not None:
                around, cost_of = _node(model, graph, node, view.sizes)
                if as_json:
                    told = {"cost": None if cost_of is None else asdict(cost_of)}
                    found.append({"model": str(model), **asdict(around), **told})
                else:
                    _show_node(around, cost_of)
            elif groups and as_json:
                found.append({"model": str(model), **_groups_as_json(graph, most, top)})
            elif groups:
                _show_groups(graph, most, top)
            elif as_json:
                found.append({"model": str(model), **view.as_json(graph)})
            else:
                view.show(graph)


def _may_be_model(text: str) -> bool:
    """Say whether a second argument is a file, or is called like one, and no node."""
    path = Path(text)
    if text == "-" or path.suffix in _SUFFIXES:
        return True
    try:
        return bool(text) and path.exists()
    except OSError:  # longer than names of files are
        return False


def _node(
    model: Path, graph: gs.Graph, name: str, sizes: dict[str, int]
) -> tuple[NodeAround, NodeCost | None]:
    """Return a node with what is around it, and what it costs; None in bodies."""
    try:
        found = node_around(graph, name)
    except GraphError as error:
        raise GraphError(f"{model}: {error}") from error
    return found, None if found.place is None else cost(graph, sizes).nodes[found.place]


def _show_node(found: NodeAround, cost_of: NodeCost | None) -> None:
    for line in node_lines(found.node, cost_of):
        print_plain(line)
    out.print()
    out.print(wires_table(found.inputs, found.outputs))
    if found.node.constants:
        out.print()
        out.print(constants_table(found.node.constants))


@dataclass(frozen=True, kw_only=True)
class _View:
    """What is shown of a model: on which machine, of which sizes, and how much of it."""

    peak: float | None
    bandwidth: float | None
    threads: int | None
    sizes: dict[str, int]
    most: int | None
    top: int | None

    @functools.cached_property
    def machine(self) -> Machine:
        """The machine, measured once as far as it is not given."""
        return measure_machine(self.threads, peak=self.peak, bandwidth=self.bandwidth)

    def show(self, graph: gs.Graph) -> None:
        """Print inputs, outputs, the machine, and the table of nodes."""
        found = cost(graph, self.sizes)
        times = roofline(found, self.machine)
        _show_interface(graph)
        if is_verbose():
            print_plain(f"opset {graph.opset}, {_operators(graph)}")
        given = (self.peak is not None, self.bandwidth is not None)
        out.print(machine_line(self.machine, *given), highlight=False)
        out.print(cost_table(found, times, self.most, self.top))
        if found.unknown:
            unknown = counted(
                found.unknown,
                "node has an unknown shape and is not in the totals",
                "nodes have unknown shapes and are not in the totals",
            )
            out.print(unknown)

    def as_json(self, graph: gs.Graph) -> dict[str, Any]:
        """Return totals of all nodes, and the costs and times of those that are shown."""
        found = cost(graph, self.sizes)
        times = roofline(found, self.machine)
        shown = shown_nodes(times, self.most, self.top)
        roofs = [{"seconds": n.seconds, "share": n.share, "bound": n.bound} for n in shown]
        times_of = {
            "machine": asdict(self.machine),
            "seconds": times.seconds,
            "nodes": roofs,
        }
        nodes = tuple(node.cost for node in shown)
        return {**asdict(replace(found, nodes=nodes)), "roofline": times_of}


def _operators(graph: gs.Graph) -> str:
    """Write how often each operator is there, the most frequent first."""
    counts = Counter(node.op for node in graph.nodes)
    return ", ".join(op if n == 1 else f"{n} {op}" for op, n in counts.most_common())


def _shown_groups(
    graph: gs.Graph, most: int | None, top: int | None
) -> tuple[list[ChannelGroup], int]:
    """Return the groups to show, and how many there are."""
    found = channel_groups(graph)
    shown = list(found[:most])
    if top is not None:
        shown = sorted(shown, key=lambda group: -group.channels)[:top]
    return shown, len(found)


def _show_groups(graph: gs.Graph, most: int | None, top: int | None) -> None:
    shown, count = _shown_groups(graph, most, top)
    for group in shown:
        out.print(f"{as_message(str(group))}\n", highlight=False, markup=False, soft_wrap=True)
    if len(shown) < count:
        out.print(f"... {count - len(shown)} more", highlight=False)


def _groups_as_json(graph: gs.Graph, most: int | None, top: int | None) -> dict[str, Any]:
    """Return how many groups there are, and what the shown ones are made of."""
    shown, count = _shown_groups(graph, most, top)
    groups = [
        {
            "name": group.name,
            "channels": group.channels,
            "reason": group.reason,
            "constants": [
                {
                    "role": slot.role,
                    "node": slot.layer,
                    "constant": slot.constant.name,
                    "axis": slot.axis,
                }
                for slot in group.slots
            ],
            "tensors": [{"name": one.tensor.name, "axis": one.axis} for one in group.carriers],
        }
        for group in shown
    ]
    return {"count": count, "groups": groups}


def _show_interface(graph: gs.Graph) -> None:
    for title, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        fed = [tensor for tensor in tensors if not isinstance(tensor, gs.Constant)]
        for tensor in fed:
            print_plain(f"{title} {in_short(one_line(tensor.name))}: {tensor.shape}")
        if len(fed) < len(tensors):
            weights = counted(len(tensors) - len(fed), "weight that is", "weights that are")
            print_plain(f"and {weights} also {title}s")
