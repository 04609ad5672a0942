"""Registering passes: classes, functions, decorators, entry points, and what is refused."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
import pytest

import planish
from planish import Pass, Pipeline, Rewrite, RewritePass, need, register_pass
from planish.ir.core.decline import DeclinedError
from planish.ir.core.errors import PassError, PipelineError
from planish.passes.pipeline import registry

from tests.helpers import graph_of, ops


@pytest.fixture(autouse=True)
def _clean():
    before = dict(registry.all_passes())
    yield
    registry.REGISTERED.clear()
    registry.REGISTERED.update(before)
    registry._load_entry_points.cache_clear()
    registry._load_entry_points()


def _graph():
    return graph_of("g (float[2] x) => (float[2] y) { a = Relu(x) y = Neg(a) }")


@dataclass(frozen=True)
class _Example(Pass):
    """Do nothing at all. At length."""

    name: ClassVar[str] = "registry-class"

    def run(self, graph, context):
        """Do nothing."""


def test_class():
    assert register_pass(_Example) is _Example
    assert register_pass(_Example) is _Example  # twice is no conflict
    assert registry.get_pass("registry-class") is _Example
    assert Pipeline.parse("registry-class").passes == (_Example(),)
    assert _Example.summary() == "Do nothing at all"


def test_function_options_come_from_its_parameters():
    seen = []

    def registry_function(graph: gs.Graph, *, factor: float = 2.0, tag: str = "t"):
        """Rename nothing."""
        seen.append((factor, tag))

    assert register_pass(registry_function) is registry_function
    result = Pipeline.parse("registry-function{factor=3}").run(_graph(), verify="off")
    assert seen == [(3.0, "t")]
    assert result.records[0].text == "registry-function{factor=3.0}"
    assert registry.get_pass("registry-function").exact is False
    assert registry.get_pass("registry-function").__module__ == __name__


def test_a_function_that_ends_the_process_is_a_pass_that_fails():
    def registry_leaves(graph):
        """Leave."""
        raise SystemExit(7)

    register_pass(registry_leaves)
    with pytest.raises(PassError, match=r"'registry-leaves'.*SystemExit: 7"):
        Pipeline.parse("registry-leaves").run(_graph(), strict=True)


def test_a_pass_or_a_rewrite_that_ends_the_process_fails():
    @register_pass
    @dataclass(frozen=True)
    class RegistryExits(Pass):
        """Leave."""

        name: ClassVar[str] = "registry-exits"

        def run(self, graph, context):
            raise SystemExit(7)

    class Leaving(Rewrite):
        ops = frozenset({"Relu"})

        def match(self, node, view):
            raise SystemExit(8)

        def rewrite(self, site, edit):
            """Change nothing."""

    @register_pass
    @dataclass(frozen=True)
    class RegistryMatches(RewritePass):
        """Leave in the middle."""

        name: ClassVar[str] = "registry-matches"

        def rewrites(self):
            return (Leaving(),)

    for text, code in (("registry-exits", 7), ("registry-matches", 8)):
        with pytest.raises(PassError, match=rf"'{text}'.*SystemExit: {code}; return from the pass"):
            Pipeline.parse(text).run(_graph(), strict=True)


def test_decorator_forms():
    @register_pass
    def registry_plain(graph):
        pass

    @register_pass(name="registry-named", exact=True)
    def other(graph):
        pass

    @register_pass()
    @dataclass(frozen=True)
    class Third(_Example):
        name: ClassVar[str] = "registry-third"

    assert registry.get_pass("registry-plain").exact is False
    assert registry.get_pass("registry-named").exact is True
    assert registry.get_pass("registry-third") is Third


def test_function_may_return_another_graph():
    def registry_other(graph):
        copy = graph.copy()
        copy.nodes[0].op = "Abs"
        return copy

    register_pass(registry_other)
    graph = _graph()
    result = Pipeline.parse("registry-other").run(graph)
    assert ops(result.graph) == ["Abs", "Neg"]
    assert ops(graph) == ["Relu", "Neg"]
    assert result.records[0].edits == 1


@pytest.mark.parametrize("name", ["Caps", "under_score", "-dash", "dash-", "a--b", "", "1a", "a b"])
def test_names_that_are_not_kebab_case(name):
    with pytest.raises(PassError, match="kebab-case"):
        register_pass(lambda graph: None, name=name or "_")


@pytest.mark.parametrize(
    ("name", "says"),
    [("fold-constants", "registered already"), ("exact", "the name of a preset")],
)
def test_taken_names(name, says):
    with pytest.raises(PassError, match=says):
        register_pass(lambda graph: None, name=name)
    assert registry.get_pass("fold-constants").__name__ == "FoldConstants"


def test_two_functions_of_one_name():
    register_pass(lambda graph: None, name="registry-twice")
    with pytest.raises(PassError, match="'registry-twice' is registered already"):
        register_pass(lambda graph: None, name="registry-twice")


def _no_default(graph, *, size: int): ...
def _no_annotation(graph, *, size=3): ...
def _takes_name(graph, *, name: str = "x"): ...
def _mutable(graph, *, sizes: list = []): ...  # noqa: B006
def _unknown_type(graph, *, size: Nowhere = 1): ...  # noqa: F821
def _nothing(): ...


class _Abstract(Pass):
    name = "registry-abstract"


class _Nameless(_Example.__mro__[1]):
    def run(self, graph, context):
        pass


@pytest.mark.parametrize(
    ("item", "says"),
    [
        (_no_default, "option 'size' of pass 'registry-x' needs an annotation and a default"),
        (_no_annotation, "needs an annotation and a default"),
        (_takes_name, "cannot have an option 'name'"),
        (_mutable, "options of pass 'registry-x' cannot be used"),
        (_unknown_type, "Nowhere"),
        (_nothing, "its first one is the graph"),
        (3, "neither a Pass subclass nor a function"),
        (dict, "neither a Pass subclass nor a function"),
    ],
)
def test_refused(item, says):
    with pytest.raises(PassError, match=says):
        register_pass(item, name="registry-x")


@pytest.mark.parametrize(
    ("item", "says"), [(_Abstract, "does not define run"), (_Nameless, "does not define name")]
)
def test_incomplete_classes(item, says):
    with pytest.raises(PassError, match=says):
        register_pass(item)


def test_unknown_name_has_a_hint():
    with pytest.raises(PipelineError, match="did you mean 'fold-constants'"):
        registry.get_pass("fold-constant")


def _entries(monkeypatch, *entries):
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: list(entries))
    registry._load_entry_points.cache_clear()


def _entry(name, load):
    return SimpleNamespace(name=name, value=f"somewhere:{name}", load=load)


def test_entry_points(monkeypatch):
    def registry_entry(graph):
        pass

    def load_decorated():
        return register_pass(registry_decorated, name="registry-own-name", exact=True)

    def registry_decorated(graph):
        pass

    _entries(
        monkeypatch,
        _entry("a", lambda: registry_entry),
        _entry("b", lambda: _Example),
        _entry("c", load_decorated),
    )
    known = planish.passes.pipeline.registry.all_passes()
    assert {"registry-entry", "registry-class", "registry-own-name"} <= known.keys()
    assert "registry-decorated" not in known
    assert known["registry-own-name"].exact is True


@pytest.mark.parametrize(
    "error", [ImportError("'gone'"), SystemExit("'gone'"), PassError("'gone'")]
)
def test_a_broken_entry_point_is_named_and_left_out(monkeypatch, error):
    def registry_good(graph):
        pass

    def broken():
        raise error

    _entries(monkeypatch, _entry("bad", broken), _entry("good", lambda: registry_good))
    with pytest.warns(UserWarning, match=r"'bad' = 'somewhere:bad'.*'gone'; fix or uninstall"):
        assert "registry-good" in registry.all_passes()
    Pipeline.parse("registry-good").run(_graph())
    _entries(monkeypatch)


@pytest.mark.parametrize("condition", [None, False, np.bool_(False)])
def test_need_declines(condition):
    with pytest.raises(DeclinedError, match="because"):
        need(condition, "because")


@pytest.mark.parametrize("condition", [0, 0.0, "", (), np.zeros(3), True])
def test_need_returns_what_holds(condition):
    assert need(condition, "because") is condition


def test_public_contract_names():
    assert issubclass(RewritePass, Pass)
    assert planish.Rewrite is Rewrite
