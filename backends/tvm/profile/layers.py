"""The time of each kernel of a network, from TVM's virtual machine telling of every call."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ....ir.core.errors import BackendError
from ...contract.layer_times import LayerTime
from ..runtime.runner import Runner
from ..spec.calls import KernelCall

# The virtual machine's own functions: memory, shapes, checks of inputs.
_RUNTIME = "vm."


@dataclass(frozen=True)
class LayerCalls:
    """The calls of a network, and how to get what makes them one by one, to be watched."""

    calls: Sequence[KernelCall]
    watchable: Callable[[], Runner]


def kernels_of(calls: Sequence[KernelCall], node: str | None) -> tuple[str, ...]:
    """Return what `calls` have for a node of that name, where it is None for the last one of all.

    A kernel of planish's own is named with what it is.
    """
    named = [call for call in calls if call.nodes]
    wanted = named[-1].nodes[-1] if node is None and named else node
    return tuple(dict.fromkeys(_described(call) for call in named if wanted in call.nodes))


def _described(call: KernelCall) -> str:
    if not call.kernel:
        return "a kernel of TVM's"
    if call.op is None:
        return "ONNX Runtime"
    return f"kernel '{call.kernel}' ({type(call.op).__name__})"


@dataclass(frozen=True)
class _Event:
    """A call as it ran: the function's name, its seconds, and the first size it was given."""

    name: str
    seconds: float
    images: int = 1


def time_layers(
    machine: Any, run: Callable[[], object], calls: Sequence[KernelCall], rounds: int
) -> tuple[list[LayerTime], float]:
    """Return the layers of `run`, which runs `machine`, and the seconds of what is between them.

    A layer's seconds are the first fifth of `rounds` runs': what else the machine does makes a run
    longer, never shorter.
    """
    runs = _watched(machine, run, rounds)
    first = runs[0]
    if any([e.name for e in events] != [e.name for e in first] for events in runs):
        raise BackendError("the network does not run the same kernels every time; nothing to show")
    times = np.percentile([[e.seconds for e in events] for events in runs], 20, axis=0)
    of_event = _matched([event.name for event in first], calls)
    imported = _imported(of_event, len(first), calls)
    known = {node: call for call in calls for node in call.nodes}
    layers: list[LayerTime] = []
    rest = 0.0
    shown: tuple[str, ...] = ()  # the nodes of the last layer, if the importer took them
    for place, (event, seconds) in enumerate(zip(first, times.tolist(), strict=True)):
        index = of_event.get(place)
        nodes = () if index is not None else imported[place]
        if index is not None:
            layers.append(_layer(calls[index], seconds, event.images))
        elif event.name.startswith(_RUNTIME) or not nodes:  # or a size that is known only now
            rest += seconds
            continue
        elif nodes == shown:  # another function for them
            last = layers.pop()
            both = f"{last.kernel}, {event.name}"
            layers.append(replace(last, kernel=both, seconds=last.seconds + seconds))
        else:
            layers.append(_taken(event.name, [known[node] for node in nodes], seconds))
        shown = nodes
    return layers, rest


def _taken(kernel: str, calls: Sequence[KernelCall], seconds: float) -> LayerTime:
    """Return the layer of what the importer took: `calls`, one a node."""
    return LayerTime(
        kernel=kernel,
        nodes=tuple(node for call in calls for node in call.nodes),
        seconds=seconds,
        multiply_adds=0,
        operators=tuple(op for call in calls for op in call.operators),
        shape=calls[-1].shape,
    )


def _layer(call: KernelCall, seconds: float, images: int) -> LayerTime:
    op = call.op
    count = getattr(op, "multiply_adds", 0) * images
    x = getattr(op, "x", None)
    # Bytes that come with a scale are multiplied as what they stand for.
    dtype = "float32" if x is None or x.scale is not None else x.dtype
    direct = getattr(op, "is_direct", True)
    return LayerTime(
        kernel=call.kernel,
        nodes=call.nodes,
        seconds=seconds,
        multiply_adds=count,
        dtype=dtype,
        direct=direct,
        operators=call.operators,
        shape=call.shape,
    )


def _watched(machine: Any, run: Callable[[], object], rounds: int) -> list[list[_Event]]:
    """Return what each of `rounds` runs called."""
    from tvm.relax import VMInstrumentReturnKind

    events: list[_Event] = []
    started = 0.0

    def watch(function: Any, name: str, before: bool, result: Any, *args: Any) -> int:
        nonlocal started
        now = time.perf_counter()
        if not before:
            shape: Any = getattr(args[0], "shape", ()) if args else ()
            events.append(_Event(name, now - started, *map(int, shape[:1])))
        started = time.perf_counter()
        return int(VMInstrumentReturnKind.NO_OP)

    found = []
    run()
    machine.set_instrument(watch)
    try:
        for _ in range(rounds):
            events.clear()
            run()
            found.append(list(events))
    finally:
        machine.set_instrument(None)
    return found


def _matched(names: Sequence[str], calls: Sequence[KernelCall]) -> dict[int, int]:
    """Return which of `calls` each event is: of one kernel, the events come as the calls do."""
    waiting: dict[str, deque[int]] = defaultdict(deque)
    for index, call in enumerate(calls):
        if call.kernel:
            waiting[call.kernel].append(index)
    return {place: waiting[name].popleft() for place, name in enumerate(names) if waiting.get(name)}


def _imported(
    of_event: dict[int, int], count: int, calls: Sequence[KernelCall]
) -> list[tuple[str, ...]]:
    """Return for each event which nodes the importer took between the kernels around it."""
    afters = list(
        itertools.accumulate((of_event.get(at, len(calls)) for at in reversed(range(count))), min)
    )
    found: list[tuple[str, ...]] = []
    before = -1
    between: dict[tuple[int, int], tuple[str, ...]] = {}
    for place, after in enumerate(reversed(afters)):
        before = max(before, of_event.get(place, -1))
        gap = (before, after)
        if gap not in between:
            taken = calls[before + 1 : after]
            between[gap] = tuple(node for call in taken if not call.kernel for node in call.nodes)
        found.append(between[gap])
    return found
