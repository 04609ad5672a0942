"""Feeds with entries beyond the graph's inputs: labels for the passes that ask for them."""

import operator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import planish
from planish.ir.core.errors import FeedError
from planish.ir.run.extra_feeds import FeedsWithout
from planish.passes.engine.contract import Pass

from tests.helpers import conv_batchnorm

X = np.ones((2, 3, 9, 9), np.float32)
FEEDS = [{"x": X, "digit": np.array([1, 2])}, {"x": 2 * X, "digit": np.array([3, 4])}]


@dataclass(frozen=True)
class Reads(Pass):
    """Reads labels, edits nothing."""

    name: ClassVar[str] = "reads-labels"
    seen: ClassVar[list[tuple[set[str], list[int]]]] = []

    labels: str = "digit"

    def extra_feeds(self):
        return (self.labels,)

    def run(self, graph, context):
        plain = {name for feed in context.feeds for name in feed}
        self.seen.append((plain, [int(n) for feed in context.labelled for n in feed["digit"]]))


def test_entries_are_left_out_as_often_as_they_are_read():
    feeds = FeedsWithout(FEEDS, ["digit"])
    assert operator.length_hint(feeds) == 2
    for _ in range(2):
        found = list(feeds)
        assert [set(feed) for feed in found] == [{"x"}, {"x"}]
        assert found[1]["x"] is FEEDS[1]["x"]


def test_a_missing_entry_is_named_with_its_batch():
    with pytest.raises(FeedError, match=r"batch 1 of the feeds has no entry 'digit'.* it has x"):
        list(FeedsWithout([FEEDS[0], {"x": X}], ["digit"]))


def test_only_the_pass_that_asks_sees_labels():
    Reads.seen.clear()
    graph = planish.load(conv_batchnorm())
    pipeline = planish.Pipeline((*planish.Pipeline.parse("exact").passes, Reads()))
    assert pipeline.extra_feeds() == {"digit"}
    result = pipeline.run(graph, iter(FEEDS), verify="each")
    assert result.verified
    assert Reads.seen == [({"x"}, [1, 2, 3, 4])]
    with pytest.raises(FeedError, match="feed 'digit' is no input of the graph"):
        planish.Pipeline.parse("exact").run(graph, FEEDS)


def test_a_file_with_labels(tmp_path):
    graph = planish.load(conv_batchnorm())
    path = tmp_path / "feeds.npz"
    np.savez(path, x=np.concatenate([feed["x"] for feed in FEEDS]), digit=np.arange(4))
    with pytest.raises(FeedError, match="feed 'digit' is no input of the graph"):
        planish.load_feeds(path, graph)
    feeds = planish.load_feeds(path, graph, batch=2, extra=["digit"])
    assert [feed["digit"].tolist() for feed in feeds] == [[0, 1], [2, 3]]
    with pytest.raises(FeedError, match="no entry 'class'"):
        planish.load_feeds(path, graph, extra=["digit", "class"])
    (tmp_path / "images").mkdir()
    with pytest.raises(FeedError, match="a folder of images has no entries digit"):
        planish.load_feeds(tmp_path / "images", graph, extra=["digit"])
