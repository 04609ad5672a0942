"""The order in which the layers of a graph are fitted, and what their second moments may take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import onnx_graphsurgeon as gs

from ....ir.core.variables import subgraphs_of
from ....ir.ops.linear.layer import Layer

Each = TypeVar("Each")

# What the moments of the layers that are looked at in one run may take.
_MOST_BYTES = 2**29
# Columns of one matrix of moments: 0.3 GB, and three times that while it is factored.
MOST_COLUMNS = 6144
# Multiply-adds of one product of all moments with themselves and with the weights. Fitting takes
# some ten times that, about a minute of one core; fewer columns than the least are never taken.
_MOST_WORK = 2e11
_LEAST_COLUMNS = 384


def columns_within_work(layers: Iterable[Layer]) -> int:
    """Return the columns up to which one matrix of moments is kept whole, for all of `layers`.

    Time grows with their third power: where a network has many layers of thousands of columns, the
    blocks of all of them are smaller. It is bounded by counting, so that results do not depend on
    the machine.
    """
    known, most = list(layers), MOST_COLUMNS
    while most // 2 >= _LEAST_COLUMNS and sum(_work(each, most) for each in known) > _MOST_WORK:
        most //= 2
    return most


def _work(layer: Layer, most: int) -> float:
    columns, parts = layer.weight.size / layer.outputs, parts_of(layer, most)
    return layer.group * columns**2 / parts * (columns / parts + layer.outputs / layer.group)


def stages_of(
    graph: gs.Graph, layers: Sequence[Layer], most_columns: int | None = None
) -> Iterator[list[Layer]]:
    """Yield lists of layers none of which reads, however indirectly, what another gives.

    Every layer comes after those whose results reach it. `most_columns`: see `parts_of`.
    """
    for level in levels_of(
        graph, {id(one.node): one for one in layers}, lambda layer: layer.result
    ):
        yield from within_memory(level, most_columns)


def levels_of(
    graph: gs.Graph, layers: Mapping[int, Each], result: Callable[[Each], gs.Tensor]
) -> list[list[Each]]:
    """Return `layers`, by id of their nodes, in levels: none reads what another of its level gives.

    A level comes after those whose results reach it. `result`: what a layer gives in the end.
    """
    ends = {id(result(layer)) for layer in layers.values()}
    depth: dict[int, int] = {}
    levels: dict[int, list[Each]] = {}
    deepest = 0
    for node in graph.nodes:
        level = max((depth.get(id(t), 0) for t in node.inputs), default=0)
        if any(True for _ in subgraphs_of(node)):
            level = deepest  # its bodies may read anything made before
        if id(node) in layers:
            levels.setdefault(level, []).append(layers[id(node)])
        for tensor in node.outputs:
            depth[id(tensor)] = level + (id(tensor) in ends)
            deepest = max(deepest, depth[id(tensor)])
    return [levels[level] for level in sorted(levels)]


def within_memory(
    layers: Iterable[Layer], most_columns: int | None = None
) -> Iterator[list[Layer]]:
    """Yield `layers` in runs whose moments fit into the memory set aside for them."""
    run: list[Layer] = []
    size = 0
    for layer in layers:
        own = moment_bytes(layer, most_columns)
        if run and size + own > _MOST_BYTES:
            yield run
            run, size = [], 0
        run.append(layer)
        size += own
    if run:
        yield run


def parts_of(layer: Layer, most_columns: int | None = None) -> int:
    """Return how many blocks on the diagonal are kept of the second moment of a layer's inputs.

    `most_columns`: of one block; None for what memory allows.
    """
    most = MOST_COLUMNS if most_columns is None else most_columns
    return -(-(layer.weight.size // layer.outputs) // most)


def moment_bytes(layer: Layer, most_columns: int | None = None) -> int:
    """Return what the second moments of a layer take in float64, in two halves."""
    columns, parts = layer.weight.size // layer.outputs, parts_of(layer, most_columns)
    cross = layer.outputs if parts == 1 else 0
    return 2 * 8 * columns * (layer.group * columns // parts + cross)
