"""Two processes train one network: equal weights, better than before, one writer; one is stopped.

`processes.py`, a script, starts all three once a run.
"""

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

pytest.importorskip("accelerate")

from tests.passes.recover.recover.small import accuracy, feeds, teacher, weights, with_noise
from tests.passes.recover.recover.training import processes
from tests.shared import shared


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _files(folder: Path) -> gs.Graph:
    """Write a teacher, what noise made of it, and feeds; return the teacher."""
    whole = teacher()
    planish.save(whole, folder / "whole.onnx")
    planish.save(with_noise(whole), folder / "broken.onnx")
    batches = feeds(400)
    arrays = {name: np.concatenate([feed[name] for feed in batches]) for name in batches[0]}
    np.savez(folder / "feeds.npz", **arrays)
    return whole


def _run(folder: Path) -> None:
    _files(folder)
    # What torchrun sets, without a process of its own.
    environment = os.environ | {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port()), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, processes.__file__], cwd=folder, capture_output=True, text=True,
        timeout=300, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    (folder / "shown.txt").write_text(done.stdout)
    (folder / "said.txt").write_text(done.stderr)


@pytest.fixture(scope="module")
def folder() -> Path:
    """Return the folder in which all three processes ran, once a run of tests."""
    return shared("processes that recover", _run)


def test_two_processes_end_with_equal_weights_and_the_command_line_writes_and_shows_once(
    folder: Path,
) -> None:
    codes = (folder / "codes.txt").read_text().split()
    assert codes[1:] == ["0", "0"], (folder / "said.txt").read_text()[-2000:]
    whole = planish.load(folder / "whole.onnx")
    first, second = (planish.load(folder / f"out{rank}.onnx") for rank in (0, 1))
    mine, theirs = weights(first), weights(second)
    assert all(mine[name].tobytes() == theirs[name].tobytes() for name in mine)
    assert accuracy(first) >= accuracy(whole) - 0.05
    assert (folder / "state").exists()
    _check_written_once(folder, (folder / "shown.txt").read_text(), whole)


def test_ctrl_c_at_the_command_line(folder: Path) -> None:
    assert (folder / "codes.txt").read_text().split()[0] == "130"
    assert "goes on from" in (folder / "stopped" / "errors.txt").read_text()
    found = {path.name for path in (folder / "stopped").iterdir()}
    assert found == {*processes.MODELS, "feeds.npz", "errors.txt", "state"}


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
    command = ["-m", "planish", *processes.COMMAND, *processes.TRAINING]
    done = subprocess.run(
        [sys.executable, *launch, str(_free_port()), *command],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    _check_written_once(tmp_path, done.stdout, whole)
