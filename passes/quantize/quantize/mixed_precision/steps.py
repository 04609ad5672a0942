"""How far a search is: measures one after the other, each a step of so many."""

from __future__ import annotations

from ....engine.context import Report


class MeasuredSteps:
    """Tells `report` of steps, each of which tells the fraction of its own that is done."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._note, self._most, self._done = "", 1, 0

    def begin(self, most: int, note: str) -> None:
        """Begin steps of another kind, `most` at most."""
        self._note, self._most, self._done = note, max(most, 1), 0

    def __call__(self, fraction: float) -> None:
        """Tell how much of a step is done; a whole one is over."""
        self._report(min((self._done + fraction) / self._most, 1.0), self._note)
        self._done += fraction >= 1
