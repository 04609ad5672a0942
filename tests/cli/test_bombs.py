"""Small files that ask for much end, within the limits that the troubleshooting page states."""

from __future__ import annotations

import os

import pytest

import planish
from planish.ir.run import reference
from planish.tools.reduce.apart import Limits, run_apart

from tests.sweep.bombs import BOMBS

SLOW = {"Tile", "Expand", "Pad", "Resize", "OneHot", "a size that overflows", "a negative size"}
KINDS = [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in BOMBS]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
@pytest.mark.parametrize("name", KINDS)
def test_it_ends(name, monkeypatch):
    monkeypatch.setattr(reference, "_MOST_SECONDS", 0.5)
    monkeypatch.setattr(reference, "_MOST_SECONDS_FOLDED", 0.5)
    model = BOMBS[name]()

    def run():
        try:
            result = planish.Pipeline.parse("exact").run(planish.load(model))
            planish.lower(result.graph)
        except planish.PlanishError as error:
            return str(error)
        return result.note

    found = run_apart(run, Limits(seconds=120.0, memory=4 << 30))
    assert found.how == ""
    if name != "bodies 30 deep":
        assert found.value  # it is refused, or says that nothing was verified
    if "loop" in name:
        assert "did not end within 0.5 seconds" in found.value
    if "double" in name:
        assert "written out" in found.value
