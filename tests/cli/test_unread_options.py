"""Options that nothing would read beside others: refused by name, or warned of, in every command.

Each row is a command line and the options of it that change nothing; all others are read.
"""

from __future__ import annotations

import numpy as np
import pytest

import planish

from tests.cli.common import X, assert_refused

ROOF = ("--peak-gflops", 1, "--bandwidth-gbs", 1)
SCENARIO = ("bench", "{m}", "--scenario", "Offline")


@pytest.fixture
def feeds(tmp_path):
    np.savez(tmp_path / "feeds.npz", x=X)
    return tmp_path / "feeds.npz"


@pytest.mark.parametrize(
    ("line", "unread"),
    [
        ((*SCENARIO, "--rounds", 3), ["--rounds"]),
        ((*SCENARIO, "--warmup", 0), ["--warmup"]),
        ((*SCENARIO, "--rounds", 3, "--per-layer"), ["--per-layer", "--rounds"]),
        ((*SCENARIO, "--feeds", "{f}", "--shape", "x=1,3,9,9"), ["--shape"]),
        ((*SCENARIO, "--mean", 0.5), ["--mean"]),
        (("bench", "{m}", "--seconds", 1), ["--seconds"]),
        (("bench", "{m}", "--std", 2), ["--std"]),
        (("bench", "{m}", "--bgr"), ["--bgr"]),
        (("bench", "{m}", "--compiled", "--input-shape", "x=1,3,9,9"), ["--input-shape"]),
        (("bench", "{m}", "--compiled", "--mutable-initializers"), ["--mutable-initializers"]),
        (("inspect", "{m}", *ROOF, "--threads", 2), ["--threads"]),
        (("inspect", "{m}", "--groups", "--threads", 2), ["--threads"]),
        (("inspect", "{m}", "--groups", *ROOF), ["--peak-gflops", "--bandwidth-gbs"]),
        (("explain-int8", "{m}", "{o}"), ["--apply", "--float"]),
        (("explain-int8", "{m}", "-o", "{o}"), ["--apply"]),
        (("explain-int8", "{m}", "{o}", "-o", "{o}", "--apply"), ["-o"]),
        (("optimize", "{m}", "--metric", "sqnr"), ["metric"]),
        (("optimize", "{m}", "--max-drop", "1%"), ["max-drop"]),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, tuple) else "",
)
def test_what_nothing_reads_is_refused_by_name(call, model, feeds, out, line, unread):
    places = {"{m}": model, "{f}": feeds, "{o}": out}
    assert_refused(call(*(places.get(word, word) for word in line)), *unread)
    assert not out.exists()


@pytest.mark.parametrize("command", ["optimize", "compile"])
def test_feeds_that_no_pass_reads_are_warned_of_where_nothing_is_compared(
    call, model, feeds, command
):
    off = ["--verify", "off"] if command == "optimize" else ["--no-verify"]
    code, _, err = call(command, model, "--feeds", feeds, *off)
    assert code == 0
    assert f"warning: --feeds '{feeds}' was not read" in err
    assert "was not read" not in call(command, model, "--feeds", feeds)[2]
    reads = ["-p", "exact,quantize{measure=false}"]
    assert "was not read" not in call(command, model, "--feeds", feeds, *off, *reads)[2]


def test_what_is_read_is_taken(call, model):
    for words in (("--rounds", 2, "--warmup", 0), ("--per-layer", "--rounds", 2, "--warmup", 1)):
        assert call("bench", model, "--threads", 1, *words)[0] == 0
    code, shown, _ = call("inspect", model, "--groups", "--most", 1, "--top", 1)
    assert code == 0
    assert shown


@pytest.mark.slow
def test_an_artifact_takes_no_sizes_and_says_only_text(call, model, out, tmp_path):
    pytest.importorskip("tvm")
    artifact = tmp_path / "m.planish"
    planish.lower(model, "tvm").save(artifact)
    refused = [
        ("bench", ("--input-shape", "x=1,3,9,9")),
        ("bench", ("--mutable-initializers",)),
        ("inspect", ("--top", 3)),
        ("inspect", ROOF[:2]),
        ("inspect", ("--json",)),
    ]
    for command, options in refused:
        assert_refused(call(command, artifact, *options), options[0])
