"""The inputs and outputs that the graph of a run has, and the feeds that fit them."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_graphsurgeon as gs

from ....ir.run.extra_feeds import FeedsWithout
from ....ir.run.feeds import check_feeds, fits
from ...engine.context import Feeds
from ...engine.contract import Pass
from .interface import InterfacePort, read_interface


class FittingFeeds:
    """What `passes` may read of the feeds that were `given`, which one may make inputs for.

    `labelled`: the feeds with the entries that are no inputs. `fitting`: those without, None while
    they do not fit. `interface`: the inputs and outputs that the graph must keep.
    """

    fitting: Feeds | None
    interface: list[InterfacePort]

    def __init__(self, given: Feeds | None, passes: Sequence[Pass]) -> None:
        extra = sorted({name for item in passes for name in item.extra_feeds()})
        self.labelled = given
        self._given = FeedsWithout(given, extra) if extra and given is not None else given
        self._changes = not all(each.keeps_interface for each in passes)
        self._fitted = False  # at any time

    def take(self, graph: gs.Graph) -> None:
        """Go on with the inputs and outputs that `graph` has, and the feeds that fit them.

        Where no pass changes them, feeds must fit, which the first that reads them finds out.
        """
        self.interface = read_interface(graph)
        fitting = self._given is None or not self._changes or fits(self._given, graph)
        self.fitting = self._given if fitting else None
        self._fitted = self._fitted or fitting

    def require_fitted(self, graph: gs.Graph) -> None:
        """Raise FeedError where the feeds have never fitted: `graph` says what does not."""
        if self._given is not None and not self._fitted:
            check_feeds(next(iter(self._given), {}), graph)
