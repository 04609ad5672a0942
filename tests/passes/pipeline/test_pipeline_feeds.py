"""Feeds of a run: every pass can loop over them, whatever they came as."""

import tempfile
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import planish
from planish.ir.core.errors import FeedError
from planish.passes.engine.context import Context
from planish.passes.engine.contract import Pass
from planish.passes.pipeline.pipeline import Pipeline
from planish.passes.quantize.quantize.calibration.calibrate import calibrate
from planish.passes.trust.bisect import bisect

from tests.helpers import graph_of

GRAPH = "g (float[N, 4] x) => (float[N, 4] y) { i = Identity(x) y = Relu(i) }"


@dataclass(frozen=True)
class Look(Pass):
    """Calibrates on the feeds twice and changes nothing."""

    name: ClassVar[str] = "look"
    seen: ClassVar[list[float]] = []

    def run(self, graph, context: Context) -> None:
        for _ in range(2):
            found = calibrate(graph, ["y"], context.feeds, progress=context.progress)
            self.seen.append(found["y"].maximum)


@dataclass(frozen=True)
class Interrupted(Pass):
    """Stops like a person who presses Ctrl-C while the feeds are read."""

    name: ClassVar[str] = "interrupted"

    def run(self, graph, context: Context) -> None:
        for _ in context.feeds:
            raise KeyboardInterrupt


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    Look.seen.clear()
    return tmp_path


def arrays(count=20):
    return np.arange(1, count + 1, dtype=np.float32)[:, None].repeat(4, 1)


def generated(count=20):
    return ({"x": row[None]} for row in arrays(count))


def pipeline(*passes):
    return Pipeline((*Pipeline.parse("eliminate-identities").passes, *passes))


@pytest.mark.parametrize("verify", ["each", "end", "off"])
@pytest.mark.parametrize("source", ["list", "generator", "npz"])
def test_every_pass_sees_all_feeds(folder, tmp_path, source, verify):
    graph = graph_of(GRAPH)
    np.savez(tmp_path / "f.npz", x=arrays())
    feeds = {
        "list": lambda: list(generated()),
        "generator": generated,
        "npz": lambda: planish.load_feeds(tmp_path / "f.npz", graph),
    }[source]()
    result = pipeline(Look(), Look()).run(graph, feeds, verify)
    assert Look.seen == [20, 20, 20, 20]
    assert result.edits == 1
    assert result.verified is (verify != "off")
    assert [path.name for path in folder.iterdir()] == ["f.npz"]


def test_no_more_is_read_than_is_asked_for(folder):
    drawn = []

    def endless():
        while True:
            drawn.append(1)
            yield {"x": np.ones((1, 4), np.float32)}

    assert pipeline().run(graph_of(GRAPH), endless(), "each").verified
    assert len(drawn) == 8


def test_an_interrupt_passes_through_and_leaves_no_file(folder):
    with pytest.raises(KeyboardInterrupt):
        pipeline(Interrupted()).run(graph_of(GRAPH), generated())
    assert list(folder.iterdir()) == []


def test_progress_of_calibration_reaches_the_run(folder):
    events = []
    pipeline(Look()).run(graph_of(GRAPH), list(generated(4)), verify="off", progress=events.append)
    told = [event.fraction for event in events if event.name == "look" and event.stage == "run"]
    assert told == [0, 0.25, 0.5, 0.75, 1, 0.25, 0.5, 0.75, 1]


def test_bisect_takes_a_generator(folder):
    assert bisect(pipeline(Look()), graph_of(GRAPH), generated()) is None
    assert set(Look.seen) == {20}
    assert list(folder.iterdir()) == []


def test_data_is_blamed_for_what_it_holds(folder):
    feeds = list(generated(12))
    feeds[9]["x"][0, 1] = np.nan  # beyond those that verification takes
    with pytest.raises(FeedError, match=r"pass 2 of 2, 'look': tensor 'x' holds NaN in sample 9"):
        pipeline(Look()).run(graph_of(GRAPH), feeds)
