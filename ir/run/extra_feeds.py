"""Feeds that carry more than a graph reads, such as labels."""

from __future__ import annotations

import operator
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.errors import FeedError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class FeedsWithout:
    """`feeds`, each without the entries `names`; every loop reads them anew.

    Raises FeedError in the loop, naming the sample, where an entry is missing.
    """

    feeds: Iterable[Mapping[str, Array]]
    names: Collection[str]

    def __iter__(self) -> Iterator[dict[str, Array]]:
        for index, feed in enumerate(self.feeds):
            for name in self.names:
                if name not in feed:
                    raise FeedError(
                        f"batch {index} of the feeds has no entry '{name}', which a pass was told "
                        f"to read; it has {', '.join(sorted(feed)) or 'none'}"
                    )
            yield {name: array for name, array in feed.items() if name not in self.names}

    def __length_hint__(self) -> int:
        return operator.length_hint(self.feeds)
