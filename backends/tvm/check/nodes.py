"""Nodes that no description of a kernel stands for, each once, on its own: beside ONNX Runtime.

    |TVM's node(x, w, ...) - ONNX operator(x, w, ...)| <= what rounding does    on random inputs

These are the nodes that TVM's importer takes and, on GPUs, those of planish's own kernels too. Each
is a network of one node with the sizes that it has in the network, small odd ones where they are
free. All new ones of a network are compiled as one program, in which none reads another, and each
is held to the tolerances of passes. A node that was found right is not compared again (`known`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ....ir.core.errors import BackendError, FeedError, PlanishError, VerificationError
from ....ir.files.save import to_model
from ....ir.run.feeds import Feed, random_feeds
from ....passes.trust.verify import Verifier
from ..compile.toolchain import Toolchain
from ..program.lowering import Lowered, lower_graph
from ..program.single import SingleNode, graph_of_singles
from ..runtime.header import header_of
from ..runtime.runner import Runner
from ..tuning.cache import Cache, Key
from .known import RIGHT, found_before, keep, key_of_node

# What runs a graph of single nodes on feeds for all of them: results, and whose node is which.
RunNodes = Callable[[gs.Graph, Feed, Toolchain], dict[str, Any]]

_BATCH, _ODD = 3, (5, 7)  # of sizes that are free
_MOST = 9  # integers are drawn up to it
_MOST_ELEMENTS = 1 << 24


@dataclass(frozen=True, kw_only=True)
class WrongNode:
    """An operator that is `fault` as TVM has it: the `nodes` it is, and what shows it."""

    nodes: tuple[str, ...]
    fault: str
    model: onnx.ModelProto
    feeds: Feed
    key: Key

    @property
    def op(self) -> str:
        """The operator."""
        return str(self.model.graph.node[0].op_type)


@dataclass(frozen=True)
class NodeReport:
    """What was found: how many nodes are `right`, those `others` not compared, and wrong ones."""

    right: int = 0
    others: int = 0
    wrong: Sequence[WrongNode] = ()


@dataclass(frozen=True, kw_only=True)
class _NodeTrial:
    """A node to be compared: itself, its model, inputs, and what knows what it should give."""

    key: Key
    single: SingleNode
    nodes: list[str] = field(default_factory=list)
    feed: Feed
    verifier: Verifier
    alone: gs.Graph


def run_nodes(graph: gs.Graph, feed: Feed, toolchain: Toolchain) -> dict[str, Any]:
    """Return the results of single nodes compiled for `toolchain`, without those run elsewhere."""
    lowered = lower_graph(toolchain.single_emitter(graph))
    built = toolchain.build(lowered.module, single_call=False)
    header = header_of(
        graph,
        target=toolchain.target,
        isa=toolchain.isa,
        architecture=toolchain.architecture,
    )
    found = Runner(header, built, lowered.constants, toolchain.threads or 1)(feed)
    return without_fallbacks(found, graph, lowered)


def without_fallbacks(found: dict[str, Any], graph: gs.Graph, lowered: Lowered) -> dict[str, Any]:
    """Return the results `found` of nodes that TVM has; the others are ONNX Runtime's own."""
    kept = {single.name for single in lowered.singles}
    names = {t.name for node in graph.nodes if node.name in kept for t in node.outputs}
    return {name: values for name, values in found.items() if name in names}


def check_nodes(
    lowered: Lowered,
    graph: gs.Graph,
    toolchain: Toolchain,
    cache: Cache,
    run: RunNodes = run_nodes,
) -> NodeReport:
    """Compare every single node of `lowered`, which is `graph`, that is not known to be right."""
    right = others = 0
    trials: dict[str, _NodeTrial | None] = {}
    for single in lowered.singles:
        alone = graph_of_singles([single], graph.opset, graph.import_domains)
        if alone is None:
            others += 1
            continue
        key = key_of_node(to_model(alone), toolchain)
        if key.digest not in trials and found_before(cache, key):
            right += 1
            continue
        if key.digest not in trials:
            trials[key.digest] = _trial(key, single, alone)
        trial = trials[key.digest]
        if trial is None:
            others += 1
        else:
            trial.nodes.append(single.name)
    drawn = [trial for trial in trials.values() if trial is not None]
    wrong = []
    begin = time.perf_counter()
    faults = _faults(drawn, graph, toolchain, run)
    seconds = (time.perf_counter() - begin) / max(1, len(drawn))
    for trial, fault in zip(drawn, faults, strict=True):
        if fault is None:
            others += len(trial.nodes)
        elif fault:
            wrong.append(_wrong(trial, fault))
        else:
            keep(cache, trial.key, RIGHT, seconds)
            right += len(trial.nodes)
    return NodeReport(right, others, wrong)


