"""Bisection finds exactly the first wrong edit."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from planish import Pass, Pipeline, RewritePass, bisect, register_pass
from planish.ir.core.errors import FeedError, PassError
from planish.passes.engine.rewrite import Rewrite
from planish.passes.pipeline import registry

from tests.helpers import graph_of, sum_of_branches

COUNT = 9


class _Rescale(Rewrite):
    ops: ClassVar[frozenset[str]] = frozenset({"Abs"})

    def __init__(self, wrong):
        self.wrong = wrong

    def match(self, node, view):
        return node

    def rewrite(self, site, edit):
        """Replace Abs(x) by Max(x, -x), except at one site, where it becomes Relu."""
        edit.remove(site)
        if site.name == f"n{self.wrong}":
            edit.node("Relu", site.inputs, site.outputs, at=site)
            return
        flipped = edit.variable("flipped")
        edit.node("Neg", site.inputs, [flipped], at=site)
        edit.node("Max", [site.inputs[0], flipped], site.outputs, at=site)


@dataclass(frozen=True)
class BreaksOne(RewritePass):
    """Right everywhere but at the k-th site."""

    name: ClassVar[str] = "breaks-one"
    k: int = 0

    def rewrites(self):
        return (_Rescale(self.k),)


@pytest.mark.parametrize("k", range(1, COUNT + 1))
def test_finds_the_wrong_edit(k):
    pipeline = Pipeline((*Pipeline.parse("eliminate-identities").passes, BreaksOne(k)))
    found = bisect(pipeline, sum_of_branches(COUNT))
    assert found is not None
    assert (found.edit, found.edit_in_pass) == (k + 2, k)
    assert (found.pass_name, found.pass_index) == ("breaks-one", 1)
    assert "output 'y' differs by" in found.message


def test_none_where_all_is_well():
    assert bisect(Pipeline((BreaksOne(0),)), sum_of_branches(COUNT)) is None
    assert bisect(Pipeline.parse("eliminate-dead-code"), sum_of_branches(COUNT)) is None


def test_the_first_of_two_culprits():
    pipeline = Pipeline((BreaksOne(4), *Pipeline.parse("cleanup").passes))
    found = bisect(pipeline, sum_of_branches(COUNT))
    assert (found.edit, found.pass_name, found.pass_index) == (4, "breaks-one", 0)


def test_a_wrong_script_is_found_as_a_whole():
    registry.all_passes()
    before = dict(registry.REGISTERED)
    try:

        @register_pass(name="wrong-script", exact=True)
        def wrong(graph):
            for node in graph.nodes:
                if node.op == "Abs":
                    node.op = "Relu"

        pipeline = Pipeline.parse("eliminate-identities,wrong-script")
        found = bisect(pipeline, sum_of_branches(COUNT))
    finally:
        registry.REGISTERED.clear()
        registry.REGISTERED.update(before)
    assert (found.edit, found.edit_in_pass, found.pass_name) == (3, 1, "wrong-script")


def test_progress_halves_and_no_folder_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen = []
    bisect(
        Pipeline((BreaksOne(7),)),
        sum_of_branches(COUNT),
        progress=lambda low, high: seen.append((low, high)),
    )
    assert seen[0] == (0, COUNT)
    assert len(seen) <= 4  # log2(9) rounded up
    assert all(low < 7 <= high for low, high in seen)
    assert list(Path(tmp_path).iterdir()) == []


def test_passes_get_the_feeds():
    seen = []

    class Look(Pass):
        name = "look-at-feeds"

        def run(self, graph, context):
            seen.append([f["x"].sum() for f in context.feeds])

    feeds = iter([{"x": np.ones(64, np.float32)}])
    assert bisect(Pipeline((Look(),)), sum_of_branches(COUNT), feeds) is None
    assert seen == [[64.0]]  # the run that counts; with no edit there is nothing to compare


def test_feeds_that_do_not_fit():
    with pytest.raises(FeedError, match=r"shape \[3\]"):
        bisect(Pipeline((BreaksOne(1),)), sum_of_branches(COUNT), [{"x": np.ones(3, np.float32)}])


def test_nothing_to_compare_with():
    graph = graph_of(
        """<ir_version: 10, opset_import: ["" : 20, "my.domain" : 1]>
        g (float[4] x) => (float[4] y) { a = Identity(x) y = my.domain.Thing(a) }"""
    )
    with pytest.raises(PassError, match="cannot bisect: the original graph cannot be run"):
        bisect(Pipeline.parse("eliminate-identities"), graph)
