"""Which candidates are tried, which one is taken, and what is measured again."""

from __future__ import annotations

import sqlite3
import warnings

import numpy as np
import pytest

import planish
from planish.backends.contract.prepare import prepare
from planish.backends.tvm.kernels.convolution import Convolution, choose_tile
from planish.backends.tvm.kernels.settings import Settings
from planish.backends.tvm.kernels.tile_sizes import RegisterTile
from planish.backends.tvm.kernels.windows import Windows, choose_columns
from planish.backends.tvm.program.emit_graph import BlockedEmitter
from planish.backends.tvm.program.lowering import lower_graph
from planish.backends.tvm.tuning import tune as tune_module
from planish.backends.tvm.tuning.choice import candidates
from planish.backends.tvm.tuning.columns import ColumnChoice
from planish.backends.tvm.tuning.key import key_of
from planish.backends.tvm.tuning.options import Tuning
from planish.backends.tvm.tuning.tiles import TileChoice
from planish.ir.core.errors import BackendError

from tests.backends.tvm.tuning.common import MACHINE, conv, depthwise, network
from tests.helpers import relative_error, run_ort

CASES = [(TileChoice(), conv()), (ColumnChoice(), depthwise())]


class Fake:
    """Measures by a function instead of a clock."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.asked = []
        self.trouble = "it is a fake"

    def measure(self, choice, op, options, rounds):
        self.asked.append((choice.name, op, tuple(options)))
        return [self.seconds(index, option) for index, option in enumerate(options)]

    def close(self):
        pass


@pytest.fixture
def measured(monkeypatch):
    """Return a function that puts a fake in place of the clock."""

    def install(seconds):
        fake = Fake(seconds)
        monkeypatch.setattr(tune_module, "_measurer", lambda *_: fake)
        return fake

    return install


def run(tmp_path, trials=6, **options):
    tuning = Tuning(trials, tmp_path / "c.sqlite", **options)
    return tune_module.tune([conv(), depthwise(), "no choice"], MACHINE, 1, tuning)


@pytest.mark.parametrize(("choice", "op"), CASES)
@pytest.mark.parametrize("count", [1, 2, 7, 20])
def test_candidates_are_distinct_and_the_models_own_comes_first(choice, op, count) -> None:
    found = candidates(choice, op, MACHINE, count, 0)
    own = choose_tile(op, MACHINE) if choice.name == "tile" else choose_columns(op, MACHINE)
    assert found[0] == own
    assert len(set(found)) == len(found) <= count
    room = MACHINE.registers * 4 if choice.name == "tile" else 12
    assert len(found) == min(count, room)
    for one in found:
        assert choice.from_json(choice.to_json(one), op, MACHINE) == one


def test_a_seed_gives_the_same_candidates_and_another_gives_others() -> None:
    draws = [candidates(TileChoice(), conv(), MACHINE, 16, seed) for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize(
    ("choice", "op", "value"),
    [
        (TileChoice(), conv(), {"rows": 13, "columns": 1, "blocks": 1, "positions_first": True}),
        (TileChoice(), conv(), {"rows": 0, "columns": 1, "blocks": 1, "positions_first": True}),
        (TileChoice(), conv(), {"rows": 6, "columns": 12, "blocks": 2, "positions_first": True}),
        (TileChoice(), conv(), {"rows": 1.0, "columns": 1, "blocks": 1, "positions_first": True}),
        (TileChoice(), conv(), {"rows": 1, "columns": 1, "blocks": 1, "positions_first": 7}),
        (TileChoice(), conv(), {"rows": 1}),
        (TileChoice(), conv(), 5),
        (ColumnChoice(), depthwise(), 0),
        (ColumnChoice(), depthwise(), 13),
        (ColumnChoice(), depthwise(), True),
        (ColumnChoice(), depthwise(), "2"),
    ],
)
def test_what_does_not_fit_the_operator_is_no_candidate(choice, op, value) -> None:
    with pytest.raises(ValueError, match=r"operator|no tile"):
        choice.from_json(value, op, MACHINE)


def test_the_fastest_is_taken(measured, tmp_path) -> None:
    fake = measured(lambda index, _: 1.0 if index == 3 else 2.0 + index)
    found = run(tmp_path)
    assert len(fake.asked) == 2
    for name, op, options in fake.asked:
        assert found.of(name)(op) == options[3]
    assert found.of("tile")("no choice") is None


def test_the_models_choice_stays_where_the_gain_is_noise(measured, tmp_path) -> None:
    fake = measured(lambda index, _: 1.0 if index == 0 else 0.985)
    found = run(tmp_path)
    for name, op, options in fake.asked:
        assert found.of(name)(op) == options[0]


def test_a_candidate_that_does_not_run_is_not_taken(measured, tmp_path) -> None:
    fake = measured(lambda index, _: None if index < 2 else float(index))
    found = run(tmp_path)
    for name, op, options in fake.asked:
        assert found.of(name)(op) == options[2]


def test_where_nothing_runs_the_cost_model_chooses(measured, tmp_path) -> None:
    measured(lambda index, _: None)
    with pytest.warns(UserWarning, match="it is a fake"):
        found = run(tmp_path)
    assert not found.chosen


def test_what_is_known_is_not_measured_again(measured, tmp_path) -> None:
    fake = measured(lambda index, _: -float(index))
    first = run(tmp_path, 6)
    assert run(tmp_path, 6).chosen == run(tmp_path, 4).chosen == run(tmp_path, 0).chosen
    assert first.chosen == run(tmp_path, 0).chosen
    assert len(fake.asked) == 2
    run(tmp_path, 8)  # more trials than before
    assert len(fake.asked) == 4


def test_without_trials_nothing_is_measured(measured, tmp_path) -> None:
    fake = measured(lambda index, _: 1.0)
    assert not run(tmp_path, 0).chosen
    assert not fake.asked
    assert not (tmp_path / "c.sqlite").exists()


def test_a_wrong_entry_is_measured_again(measured, tmp_path) -> None:
    fake = measured(lambda index, _: -float(index))
    first = run(tmp_path)
    with sqlite3.connect(tmp_path / "c.sqlite") as file:
        file.execute("UPDATE measurements SET candidate = '[1, 2]'")
    file.close()
    assert run(tmp_path).chosen == first.chosen
    assert len(fake.asked) == 4


def test_an_interruption_keeps_what_was_measured(measured, tmp_path) -> None:
    def interrupted(index, option):
        if isinstance(option, int):  # columns, the second operator
            raise KeyboardInterrupt
        return float(index)

    measured(interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    assert [name for name, _ in run(tmp_path, 0).chosen] == ["tile"]
    assert [path.name for path in tmp_path.iterdir()] == ["c.sqlite"]


def test_progress_ends_at_one(measured, tmp_path) -> None:
    measured(lambda index, _: 1.0)
    told = []
    run(tmp_path, progress=lambda fraction, word: told.append(fraction))
    assert told == [0.0, 0.5, 1.0]


def test_the_key_tells_apart_what_matters() -> None:
    def digest(choice="tile", op=None, machine=MACHINE, threads=1, device="cpu"):
        return key_of(choice, op or conv(), machine, threads, device).digest

    from dataclasses import replace

    others = [
        digest("columns"),
        digest(op=conv(13)),
        digest(op=replace(conv(), batch=2)),
        digest(machine=replace(MACHINE, l2=MACHINE.l2 * 2)),
        digest(threads=2),
        digest(device="another"),
    ]
    assert digest() == digest()
    assert len({digest(), *others}) == 1 + len(others)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tune_trials": -1}, "tune_trials is -1"),
        ({"tune_trials": 2.5}, r"tune_trials is 2\.5"),
        ({"tune_trials": True}, "tune_trials is True"),
        ({"tune_cache": "c.sqlite"}, r"tune_cache is 'c\.sqlite' and nothing is tuned"),
        ({"tune_remote": "h:1/k"}, "tune_remote is 'h:1/k' and nothing is tuned"),
        ({"tune_trails": 3}, "no option 'tune_trails'.*tune_trials"),
    ],
)
def test_wrong_options_are_refused(options, message) -> None:
    with pytest.raises(BackendError, match=message):
        planish.lower(planish.load(network()), backend="tvm", **options)


def test_another_machines_kernels_cannot_be_measured_here(tmp_path) -> None:
    options = {"tune_trials": 2, "tune_cache": tmp_path / "c"}
    with pytest.raises(BackendError, match=r"isa 'neon' cannot be measured here.*tune_remote"):
        planish.lower(planish.load(network()), backend="tvm", target="cpu{isa=neon}", **options)


def test_a_tuned_network_computes_the_same_and_reproducibly(tmp_path) -> None:
    model = network()
    feeds = {"x": np.random.default_rng(1).standard_normal((2, 3, 12, 12)).astype(np.float32)}
    options = {"backend": "tvm", "threads": 1, "tune_cache": tmp_path / "c.sqlite"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tuned = planish.lower(planish.load(model), tune_trials=3, **options)
        again = planish.lower(planish.load(model), tune_trials=0, **options)
    assert relative_error(run_ort(model, feeds)["y"], tuned(feeds)["y"]) <= 1e-4
    with sqlite3.connect(tmp_path / "c.sqlite") as file:
        rows = file.execute("SELECT choice, trials, seconds > 0 FROM measurements").fetchall()
    file.close()
    assert sorted(rows) == [("columns", 3, 1), ("tile", 3, 1), ("tile", 3, 1)]
    tuned.save(tmp_path / "a")
    again.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_chosen_candidates_are_the_kernels(measured, tmp_path) -> None:
    """Every candidate that can be chosen gives the same numbers, through the network's own code."""
    model = network()
    feeds = {"x": np.random.default_rng(1).standard_normal((1, 3, 12, 12)).astype(np.float32)}
    wanted = run_ort(model, feeds)["y"]
    for best in (1, 5, 11):
        measured(lambda index, _, best=best: 1.0 if index == best else 2.0)
        options = {"tune_trials": 12, "tune_cache": tmp_path / f"{best}"}
        lowered = planish.lower(planish.load(model), backend="tvm", threads=1, **options)
        assert relative_error(wanted, lowered(feeds)["y"]) <= 1e-4


def test_what_was_chosen_is_what_is_made() -> None:
    graph = prepare(planish.load(network()))
    chosen = Settings(tile_of=lambda _: RegisterTile(1, 2, 1, False), columns_of=lambda _: 5)
    plain, tuned = (
        lower_graph(BlockedEmitter(graph, MACHINE, settings)) for settings in (Settings(), chosen)
    )
    register = f"alloc_buffer(({MACHINE.lanes},))"
    for op, name in tuned.kernels.items():
        text = tuned.module[name].script()
        if isinstance(op, Convolution):
            assert text.count(register) == 2
        elif isinstance(op, Windows):
            assert text.count(register) == 5
        else:
            assert text == plain.module[plain.kernels[op]].script()
