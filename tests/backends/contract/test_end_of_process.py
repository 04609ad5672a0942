"""A process ends as it should while daemon threads run networks."""

import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import planish
from planish.ir.core.in_native_code import in_native_code

from tests.helpers import graph_of

GRAPH = "g (float[1, 3, 8, 8] x) => (float[1, 3, 8, 8] y) { y = Relu(x) }"
FEED = {"x": np.ones((1, 3, 8, 8), np.float32)}
# ONNX Runtime's binding comes back to an interpreter that ends at nearly every such end.
ENDING = """
import atexit, sys, threading, time
stopped = threading.Event()
def stop():
    stopped.set()
    joined.join()
    print("joined")
if sys.argv[2] == "joined":
    atexit.register(stop)  # called last, when runs wait for the end
import numpy as np
import planish

network = planish.load_compiled(sys.argv[1])
feeds = {"x": np.ones((1, 3, 8, 8), np.float32)}
began = threading.Barrier(4 if sys.argv[2] == "endless" else 2)
def work():
    network(feeds)
    began.wait()
    while not stopped.is_set():
        network(feeds)
for _ in range(began.parties - 1):
    joined = threading.Thread(target=work, daemon=True)
    joined.start()
began.wait()
atexit.register(lambda: print(network(feeds)["y"].sum()))
"""


@pytest.mark.parametrize(
    ("threads", "told"), [("endless", "192.0\n"), ("joined", "192.0\njoined\n")]
)
def test_daemon_threads_run_while_the_process_ends(tmp_path, threads, told):
    planish.lower(graph_of(GRAPH), "onnxruntime").save(tmp_path / "m.planish")
    command = [sys.executable, "-c", ENDING, str(tmp_path / "m.planish"), threads]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, told, "")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "ncnn", "tvm"])
def test_runs_of_every_backend_are_known(monkeypatch, backend):
    pytest.importorskip(backend)
    network = planish.lower(graph_of(GRAPH), backend)
    entered = []
    enter = type(in_native_code).__enter__
    monkeypatch.setattr(type(in_native_code), "__enter__", lambda runs: entered.append(enter(runs)))
    network(FEED)
    assert entered


def test_the_end_waits_for_the_outermost_run_and_not_for_its_own_thread():
    runs = type(in_native_code)()
    inside, leave, left = threading.Event(), threading.Event(), []

    def run():
        with runs:
            with runs:
                pass
            inside.set()
            leave.wait()
            left.append(True)

    thread = threading.Thread(target=run)
    thread.start()
    inside.wait()
    threading.Timer(0.05, leave.set).start()
    with runs:
        runs.end()
        assert left
    thread.join()


def test_a_forked_child_waits_for_no_thread_of_its_parent(monkeypatch):
    runs = type(in_native_code)()
    thread = threading.Thread(target=runs.__enter__)
    thread.start()
    thread.join()
    runs.forget_others()
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waits"))
    runs.end()
