"""A run survives what goes wrong at one site, in one pass, or in verification."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import planish
from planish import Pass, Pipeline, RewritePass, register_pass
from planish.ir.core.errors import (
    FeedError,
    PassError,
    PipelineError,
    RefusedError,
    VerificationError,
)
from planish.ir.graph.uses import Uses, scopes
from planish.ir.graph.wellformed import check
from planish.passes.engine.rewrite import Rewrite
from planish.passes.pipeline import registry
from planish.passes.pipeline.repeat import Repeat
from planish.passes.pipeline.run.reproducers import Reproducers

from tests.helpers import graph_of, ops, run_ort, sum_of_branches

COUNT = 7


X = {"x": np.random.default_rng(3).standard_normal(64).astype(np.float32)}


def _values(graph):
    return run_ort(planish.to_model(graph, portable=True), X)["y"]


class _Spell(Rewrite):
    """Abs(x) as Max(x, -x); at some sites it raises before, amid or after its changes."""

    ops: ClassVar[frozenset[str]] = frozenset({"Abs"})

    def __init__(self, options):
        self.options = options

    def match(self, node, view):
        if self.options.where == "match" and self.options.bad(node):
            raise KeyError("table")
        return node

    def rewrite(self, site, edit):
        bad = self.options.bad(site)
        flipped, fresh = edit.variable("flipped"), edit.variable("fresh")
        edit.node("Neg", site.inputs, [flipped], at=site)
        if bad and self.options.where == "amid":
            edit.set_input(edit.uses.readers(site.outputs[0])[0], 0, flipped)
            edit.rename_output(edit.uses.producer(site.inputs[0]), site.inputs[0], fresh)
            raise ValueError("amid")
        if bad and self.options.where == "relu":  # a wrong rewrite
            edit.remove(site)
            edit.node("Relu", site.inputs, site.outputs, at=site)
            return
        edit.remove(site)
        made = edit.node("Max", [site.inputs[0], flipped], site.outputs, at=site)
        if bad and self.options.where == "after":
            edit.take_name(flipped, fresh)
            edit.node("Identity", [made.outputs[0]], [edit.variable("more")], at=made)
            raise AssertionError("after")
        if bad and self.options.where == "twice":
            edit.remove(site)
        if bad and self.options.where == "refused":
            raise RefusedError("not on this graph")
        if bad and self.options.where == "memory":
            raise MemoryError("full")


@dataclass(frozen=True)
class Spell(RewritePass):
    """Spell Abs by Max."""

    name: ClassVar[str] = "spell"
    where: str = "amid"
    sites: str = "n3"

    def bad(self, node):
        return node.name in self.sites.split("+")

    def rewrites(self):
        return (_Spell(self),)


@dataclass(frozen=True)
class Whole(Pass):
    """Edit a graph as a whole, and fail in one of several ways."""

    name: ClassVar[str] = "whole"
    how: str = "raise"

    def run(self, graph, context):
        with context.editing() as edit:
            assert edit.begin()
            node = next(n for n in graph.nodes if n.op == "Abs")
            edit.remove(node)
            if self.how != "malformed":
                edit.node("Relu", node.inputs, node.outputs, at=node)
        if self.how != "wrong" and self.how != "malformed":
            raise {
                "raise": ZeroDivisionError("whole"),
                "feed": FeedError("bad data"),
                "refused": RefusedError("bad option"),
                "pipeline": PipelineError("bad text"),
                "memory": MemoryError("full"),
            }[self.how]


@pytest.fixture(autouse=True)
def _registered():
    registry.all_passes()
    before = dict(registry.REGISTERED)
    for item in (Spell, Whole):
        register_pass(item)
    yield
    registry.REGISTERED.clear()
    registry.REGISTERED.update(before)


def _run(text, tmp_path, **kwargs):
    kwargs = {"verify": "each", "strict": False, "reproducer": tmp_path / "r", **kwargs}
    return Pipeline.parse(text).run(sum_of_branches(COUNT), **kwargs)


@pytest.mark.parametrize("verify", ["each", "end", "off"])
@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("match", "KeyError: 'table'"),
        ("amid", "ValueError: amid"),
        ("after", "AssertionError: after"),
        ("twice", "was removed twice"),
    ],
)
def test_a_bad_site_is_left_as_it_was(tmp_path, where, error, verify):
    result = _run(f"eliminate-identities,spell{{where={where}}}", tmp_path, verify=verify)
    assert ops(result.graph).count("Abs") == 1
    assert ops(result.graph).count("Max") == COUNT - 1
    (failure,) = result.failures
    assert result.records[1].failures == (failure,)
    assert result.records[1].edits == COUNT - 1
    assert failure.pass_name == "spell"
    assert "'n3' (Abs)" in failure.node
    assert error in failure.error
    assert "github.com" in failure.report
    assert error in failure.report
    assert result.verified is (verify != "off")
    np.testing.assert_array_equal(_values(result.graph), _values(sum_of_branches(COUNT)))
    # Nothing of the edit is left: the node reads and makes what it did, and no name is lost.
    (left,) = (node for node in result.graph.nodes if node.op == "Abs")
    assert [t.name for t in (*left.inputs, *left.outputs)] == ["s3", "a3"]
    assert ops(result.graph).count("Neg") == COUNT - 1
    check(result.graph)


@pytest.mark.parametrize("where", ["match", "amid", "after", "twice"])
def test_strict_makes_an_error_of_it(tmp_path, where):
    with pytest.raises(PassError, match=r"pass 1 of 1, 'spell': .*reproduce with"):
        _run(f"spell{{where={where}}}", tmp_path, strict=True)


def test_the_reproducer_shows_it_again(tmp_path):
    (failure,) = _run("eliminate-identities,spell", tmp_path).failures
    words = shlex.split(failure.command)
    assert words[-1] == "--strict"
    assert failure.reproducer == tmp_path / "r"
    assert "ValueError: amid" in (failure.reproducer / "error.txt").read_text()
    text = (failure.reproducer / "pipeline.txt").read_text()
    with pytest.raises(PassError, match="amid"):
        Pipeline.parse(text).run(planish.load(failure.reproducer / "before.onnx"), strict=True)


def test_several_bad_sites_share_a_reproducer(tmp_path):
    failures = _run("spell{sites=n1+n4+n7}", tmp_path).failures
    assert [failure.node.split("'")[1] for failure in failures] == ["n1", "n4", "n7"]
    assert len({failure.reproducer for failure in failures}) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r"]


def test_the_index_is_what_it_would_be_afresh():
    graph = sum_of_branches(COUNT)
    context = planish.Context(graph, strict=False)
    Spell(where="after", sites="n2+n5").run(graph, context)
    Spell(where="amid", sites="n2+n5").run(graph, context)
    fresh = Uses(graph)
    for scope in scopes(graph):
        for node in scope.nodes:
            assert context.uses.scope(node) is scope
            for tensor in (*node.inputs, *node.outputs):
                assert context.uses.producer(tensor) is fresh.producer(tensor)
                assert context.uses.reads(tensor) == fresh.reads(tensor)
                assert set(map(id, context.uses.readers(tensor))) == set(
                    map(id, fresh.readers(tensor))
                )
    assert len(context.failed) == 4


@pytest.mark.parametrize("verify", ["each", "end"])
@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("whole", "ZeroDivisionError: whole"),
        ("whole{how=malformed}", "no node before it produces"),
        ("whole{how=wrong}", "output 'y' differs by"),
        ("spell{where=relu}", "output 'y' differs by"),
    ],
)
def test_a_bad_pass_is_rolled_back(tmp_path, text, error, verify):
    result = _run(f"eliminate-identities,{text},spell{{where=none}}", tmp_path, verify=verify)
    assert result.verified
    assert ops(result.graph).count("Max") == COUNT  # those before and behind it have run
    assert "Identity" not in ops(result.graph)
    (failure,) = result.failures
    assert failure.node is None
    assert "pass 2 of 3" in failure.place
    assert error in failure.error
    assert [record.edits for record in result.records] == [2, 0, COUNT]
    np.testing.assert_array_equal(_values(result.graph), _values(sum_of_branches(COUNT)))
    assert (failure.reproducer / "before.onnx").exists()


def test_the_end_is_told_on_every_culprit(tmp_path):
    text = "whole{how=wrong},eliminate-identities,spell{where=relu}"
    result = _run(text, tmp_path, verify="end", dump=tmp_path / "dump")
    assert [failure.pass_name for failure in result.failures] == ["whole", "spell"]
    assert result.verified
    assert result.error < 1e-6
    assert sorted((tmp_path / "dump").iterdir()) == sorted(result.dumped)
    assert len(result.dumped) == 1
    with pytest.raises(VerificationError, match=r"the pipeline \(whole, "):
        _run(text, tmp_path, verify="end", strict=True)


def test_a_script_that_edits_by_hand_is_rolled_back(tmp_path):
    @register_pass(name="by-hand")
    def by_hand(graph):
        graph.nodes[0].op = "Neg"
        graph.nodes[-1].inputs.pop()
        raise RuntimeError("too late")

    result = _run("by-hand,spell{where=none}", tmp_path, verify="end")
    assert result.verified
    assert [failure.error for failure in result.failures] == ["RuntimeError: too late"]
    np.testing.assert_array_equal(_values(result.graph), _values(sum_of_branches(COUNT)))


def test_a_change_past_the_edit_rolls_the_pass_back(tmp_path):
    class Hands(Rewrite):
        ops = frozenset({"Abs"})

        def match(self, node, view):
            return node

        def rewrite(self, site, edit):
            site.op = "Neg"

    @dataclass(frozen=True)
    class HandsOn(RewritePass):
        """Change nodes past the edit."""

        name: ClassVar[str] = "hands-on"

        def rewrites(self):
            return (Hands(),)

    register_pass(HandsOn)
    (failure,) = (result := _run("hands-on", tmp_path)).failures
    assert failure.node is None
    assert ops(result.graph) == ops(sum_of_branches(COUNT))


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("whole{how=feed}", FeedError),
        ("whole{how=pipeline}", PipelineError),
        ("whole{how=refused}", RefusedError),
        ("whole{how=memory}", MemoryError),
        ("spell{where=refused}", RefusedError),
        ("spell{where=memory}", MemoryError),
        ("convert-opset{to=99}", RefusedError),
        ("replace-head{classes=3,output=z}", RefusedError),
    ],
)
def test_what_the_person_is_to_know_stays_an_error(tmp_path, text, kind, strict):
    with pytest.raises(kind):
        _run(text, tmp_path, strict=strict)


@pytest.mark.parametrize(
    ("text", "kept"), [("eliminate-identities", 0), ("eliminate-identities,whole", 2)]
)
def test_exact_passes_run_without_copies_until_one_fails(tmp_path, monkeypatch, text, kept):
    copies = []
    real = Reproducers.keep
    monkeypatch.setattr(
        Reproducers, "keep", lambda held, graph: (copies.append(graph), real(held, graph))
    )
    result = _run(text, tmp_path, verify="end")
    assert (len(copies), len(result.failures)) == (kept, kept // 2)
    assert result.verified
    assert "Identity" not in ops(result.graph)


@pytest.mark.parametrize("bad", [Spell(), Whole(), Whole("wrong")])
def test_a_group_does_not_loop_on_what_was_rolled_back(tmp_path, bad):
    tail = Pipeline.parse("eliminate-identities").passes
    pipeline = Pipeline((Repeat((bad, *tail)),))
    result = pipeline.run(
        sum_of_branches(COUNT), verify="each", strict=False, reproducer=tmp_path / "r"
    )
    assert len(result.failures) == 1
    assert max(record.round for record in result.records) == 1
    assert result.verified


def test_strict_is_the_environment_where_nobody_says(monkeypatch):
    pipeline = Pipeline((Spell(),))
    monkeypatch.setenv("PLANISH_STRICT", "1")
    with pytest.raises(PassError):
        pipeline.run(sum_of_branches(COUNT))
    for value in ("0", "", "false"):
        monkeypatch.setenv("PLANISH_STRICT", value)
        assert len(pipeline.run(sum_of_branches(COUNT)).failures) == 1
    monkeypatch.delenv("PLANISH_STRICT")
    assert len(pipeline.run(sum_of_branches(COUNT)).failures) == 1


def test_a_node_with_a_subgraph_cannot_be_put_back_alone(tmp_path):
    class OpenIf(Rewrite):
        ops = frozenset({"If"})

        def match(self, node, view):
            return node

        def rewrite(self, site, edit):
            edit.remove(site)
            raise ValueError("amid")

    @dataclass(frozen=True)
    class Opened(RewritePass):
        """Remove an If and fail."""

        name: ClassVar[str] = "open-if"

        def rewrites(self):
            return (OpenIf(),)

    register_pass(Opened)
    graph = graph_of(
        """g (float[4] x, bool t) => (float[4] y) { n = Neg(x) y = If (t) <
            then_branch = a () => (float[4] p) { p = Abs(n) },
            else_branch = b () => (float[4] q) { q = Identity(n) }> }"""
    )
    result = Pipeline.parse("open-if").run(graph, strict=False, reproducer=tmp_path / "r")
    assert [failure.node for failure in result.failures] == [None]
    assert ops(result.graph) == ["Neg", "If"]
