"""Every public name has a docstring and a place in the reference; what lacks one is named."""

from __future__ import annotations

import importlib.util

import pytest

import planish

from tests.docs.snippets import ROOT


@pytest.fixture(scope="module")
def check():
    path = ROOT / "docs" / "generate" / "docstrings.py"
    spec = importlib.util.spec_from_file_location("docstrings", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.problems


def test_all_are_documented(check):
    assert check() == []


def test_what_is_not_is_named(check, monkeypatch):
    class Bare(planish.Pass):
        def run(self, graph, context):
            """Do nothing."""

        def halve(self):
            pass

    monkeypatch.setattr(planish, "Bare", Bare, raising=False)
    monkeypatch.setattr(planish, "__all__", [*planish.__all__, "Bare"])
    # What a class outside planish adds is no name of planish's.
    Bare.__module__ = "planish.passes.bare"
    assert check() == [
        "public name without docstring: planish.Bare",
        "public name without docstring: planish.Bare.halve",
        "public name not in docs/reference/python.md: planish.Bare",
    ]
