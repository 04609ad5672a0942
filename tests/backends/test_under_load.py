"""Sixteen threads, sessions that come and go, networks that are swapped: right, memory flat."""

from __future__ import annotations

import gc
import importlib.util
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import planish
from planish.tools.reduce.apart import Limits, run_apart

from tests.helpers import conv_batchnorm

BACKENDS = [
    "onnxruntime",
    pytest.param("openvino", marks=pytest.mark.slow),
    pytest.param("tvm", marks=pytest.mark.slow),
]
THREADS = 16
X = np.random.default_rng(0).standard_normal((THREADS, 1, 3, 9, 9)).astype(np.float32)


def _lowered(backend, channels=8):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    graph = planish.load(conv_batchnorm(channels))
    shaped = planish.Pipeline.parse("exact").run(graph, verify="off").graph
    return planish.lower(shaped, backend, threads=1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_sixteen_threads_get_their_own_answers(backend):
    compiled = _lowered(backend)
    wanted = [compiled({"x": x})["y"].copy() for x in X]
    together = threading.Barrier(THREADS)

    def ask(place):
        together.wait()
        return [compiled({"x": X[place]})["y"] for _ in range(20)]

    with ThreadPoolExecutor(THREADS) as pool:
        for right, found in zip(wanted, pool.map(ask, range(THREADS)), strict=True):
            for each in found:
                np.testing.assert_array_equal(each, right)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_network_is_swapped_while_others_run_it(backend):
    networks = [_lowered(backend, channels) for channels in (4, 8)]
    wanted = [n({"x": X[0]})["y"].copy() for n in networks]
    held, stop, wrong = [networks[0]], threading.Event(), []

    def ask():
        while not stop.is_set():
            found = held[0]({"x": X[0]})["y"]
            if not any(found.shape == w.shape and np.array_equal(found, w) for w in wanted):
                wrong.append(found)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    del networks
    for times in range(30):  # each is made anew, and the one before it goes while it may run
        held[0] = _lowered(backend, (4, 8)[times % 2]) if backend != "tvm" else held[0]
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system tells no memory")
@pytest.mark.parametrize("times", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_sessions_come_and_go(times):
    graph = planish.load(conv_batchnorm(64))

    def use(count):
        for _ in range(count):
            planish.lower(graph, threads=1)({"x": X[0]})
        gc.collect()

    def grown():
        use(30)  # what libraries keep for good
        before = _resident()
        use(times)
        return _resident() - before

    found = run_apart(grown, Limits(seconds=300.0))
    assert found.how == ""
    assert found.value < 8 << 20  # a session of this graph takes 60 kB at least
