"""How fast `torch.compile` is with planish, beside inductor and eager PyTorch.

    python -m benchmarks.embedding [NETWORK ...] [--ways inductor eager onnxruntime ...]
                                   [--threads 2] [--bursts 20] [--realtime]

Inductor has `freezing` on, so weights are constants for it as well. A batch of one, no gradients.
Each way of each network has a process of its own; bursts of runs take turns, in an order that is
shuffled anew each time, and a ratio is the median, over the bursts, of the first way's time by the
others' (above 1 is faster); behind it stand the quartiles. Outputs are compared with eager ones in
the same process: the largest difference, by the range. The last lines are geometric means.
`--realtime` times under SCHED_RR, for root on Linux: two threads that wait for each other suffer
from whatever else runs, those that spin most of all, and so a busy machine says little of an idle
one.

`around` is the part of a call that is not the runtime's, most of it Dynamo's guards, which inductor
has as well: the time of the runtime's network, called with arrays, is subtracted.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import random
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from .ratios import Ratio, geometric_mean

NETWORKS = (
    "resnet18",
    "resnet50",
    "repvgg_a0",
    "mobilenet_v2",
    "googlenet",
    "shufflenet_v2",
    "densenet121",
    "efficientnet_b0",
)
PEERS = ("inductor", "eager")
RUNTIMES = ("onnxruntime", "openvino", "tvm", "auto")
_BURST = 0.15  # seconds
_QUIET = 0.01  # seconds of CPU that spinning threads may take before the next burst begins


@dataclass
class Made:
    """What a process says once it has compiled: seconds for that, the error, and the choice."""

    seconds: float
    error: float
    remark: str
    overhead: float


def serve(parent: Connection, network: str, way: str, threads: int, realtime: bool) -> None:
    """Compile `network` and run it in bursts; the process of one way."""
    import torch

    from examples import models

    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    module = models.build(network).eval()
    (x,) = models.example_inputs(network)
    expected = module(x)
    try:
        with warnings.catch_warnings():
            if way not in PEERS:
                from planish.integrations.torch_compile.network import EagerWarning

                warnings.simplefilter("error", EagerWarning)
            started = time.perf_counter()
            function = compiled(module, way)
            found = function(x)
            seconds = time.perf_counter() - started
    except Exception as error:
        parent.send(f"{type(error).__name__}: {error}"[:300])
        return
    if realtime:
        take_cores()
    error = float((found - expected).abs().max() / expected.abs().max())
    for _ in range(3):
        function(x)
    parent.send(Made(seconds, error, *about(function, x)))
    while True:
        try:
            parent.recv()
        except EOFError:
            return
        parent.send(burst(lambda: function(x)))


def take_cores() -> None:
    """Have all threads of this process run before those of any other."""
    for thread in os.listdir("/proc/self/task"):
        os.sched_setscheduler(int(thread), os.SCHED_RR, os.sched_param(1))


def compiled(module: Any, way: str) -> Callable[[Any], Any]:
    """Return `module` made ready in one of the ways."""
    import torch

    if way == "eager":
        return module  # type: ignore[no-any-return]
    if way == "inductor":
        import torch._inductor.config

        torch._inductor.config.freezing = True
        return torch.compile(module)
    return torch.compile(module, backend="planish", options={"runtime": way})


def about(function: Any, x: Any) -> tuple[str, float]:
    """Return what `auto` has chosen, and the part of a call that is not the runtime's."""
    import gc

    from planish.integrations.torch_compile.network import Network

    # Not `isinstance`, which asks what weak references were to.
    networks = [each for each in gc.get_objects() if type(each) is Network and each._ready]
    if not networks:
        return "", 0.0
    ready = networks[0]._ready
    feeds = {ready.compiled.inputs[0].name: x.numpy()}
    alone, whole = [], []
    for _ in range(6):
        whole.append(float(np.median(burst(lambda: function(x)))))
        alone.append(float(np.median(burst(lambda: ready.compiled(feeds)))))
    return ready.compiled.backend, 1 - float(np.median(np.divide(alone, whole)))


def burst(run: Callable[[], Any]) -> list[float]:
    """Return the seconds of each run of a burst, and wait for threads that spin."""
    run()
    times: list[float] = []
    end = time.perf_counter() + _BURST
    while not times or time.perf_counter() < end:
        before = time.perf_counter()
        run()
        times.append(time.perf_counter() - before)
    for _ in range(50):
        before = time.process_time()
        time.sleep(_QUIET)
        if time.process_time() - before < _QUIET / 5:
            break
    return times


def measure(
    network: str, ways: Sequence[str], threads: int, bursts: int, seed: int, realtime: bool
) -> dict[str, float]:
    """Print the rows of one network and return the ratio of each way."""
    context = multiprocessing.get_context("spawn")
    made: dict[str, Made] = {}
    with contextlib.ExitStack() as alive:
        lines: dict[str, Connection] = {}
        for way in ways:
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, network, way, threads, realtime))
            process.start()
            theirs.close()
            alive.callback(process.join)
            alive.callback(process.kill)
            try:
                told = ours.recv()
            except EOFError:
                told = "its process ended"
            if isinstance(told, str):
                print(f"{network:16} {way:12} refused: {told}", flush=True)
                continue
            made[way], lines[way] = told, ours
        times: dict[str, list[float]] = {way: [] for way in lines}
        order, generator = list(lines), random.Random(seed)
        for _ in range(bursts):
            generator.shuffle(order)
            for way in order:
                lines[way].send(None)
                times[way].append(float(np.percentile(lines[way].recv(), 20)))
        for line in lines.values():
            line.close()
    ratios = {}
    for way, found in times.items():
        ratio = Ratio.of(times[ways[0]], found)
        ratios[way] = ratio.middle
        one = made[way]
        print(
            f"{network:16} {way:12} {1e3 * np.median(found):9.2f} ms   {ratio}"
            f" {one.error:9.1e} {one.seconds:7.1f} s"
            f" {100 * one.overhead:6.1f} %  {one.remark}",
            flush=True,
        )
    return ratios


def main() -> None:
    """Print rows for each network, and the geometric mean of each way's ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--ways", nargs="+", default=[*PEERS, *RUNTIMES])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bursts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--realtime", action="store_true", help="time under SCHED_RR")
    given = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(given.threads)
    os.environ["PLANISH_NETWORKS"] = ""  # compiled anew, as is timed
    print(
        f"{'':29} {'a run':>12} {'ratio':>7} (quartiles) {'error':>11} {'compile':>9}"
        f" {'around':>8}  chosen"
    )
    found = [
        measure(each, given.ways, given.threads, given.bursts, given.seed, given.realtime)
        for each in given.networks
    ]
    for way in given.ways:
        ratios = [each[way] for each in found if way in each]
        if ratios:
            mean = geometric_mean(ratios)
            print(f"{way}: {mean:.2f}x (geometric mean of {len(ratios)}, over {given.ways[0]})")


if __name__ == "__main__":
    main()