def _wrong(trial: _NodeTrial, fault: str) -> WrongNode:
    return WrongNode(
        nodes=tuple(trial.nodes),
        fault=fault,
        model=to_model(trial.alone),
        feeds=trial.feed,
        key=trial.key,
    )


def _trial(key: Key, single: SingleNode, alone: gs.Graph) -> _NodeTrial | None:
    """Return inputs for a node and what it gives; None where ONNX Runtime gives nothing."""
    for integers in (_MOST, 1):  # such as run to -9 are no indices, nor sizes
        try:
            feed = _drawn(alone, integers)
            verifier = Verifier(alone, [feed], 0)
        except (FeedError, TypeError):  # text, or types that numpy cannot make of numbers
            return None
        if verifier.active:
            return _NodeTrial(key=key, single=single, feed=feed, verifier=verifier, alone=alone)
    return None


def _drawn(alone: gs.Graph, most: int) -> Feed:
    """Return an input for `alone`: normal numbers, and integers from -`most` to `most`.

    Where an operator says nothing of negative ones, there are none.
    """
    odd: dict[str, int] = {}  # a size that several inputs have is one
    shapes = {tensor.name: _sizes(tensor, odd) for tensor in alone.inputs}
    if sum(int(np.prod(shape)) for shape in shapes.values()) > _MOST_ELEMENTS:
        raise FeedError("too large to be drawn")
    (feed,) = random_feeds(alone, shapes=shapes)
    rng = np.random.default_rng(0)
    positive = most == 1 or _wants_positive(alone)
    for name, values in feed.items():
        if values.dtype.kind in "iu":
            low = 0 if positive or values.dtype.kind == "u" else -most
            drawn = rng.integers(low, most, values.shape, values.dtype, endpoint=True)
            feed[name] = np.asarray(drawn)
        elif positive and values.dtype.kind == "f":
            feed[name] = np.abs(values)
    return feed


def _wants_positive(alone: gs.Graph) -> bool:
    """Say whether what becomes of negative numbers is the machine's affair."""
    (node,) = alone.nodes
    kinds = [np.dtype(t.dtype).kind for t in (*node.inputs, *node.outputs) if t.dtype is not None]
    return (node.op == "Cast" and "u" in kinds) or (node.op == "Pow" and "i" in kinds)


def _sizes(tensor: gs.Tensor, odd: dict[str, int]) -> tuple[int, ...]:
    for place, size in enumerate(tensor.shape):
        if isinstance(size, str):
            number = int(size.rpartition("_")[2])
            free = _BATCH if number == 0 and place == 0 else _ODD[number % len(_ODD)]
            odd.setdefault(size, free)
    return tuple(odd.get(size, size) for size in tensor.shape)


def _faults(
    trials: Sequence[_NodeTrial], graph: gs.Graph, toolchain: Toolchain, run: RunNodes
) -> list[str | None]:
    """Return what is wrong with each node, "" where nothing is; None where TVM does not have it."""
    if not trials:
        return []
    whole = graph_of_singles([t.single for t in trials], graph.opset, graph.import_domains)
    assert whole is not None
    feed = {
        _placed(name, place): values
        for place, trial in enumerate(trials)
        for name, values in trial.feed.items()
    }
    try:
        found = run(whole, feed, toolchain)
    except BackendError:
        if len(trials) == 1:
            return [None]
    except PlanishError as error:
        if len(trials) == 1:
            return [str(error)]
    else:
        return [_fault(trial, place, found) for place, trial in enumerate(trials)]
    middle = len(trials) // 2
    return [
        *_faults(trials[:middle], graph, toolchain, run),
        *_faults(trials[middle:], graph, toolchain, run),
    ]


def _fault(trial: _NodeTrial, place: int, found: dict[str, Any]) -> str | None:
    names = [tensor.name for tensor in trial.alone.outputs]
    if not all(_placed(name, place) in found for name in names):
        return None
    results = {name: found[_placed(name, place)] for name in names}
    try:
        trial.verifier.check_run(lambda feed: results, trial.alone, "compiling it")
    except VerificationError as error:
        return str(error)
    return ""


def _placed(name: str, place: int) -> str:
    """Return the name of a tensor of a node that stands at `place`."""
    return f"{name[0]}{place}{name[name.index('_') :]}"
