"""How fast the TVM backend runs a network, beside ONNX Runtime on the same graph.

    python -m benchmarks.backends [NETWORK ...] [--pipeline exact] [--threads 2] [--rounds 40]

Both get what `--pipeline` makes of the network (`int8` compares integers), so that kernels, layout
and fusion are what is compared, and run in turns in one process; the ratio is the median over the
rounds of TVM's time by ONNX Runtime's. Behind it stand the largest difference of the outputs, by
their range, and the seconds that TVM took to compile.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import planish
from planish.backends.timing.bench import Subject, bench

from examples import models

NETWORKS = (
    "resnet18",
    "resnet50",
    "vgg16",
    "mobilenet_v2",
    "googlenet",
    "shufflenet_v2",
    "densenet121",
    "efficientnet_b0",
)


def measure(name: str, pipeline: str, threads: int, rounds: int) -> float:
    """Print the row of one network and return the ratio."""
    graph = planish.trace(models.build(name), models.example_inputs(name))
    feeds = planish.random_feeds(graph, samples=4)
    target = f"cpu{{threads={threads}}}"
    result = planish.Pipeline.parse(pipeline).run(graph, feeds, verify="off", target=target)
    peer = planish.lower(result.graph, backend="onnxruntime", threads=threads)
    started = time.monotonic()
    ours = planish.lower(result.graph, backend="tvm", threads=threads)
    seconds = time.monotonic() - started
    expected, found = peer(feeds[0]), ours(feeds[0])
    worst = max(
        float(np.abs(expected[key] - found[key]).max() / np.abs(expected[key]).max())
        for key in expected
    )
    subjects = [Subject("onnxruntime", peer, feeds[0]), Subject("tvm", ours, feeds[0])]
    first, second = bench(subjects, rounds=rounds)
    print(
        f"{name:18} {first.median_ms:9.2f} ms {second.median_ms:9.2f} ms {second.ratio:8.2f}"
        f" {worst:10.1e} {seconds:8.1f} s",
        flush=True,
    )
    return second.ratio


def main() -> None:
    """Print one row a network, and the geometric mean of the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--pipeline", default="exact", help="what makes the graph of both")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=40)
    given = parser.parse_args()
    print(f"{'':18} {'onnxruntime':>12} {'tvm':>12} {'ratio':>8} {'error':>10} {'compile':>10}")
    ratios = [measure(n, given.pipeline, given.threads, given.rounds) for n in given.networks]
    print(f"geometric mean of the ratios: {np.exp(np.mean(np.log(ratios))):.3f}")


if __name__ == "__main__":
    main()
