"""Tasks that measure: what a network takes beside another, and what each layer of one takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...backends.auto.chosen import Chosen
from ...backends.contract.backend import Compiled
from ...backends.contract.registry import lower, measures
from ...backends.timing.bench import Subject, bench
from ...ir.core.variables import node_key
from ...ir.files.load import load
from ...ir.ops.quantization.nodes import is_quantizer
from ...passes.engine.context import Context
from ..tasks.task import Task, TaskCall
from .stored_feeds import StoredFeeds

_WARM_UP = 5
_MOST_ROUNDS = 10_000
# Of both models of a measurement together, 60 ms each of the usual three seconds.
_BURSTS = 50


@dataclass(frozen=True)
class Runtime:
    """What runs the networks: a backend as text, a target, and threads; None: as many as it has."""

    backend: str = "onnxruntime"
    target: str = "cpu"
    threads: int | None = None

    @property
    def is_open(self) -> bool:
        """Say whether the backend measures others, and takes the fastest."""
        return measures(self.backend)

    def lower(self, path: Path) -> Compiled:
        """Return the model at `path`, ready to run."""
        return lower(load(path), self.backend, self.target, threads=self.threads)


def choose(job: TaskCall) -> dict[str, Any]:
    """Return the backend, as text, that runs the model fastest, and the seconds that it takes.

    The runtime is one that measures others.
    """
    runtime = Runtime(**job.options["runtime"])
    found = lower(
        load(job.files["model"]),
        runtime.backend,
        runtime.target,
        threads=runtime.threads,
        feeds=[_feed(job)],
        seed=job.options["seed"],
    )
    assert isinstance(found, Chosen)
    times = {each.backend: each.seconds for each in found.choice.candidates}
    return {"backend": found.choice.backend, "seconds": times[found.choice.backend]}


def choose_task(
    model: Path, feeds: Path, labels: Sequence[str], runtime: Runtime, *, seed: int, what: str = ""
) -> Task:
    """Return the task that finds what runs `model` fastest."""
    return Task(
        function=f"{__name__}:{choose.__name__}",
        options={"runtime": asdict(runtime), "labels": list(labels), "seed": seed},
        files={"model": model, "feeds": feeds},
        exclusive=True,
        what=what,
    )


def measure(job: TaskCall) -> dict[str, Any]:
    """Time the models in bursts that take turns, each on its runtime.

    Returns the usual seconds of each, in order. `ratios` are those of the first model's time over
    each, median of the rounds.
    """
    feed = _feed(job)
    subjects = [
        Subject(name, Runtime(**told).lower(job.files[name]), feed)
        for name, told in sorted(job.options["runtimes"].items())
    ]
    timings = bench(
        subjects,
        rounds=_MOST_ROUNDS,
        warmup=_WARM_UP,
        seconds=job.options["seconds"],
        burst=job.options["burst"],
        seed=job.options["seed"],
    )
    return {
        "seconds": [timing.p20_ms / 1000 for timing in timings],
        "ratios": [1 / timing.ratio for timing in timings],
    }


def measure_task(
    models: Sequence[tuple[Path, Runtime]],
    feeds: Path,
    labels: Sequence[str],
    *,
    seconds: float,
    seed: int,
    what: str = "",
) -> Task:
    """Return the task that times `models` side by side, each on its runtime."""
    named = {f"{place:03}": each for place, each in enumerate(models)}
    return Task(
        function=f"{__name__}:{measure.__name__}",
        options={
            "runtimes": {name: asdict(runtime) for name, (_, runtime) in named.items()},
            "labels": list(labels),
            "seconds": seconds,
            "burst": seconds / _BURSTS,
            "seed": seed,
        },
        files={name: path for name, (path, _) in named.items()} | {"feeds": feeds},
        exclusive=True,
        what=what,
    )


def profile(job: TaskCall) -> dict[str, Any]:
    """Return the seconds of each layer, of which the options have all names, and what is its.

    To a layer belongs what follows it up to the next layers: activations, sums, pools. What turns
    floats into integers and back is told apart, with the number of its values.
    """
    runtime = Runtime(**job.options["runtime"])
    path = job.files["model"]
    found = runtime.lower(path).time_layers(_feed(job), rounds=job.options["rounds"])
    graph = load(path)
    names: list[list[str]] = job.options["layers"]
    owners = _owners(graph, names)
    view = Context(graph).view()
    seconds = [0.0] * len(names)
    crossing = {"seconds": 0.0, "values": 0}
    unknown = 0.0
    sizes = {
        key: int(np.prod([d for d in view.shape(node.outputs[0]) or () if isinstance(d, int)]))
        for node in graph.nodes
        if is_quantizer(node)
        for key in (node.name, node.outputs[0].name)
    }
    for layer in found.layers:
        known = [name for name in layer.nodes if name in owners]
        if known and known[0] in sizes:
            crossing["seconds"] += layer.seconds
            crossing["values"] += sizes[known[0]]
        elif known:
            seconds[max(owners[name] for name in known)] += layer.seconds
        else:
            unknown += layer.seconds
    return {
        "seconds": seconds,
        "crossing": crossing,
        "unknown": unknown,
        "whole": found.whole,
    }


def profile_task(
    model: Path,
    layers: Sequence[Sequence[str]],
    feeds: Path,
    labels: Sequence[str],
    runtime: Runtime,
    *,
    rounds: int,
    what: str = "",
) -> Task:
    """Return the task that takes a run of `model` apart."""
    return Task(
        function=f"{__name__}:{profile.__name__}",
        options={
            "runtime": asdict(runtime),
            "labels": list(labels),
            "layers": [list(names) for names in layers],
            "rounds": rounds,
        },
        files={"model": model, "feeds": feeds},
        exclusive=True,
        what=what,
    )


def _owners(graph: gs.Graph, layers: Sequence[Sequence[str]]) -> dict[str, int]:
    """Return to which of the `layers`, each with its names, what nodes compute belongs, by names.

    That is the last layer that a node depends on by no other, or the first where there is none.
    """
    places = {name: place for place, names in enumerate(layers) for name in names}
    of_tensor: dict[int, int] = {}
    found: dict[str, int] = {}
    for node in graph.nodes:
        known = (places.get(name) for name in (node_key(node), *(t.name for t in node.outputs)))
        own = next((place for place in known if place is not None), None)
        if own is None:
            own = max((of_tensor[id(t)] for t in node.inputs if id(t) in of_tensor), default=0)
        for tensor in node.outputs:
            of_tensor[id(tensor)] = own
            found[tensor.name] = own
        if node.name:
            found[node.name] = own
    return found


def _feed(job: TaskCall) -> Mapping[str, np.ndarray[Any, Any]]:
    return next(iter(StoredFeeds(job.files["feeds"], job.options["labels"])))
