"""Which of two outputs with four columns holds boxes, and which one scores of four classes.

What is told by values comes before what is told by names: boxes in pixels, second corners behind
first ones, scores that are low for nearly all boxes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from .box_scores import read_scores
from .boxes import are_boxes, are_corners
from .result import Array
from .seen import SeenOutput

# What is larger than this is no score and no fraction of an image's side.
PIXELS = 2.0
# The mean score of boxes, where most hold nothing.
_MOSTLY = 0.25
# In so few rows corners may be in order by chance.
_FEWEST_ROWS = 8
_BOXES = re.compile(r"box|coord|loc(?!al)|reg(?!ion)|offset|delta|rect|ltrb|xyxy|xywh")
_SCORES = re.compile(r"score|prob|conf|logit|cls|class|categor|label")


def are_mostly_nothing(scores: Array) -> bool:
    """Say whether scores [N, boxes, classes] are low for nearly all boxes."""
    reading = read_scores(scores)
    return bool(np.mean([reading.best(each)[1].mean() for each in scores]) < _MOSTLY)


def boxes_come_first(a: SeenOutput, b: SeenOutput) -> bool | None:
    """Say whether `a` holds the boxes and `b` their scores, both [N, boxes, 4]; None: not told."""
    for like_boxes in _SIGNS:
        first, second = like_boxes(a), like_boxes(b)
        if first != second:
            return first > second
    return None


def _by_ending(seen: SeenOutput) -> int:
    """Softmax gives scores; sizes that are powers belong to boxes."""
    ending = seen.reading.ending
    return ("Exp" in ending) - any(op.endswith("Softmax") for op in ending)


def _in_pixels(seen: SeenOutput) -> int:
    return int(are_boxes(seen.values) and float(seen.values.max()) > PIXELS)


def _in_corners(seen: SeenOutput) -> int:
    rows = seen.values.reshape(-1, 4)
    return int(len(rows) >= _FEWEST_ROWS and are_corners(rows, strictly=True))


def _rarely_high(seen: SeenOutput) -> int:
    return -int(are_mostly_nothing(seen.values))


def _by_name(seen: SeenOutput) -> int:
    name = seen.name.lower()
    return bool(_BOXES.search(name)) - bool(_SCORES.search(name))


_SIGNS: tuple[Callable[[SeenOutput], int], ...] = (
    _by_ending,
    _in_pixels,
    _in_corners,
    _rarely_high,
    _by_name,
)
