"""Two processes train one network: equal weights, better than before, one writer."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs
import pytest

import planish
from planish.ir.core.errors import PassError
from planish.passes.recover.recover.training import workers as module
from planish.passes.recover.recover.training.workers import Workers

from tests.passes.recover.recover.small import accuracy, feeds, teacher, weights, with_noise

pytest.importorskip("accelerate")

_COMMAND = ["optimize", "broken.onnx", "-o", "out.onnx", "--verify", "off", "--feeds", "feeds.npz"]
_COMMAND += ["-p", "recover{teacher=whole.onnx,steps=20}"]
# What is imported once is there in both: PyTorch takes longer to import than they train.
_SCRIPT = f"""
import os, sys, traceback
import numpy as np
import accelerate, torch._dynamo
import planish
from planish.cli.main import main
from planish.passes.recover.recover import recover

def work():
    whole, broken = planish.load("whole.onnx"), planish.load("broken.onnx")
    feeds = [dict(np.load("feeds.npz"))]
    options = {{"mode": "both", "steps": 20, "checkpoint": "state"}}
    found = recover(broken, whole, feeds, **options)
    planish.save(found, "out" + os.environ["RANK"] + ".onnx")
    sys.argv = {["planish", *_COMMAND]}
    main()

def start(rank):
    process = os.fork()
    if process:
        return process
    os.environ |= {{"RANK": rank, "LOCAL_RANK": rank}}
    code = 1
    try:
        work()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

codes = [os.waitpid(process, 0)[1] for process in [start("0"), start("1")]]
sys.exit(codes != [0, 0])
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _files(folder: Path) -> gs.Graph:
    """Write a teacher, what noise made of it, and feeds; return the teacher."""
    whole = teacher()
    planish.save(whole, folder / "whole.onnx")
    planish.save(with_noise(whole), folder / "broken.onnx")
    batches = feeds(600)
    arrays = {name: np.concatenate([feed[name] for feed in batches]) for name in batches[0]}
    np.savez(folder / "feeds.npz", **arrays)
    return whole


def test_two_processes_end_with_equal_weights_and_the_command_line_writes_and_shows_once(
    tmp_path: Path,
) -> None:
    whole = _files(tmp_path)
    (tmp_path / "run.py").write_text(_SCRIPT)
    # What torchrun sets, without a process of its own.
    environment = os.environ | {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "run.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (planish.load(tmp_path / f"out{rank}.onnx") for rank in (0, 1))
    mine, theirs = weights(first), weights(second)
    assert all(mine[name].tobytes() == theirs[name].tobytes() for name in mine)
    assert accuracy(first) >= accuracy(whole) - 0.05
    assert (tmp_path / "state").exists()
    _check_written_once(tmp_path, done.stdout, whole)


def _check_written_once(folder: Path, shown: str, whole: gs.Graph) -> None:
    assert shown.count("edits") == 1
    assert accuracy(planish.load(folder / "out.onnx")) >= accuracy(whole) - 0.05
    assert not list(folder.glob("*.tmp*"))


def test_the_gradient_of_two_is_that_of_one() -> None:
    """Shares of one minibatch: their mean loss is that of the whole."""
    from planish.passes.recover.recover.training.recipe import TrainingRecipe

    recipe = TrainingRecipe(
        optimizer="adam",
        schedule="cosine",
        learning_rate=1e-3,
        weight_decay=0.0,
        momentum=0.9,
        batch=10,
        epochs=2,
        steps=None,
        seed=0,
    )
    whole = recipe.batch_at(3, 35, 1)
    even = recipe.batch_at(3, 35, 4)
    assert len(whole) == 10
    assert len(even) == 12
    np.testing.assert_array_equal(even[:5], whole[:5])
    seen = np.concatenate([recipe.batch_at(step, 35, 1) for step in range(4)])
    assert set(seen) == set(range(35))


def test_several_processes_without_accelerate_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(PassError, match=r"pip install planish\[train\]"):
        Workers()
    monkeypatch.setenv("WORLD_SIZE", "1")
    alone = Workers()
    assert (alone.rank, alone.count, alone.is_main) == (0, 1, True)
    assert module.Workers is Workers


@pytest.mark.slow
def test_the_command_line_under_torchrun_writes_and_shows_once(tmp_path: Path) -> None:
    whole = _files(tmp_path)
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port"]
    done = subprocess.run(
        [sys.executable, *launch, str(_free_port()), "-m", "planish", *_COMMAND],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    _check_written_once(tmp_path, done.stdout, whole)
