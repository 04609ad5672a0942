"""Three processes in the current folder: two train one network, one is stopped as it trains.

A script. What is imported once is there in all three: PyTorch takes longer to import than they
train. The first two run `recover` and then the command line as under torchrun, the third the
command line in the folder `stopped`, until Ctrl-C.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

import planish
from planish.cli.main import main
from planish.passes.recover.recover import recover

COMMAND = ["optimize", "broken.onnx", "-o", "out.onnx", "--verify", "off", "--feeds", "feeds.npz"]
TRAINING = ["-p", "recover{teacher=whole.onnx,steps=20}"]
LONG = ["-p", "recover{mode=end-to-end,epochs=500,teacher=whole.onnx,checkpoint=state}"]
MODELS = ("whole.onnx", "broken.onnx")


def work(rank: str) -> None:
    """Train from Python, and at the command line."""
    os.environ |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2"}
    whole, broken = planish.load("whole.onnx"), planish.load("broken.onnx")
    feeds = [dict(np.load("feeds.npz"))]
    found = recover(broken, whole, feeds, mode="both", steps=20, checkpoint="state")
    planish.save(found, f"out{rank}.onnx")
    sys.argv = ["planish", *COMMAND, *TRAINING]
    main()


def train_for_long() -> None:
    """Train at the command line, errors into a file."""
    os.chdir("stopped")
    os.dup2(os.open("errors.txt", os.O_CREAT | os.O_WRONLY), 2)
    sys.argv = ["planish", *COMMAND, *LONG]
    main()


def start(function: Callable[..., None], *arguments: str) -> int:
    """Call `function` in a process of its own; return its id."""
    process = os.fork()
    if process:
        return process
    code: Any = 1
    try:
        function(*arguments)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def code_of(process: int) -> int:
    """Wait for `process` to end; return its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def stop(process: int) -> int:
    """Press Ctrl-C once there is a checkpoint, or the process has ended; return its exit code."""
    over = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while not os.path.exists("stopped/state") and not os.waitid(os.P_PID, process, over):
        time.sleep(0.05)
    os.kill(process, signal.SIGINT)
    return code_of(process)


if __name__ == "__main__":
    import accelerate  # noqa: F401
    import torch._dynamo  # noqa: F401

    os.mkdir("stopped")
    for name in MODELS:
        shutil.copy(name, "stopped")
    few = {name: array[:200] for name, array in np.load("feeds.npz").items()}
    np.savez("stopped/feeds.npz", **few)
    workers, third = [start(work, rank) for rank in "01"], start(train_for_long)
    (codes := [stop(third)]).extend(code_of(each) for each in workers)
    with open("codes.txt", "w") as file:
        print(*codes, file=file)
