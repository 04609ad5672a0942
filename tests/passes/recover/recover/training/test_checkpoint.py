"""A run that was stopped goes on as if it had not been; one of another kind is refused."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from planish.ir.core.errors import PassError
from planish.passes.recover.recover import recover
from planish.passes.recover.recover.training.interrupt import Interrupts

from tests.passes.recover.recover.small import feeds, teacher, weights, with_masks, with_noise

OPTIONS: dict[str, dict[str, Any]] = {
    "blocks": {"mode": "blocks", "steps": 30},
    "end-to-end": {"mode": "end-to-end", "epochs": 5, "schedule": "onecycle"},
    "both": {"mode": "both", "steps": 20, "batchnorm": "train"},
}


def _same(a: Any, b: Any) -> bool:
    mine, theirs = weights(a), weights(b)
    return mine.keys() == theirs.keys() and all(
        mine[name].tobytes() == theirs[name].tobytes() for name in mine
    )


def _stop_at(calls: int) -> Any:
    count = 0

    def progress(fraction: float, note: str) -> None:
        nonlocal count
        count += 1
        if count == calls:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize(
    "mode", ["end-to-end", *(pytest.param(m, marks=pytest.mark.slow) for m in ("both", "blocks"))]
)
@pytest.mark.parametrize("stops", [(1, 31)], ids=str)
def test_a_stopped_run_goes_on_bit_by_bit(
    mode: str, stops: tuple[int, ...], tmp_path: Path
) -> None:
    whole = teacher()
    broken = with_masks(with_noise(whole), 0.3)
    options, path = OPTIONS[mode], str(tmp_path / "state")
    straight = recover(broken, whole, feeds(300), **options)
    assert not _same(straight, broken)
    for calls in stops:
        with pytest.raises(KeyboardInterrupt), pytest.warns(UserWarning, match="goes on from"):
            recover(broken, whole, feeds(300), checkpoint=path, progress=_stop_at(calls), **options)
        assert os.listdir(tmp_path) == ["state"]
    remarks: list[str] = []
    resumed = recover(broken, whole, feeds(300), checkpoint=path, remark=remarks.append, **options)
    assert _same(resumed, straight)
    assert any("went on from the checkpoint" in text for text in remarks)


def test_a_finished_run_is_taken_as_it_is(tmp_path: Path) -> None:
    whole = teacher()
    broken, path = with_noise(whole), str(tmp_path / "state")
    steps: list[float] = []

    def run() -> Any:
        steps.clear()
        return recover(
            broken, whole, feeds(200), steps=8, checkpoint=path,
            progress=lambda fraction, note: steps.append(fraction),
        )  # fmt: skip

    first = run()
    assert len(steps) == 16
    assert _same(run(), first)
    assert not steps


def test_a_checkpoint_of_another_run_is_refused_with_what_differs(tmp_path: Path) -> None:
    whole = teacher()
    broken, path = with_noise(whole), str(tmp_path / "state")
    given = {"steps": 4, "checkpoint": path}
    recover(broken, whole, feeds(100), **given)
    before = Path(path).read_bytes()
    cases = [
        ((broken, whole, feeds(100)), {"steps": 5}, "steps was 4, now 5"),
        ((broken, whole, feeds(100)), {"learning_rate": 0.1}, "learning-rate was None, now 0.1"),
        ((broken, whole, feeds(100)), {"seed": 3}, "seed was 0, now 3"),
        ((broken, whole, feeds(101)), {}, "other feeds"),
        ((with_noise(whole, seed=2), whole, feeds(100)), {}, "another graph"),
        ((broken, with_noise(whole, 0.01), feeds(100)), {}, "another teacher"),
    ]
    for arguments, options, reason in cases:
        with pytest.raises(PassError, match=reason):
            recover(*arguments, **given | options)
    assert Path(path).read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"something else", b"PK\x03\x04broken"])
def test_what_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(content)
    whole = teacher()
    with pytest.raises(PassError, match="no checkpoint that can be read"):
        recover(with_noise(whole), whole, feeds(50), steps=1, checkpoint=str(path))
    assert path.read_bytes() == content


def test_a_folder_that_is_not_there_is_refused_before_training(tmp_path: Path) -> None:
    whole = teacher()
    with pytest.raises(PassError, match="existing folder"):
        recover(
            with_noise(whole), whole, feeds(50), checkpoint=str(tmp_path / "none" / "state"),
            progress=lambda fraction, note: pytest.fail("it trained"),
        )  # fmt: skip


def test_a_checkpoint_holds_plain_data(tmp_path: Path) -> None:
    path, whole = tmp_path / "state", teacher()
    with pytest.raises(KeyboardInterrupt), pytest.warns(UserWarning, match="goes on"):
        recover(
            with_noise(whole), whole, feeds(100), checkpoint=str(path), mode="end-to-end",
            progress=_stop_at(3),
        )  # fmt: skip
    assert torch.load(path, weights_only=True)["state"][0] == "end-to-end"


def test_without_a_checkpoint_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    whole = teacher()
    os.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        recover(with_noise(whole), whole, feeds(100), progress=_stop_at(2))
    assert os.listdir(tmp_path) == []


def test_ctrl_c_waits_for_the_end_of_a_step() -> None:
    reached = []

    def step(check: bool) -> None:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGINT)
            reached.append(1)
            if check:
                interrupts.check()
            os.kill(os.getpid(), signal.SIGINT)
            reached.append(2)

    with pytest.raises(KeyboardInterrupt):
        step(check=True)
    with pytest.raises(KeyboardInterrupt):
        step(check=False)  # the second one interrupts at once
    assert reached == [1, 1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
