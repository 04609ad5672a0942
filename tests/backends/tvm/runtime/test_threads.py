"""One pool of threads in a process, whoever calls which network; forked children answer too."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import planish

from tests.backends.tvm.small_network import conv_relu
from tests.helpers import run_ort

pytest.importorskip("tvm")

FEEDS = {"x": np.random.default_rng(1).standard_normal((4, 3, 9, 9)).astype(np.float32)}
# Loaded by itself, as a server would: with what compiles, other libraries' threads would count.
SERVER = """
import os, sys, threading, time
import numpy as np
import planish

path, wanted = sys.argv[1], np.load(sys.argv[2])
networks = [planish.load_compiled(path, backend="tvm", threads=n) for n in (2, 1, 2)]
feeds = {"x": np.load(sys.argv[3])}

def answer(network):
    assert np.allclose(network(feeds)["y"], wanted, rtol=1e-4, atol=1e-4)

def started():
    return len(os.listdir("/proc/self/task"))

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def all_at_once(count):
    threads = [threading.Thread(target=answer, args=(networks[i % 3],)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    deadline = time.monotonic() + 60
    while started() > most and time.monotonic() < deadline:
        time.sleep(0.01)
    return started()

answer(networks[0])
most = started()
for _ in range(10):
    all_at_once(8)
before = resident()
for _ in range(100):
    found = all_at_once(8)
print("threads", found <= most, "memory", resident() - before < 4 << 20)
del networks[2]
answer(networks[0])
child = os.fork()
if child == 0:
    answer(networks[0])
    answer(networks[1])
    other = threading.Thread(target=answer, args=(networks[0],))
    other.start()
    other.join()
    sys.exit(7)
print("child", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
answer(networks[0])
"""


@pytest.fixture(scope="module")
def model():
    return conv_relu()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="/proc is read here")
def test_a_server_with_a_thread_for_each_request_keeps_its_size(model, tmp_path) -> None:
    path = tmp_path / "network.planish"
    planish.lower(planish.load(model), backend="tvm", threads=2).save(path)
    np.save(tmp_path / "wanted.npy", run_ort(model, FEEDS)["y"])
    np.save(tmp_path / "x.npy", FEEDS["x"])
    files = [str(tmp_path / name) for name in ("network.planish", "wanted.npy", "x.npy")]
    found = subprocess.run(
        [sys.executable, "-c", SERVER, *files], capture_output=True, text=True, timeout=300
    )
    assert found.stdout == "threads True memory True\nchild 7\n", found.stderr


def test_an_error_of_a_run_reaches_the_thread_that_asked(model) -> None:
    network = planish.lower(planish.load(model), backend="tvm", threads=2)
    errors: list[Exception] = []

    def ask() -> None:
        try:
            network({"x": np.zeros((1, 4, 9, 9), np.float32)})
        except planish.PlanishError as error:
            errors.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join()
    assert len(errors) == 1
