"""The time that a pass still takes, told from its fractions and a clock."""

from __future__ import annotations

from planish.cli.show.time_left import TimeLeft
from planish.passes.engine.records import Progress


def _told(*steps):
    """Return what is told of each step: a number of a pass, seconds on the clock, a fraction."""
    clock = iter(seconds for _, seconds, _ in steps)
    left = TimeLeft(lambda: next(clock))
    made = [
        Progress(index=index, total=4, name=f"pass-{index}", stage="run", fraction=fraction)
        for index, _, fraction in steps
    ]
    return [left.words(step) for step in made]


def test_a_pass_that_goes_on_as_it_did():
    told = _told((0, 100.0, 0.0), (0, 110.0, 0.25), (0, 130.0, 0.75), (0, 900.0, 0.8))
    assert told == ["", "about 30 s left", "about 10 s left", "about 3 min 20 s left"]


def test_the_next_pass_begins_anew():
    """Also the same one that runs again, from its start."""
    told = _told((0, 0.0, 0.0), (0, 8.0, 0.5), (1, 20.0, 0.0), (1, 24.0, 0.5), (1, 30.0, 0.0))
    assert told == ["", "about 8 s left", "", "about 4 s left", ""]


def test_a_pass_that_falls_back_is_timed_anew():
    """To another part of its work, which begins somewhere between."""
    told = _told((0, 0.0, 0.0), (0, 90.0, 0.9), (0, 100.0, 0.2), (0, 110.0, 0.6))
    assert told == ["", "about 10 s left", "", "about 10 s left"]


def test_what_says_nothing():
    """The first seconds, the first steps, and the last."""
    assert _told((0, 0.0, 0.0), (0, 1.0, 0.5), (0, 9.0, 0.01), (0, 99.0, 1.0)) == [""] * 4
