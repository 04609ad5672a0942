"""Heads of detectors, recognized by ranges and shapes, and the boxes that they hold.

One output: (cx, cy, w, h) or corners in pixels, joined with scores in 0..1, as YOLO's raw heads
[N, 4 + classes, boxes] and [N, boxes, 5 + classes], or with a score and a class. Several: boxes
[N, boxes, 4] beside scores, as DETR gives them; offsets from anchors [N, anchors, 4] beside scores,
as raw SSD; boxes, scores and classes after suppression; a map of scores beside maps of sizes and
offsets, as CenterNet's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .anchors import AnchorLayout, are_offsets, variances
from .box_scores import BoxScores, in_unit, read_scores
from .boxes import Boxes, are_boxes, are_corners, corners_of
from .result import Array, Outputs
from .roles import PIXELS, are_mostly_nothing, boxes_come_first
from .seen import SeenOutput

_SELDOM = 0.05
# The mean score of a map, where most places hold nothing.
_MOSTLY = 0.25


@dataclass(frozen=True)
class DetectionHead:
    """Names of the outputs, what they are, how to decode them, and whether boxes overlap still."""

    outputs: tuple[str, ...]
    what: str
    decode: Callable[[Outputs], list[Boxes]]
    suppress: bool = True


def find_head(seen: Sequence[SeenOutput], *, asked: bool = False) -> DetectionHead | None:
    """Return the head that the outputs are, None where they are none.

    `asked`: a head is known to be there, so boxes need not lie in pixels.
    """
    anchors = functools.partial(_anchor_head, asked=asked)
    finders = (_final_head, _separate_head, anchors, _center_head)
    found = next((h for find in finders if (h := find(seen)) is not None), None)
    if found is not None or untold_heads(seen):
        return found
    heads = (_raw_head(each, asked) for each in seen)
    return next((head for head in heads if head is not None), None)


def untold_heads(seen: Sequence[SeenOutput]) -> tuple[str, ...]:
    """Return the names of outputs that may be boxes and scores of four classes, either the other.

    None where that is told, or where they are no head whichever is which.
    """
    for one, other in _fitting(seen, least=4):
        if other.values.shape[2] != 4 or boxes_come_first(one, other) is not None:
            continue
        anchors = are_offsets(one.values) and are_mostly_nothing(other.values)
        if are_boxes(one.values) or anchors:
            return one.name, other.name
    return ()


def _raw_head(seen: SeenOutput, asked: bool) -> DetectionHead | None:
    values = seen.values
    if values.ndim != 3 or values.dtype.kind != "f" or not values.size:
        return None
    if seen.reading.is_squashed is False and not asked:
        return None  # activations, which lie in 0..1 by chance
    batch = seen.batch if seen.batch is not None else 0
    rest = sorted((a for a in range(3) if a != batch), key=lambda axis: values.shape[axis])
    for axis in rest:
        rows = np.moveaxis(values, (batch, axis), (0, 2)).astype(np.float64)
        if _is_raw(rows, asked):
            objects, label = _columns(rows)
            objects &= (4, rows.shape[2] - 4) not in seen.reading.parts
            layout = _RawLayout(
                output=seen.name,
                batch=batch,
                axis=axis,
                corners=are_corners(rows),
                objects=objects,
                label=label,
            )
            what = f"boxes in the first four of axis {axis}, {layout.scores} behind them"
            return DetectionHead((seen.name,), what, layout, suppress=layout.label is None)
    return None


def _is_raw(rows: Array, asked: bool) -> bool:
    """Say whether rows [N, boxes, features] are boxes with scores."""
    if rows.shape[2] < 5 or not np.all(np.isfinite(rows)):
        return False
    scores = rows[..., 4:5] if _has_label(rows) else rows[..., 4:]
    boxes = rows[..., :4]
    return in_unit(scores) and are_boxes(boxes) and (asked or float(boxes.max()) > PIXELS)


def _has_label(rows: Array) -> bool:
    """Say whether there is one score and then the index of a class."""
    last = rows[..., 5:]
    return last.shape[-1] == 1 and bool(np.all(last == np.round(last))) and last.max() > 1


def _columns(rows: Array) -> tuple[bool, int | None]:
    """Return whether the fifth feature says that there is an object, and the column of a class.

    Scores of classes are then high where there is none, too.
    """
    if _has_label(rows):
        return False, 5
    if rows.shape[2] < 6:
        return False, None
    objects, best = rows[..., 4], rows[..., 5:].max(axis=2)
    empty = objects < _SELDOM
    return bool(empty.any() and best[empty].mean() > 4 * _SELDOM), None


@dataclass(frozen=True, kw_only=True)
class _RawLayout:
    output: str
    batch: int
    axis: int
    corners: bool
    objects: bool
    label: int | None

    @property
    def scores(self) -> str:
        if self.label is not None:
            return "a score and a class"
        return "objectness and scores of classes" if self.objects else "scores of classes"

    def __call__(self, outputs: Outputs) -> list[Boxes]:
        rows = np.moveaxis(outputs[self.output], (self.batch, self.axis), (0, 2))
        return [self._image(row.astype(np.float64)) for row in rows]

    def _image(self, row: Array) -> Boxes:
        corners = row[:, :4] if self.corners else corners_of(row[:, :4])
        if self.label is not None:
            return Boxes(corners, row[:, 4], np.round(row[:, self.label]))
        classes = row[:, 5:] if self.objects else row[:, 4:]
        scores = classes.max(axis=1) * (row[:, 4] if self.objects else 1.0)
        return Boxes(corners, scores, classes.argmax(axis=1))


def _separate_head(seen: Sequence[SeenOutput]) -> DetectionHead | None:
    """Boxes [N, boxes, 4] beside scores [N, boxes, classes]."""
    for boxes, scores in _pairs(seen, least=2):
        if not are_boxes(boxes.values):
            continue
        reading = read_scores(scores.values)
        decode = functools.partial(
            _decode_separate, boxes.name, scores.name, are_corners(boxes.values), reading
        )
        what = f"boxes in '{boxes.name}', their scores in '{scores.name}' ({reading})"
        return DetectionHead((boxes.name, scores.name), what, decode)
    return None


def _decode_separate(
    boxes: str, scores: str, corners: bool, reading: BoxScores, outputs: Outputs
) -> list[Boxes]:
    found = []
    for box, score in zip(outputs[boxes].astype(np.float64), outputs[scores], strict=True):
        classes, best = reading.best(score)
        found.append(Boxes(box if corners else corners_of(box), best, classes))
    return found


def _anchor_head(seen: Sequence[SeenOutput], *, asked: bool) -> DetectionHead | None:
    """Offsets from anchors [N, anchors, 4] beside scores [N, anchors, classes].

    Scores are those that say of most anchors that they hold nothing, if not `asked`.
    """
    pairs = [pair for pair in _pairs(seen, least=1) if are_offsets(pair[0].values)]
    sure = [pair for pair in pairs if are_mostly_nothing(pair[1].values)]
    if not (sure or (asked and pairs)):
        return None
    offsets, scores = (sure or pairs)[0]
    layout = AnchorLayout(
        offsets=offsets.name,
        scores=scores.name,
        variances=variances(offsets.values),
        reading=read_scores(scores.values),
    )
    scale = " and ".join(f"{each:g}" for each in layout.variances)
    what = (
        f"offsets from anchors in '{offsets.name}' (variances {scale}), matched by anchor, with "
        f"scores in '{scores.name}' ({layout.reading})"
    )
    return DetectionHead((offsets.name, scores.name), what, layout, suppress=False)


def _pairs(seen: Sequence[SeenOutput], *, least: int) -> Iterator[tuple[SeenOutput, SeenOutput]]:
    """Yield outputs [N, boxes, 4] with those of floats [N, boxes, classes], `least` or more.

    Of four classes, where it is told which is which.
    """
    for boxes, scores in _fitting(seen, least=least):
        if scores.values.shape[2] != 4 or boxes_come_first(boxes, scores):
            yield boxes, scores


def _fitting(seen: Sequence[SeenOutput], *, least: int) -> Iterator[tuple[SeenOutput, SeenOutput]]:
    for boxes in seen:
        shape = boxes.values.shape
        if len(shape) != 3 or shape[2] != 4 or boxes.values.dtype.kind != "f" or not shape[1]:
            continue
        if "Softmax" in boxes.reading.ending:  # three classes and nothing
            continue
        for scores in seen:
            other = scores.values
            if scores is boxes or other.ndim != 3 or other.dtype.kind != "f":
                continue
            if other.shape[:2] == shape[:2] and other.shape[2] >= least and other.size:
                yield boxes, scores


def _final_head(seen: Sequence[SeenOutput]) -> DetectionHead | None:
    """Boxes [M, 4], scores [M] and classes [M], of one image; or [N, M, 4] and [N, M] of several.

    Scores are the floats in 0..1; classes, if there are any, hold whole numbers.
    """
    for boxes in seen:
        shape = boxes.values.shape
        if len(shape) not in (2, 3) or shape[-1] != 4 or not are_boxes(boxes.values):
            continue
        if len(shape) == 2 and boxes.batch is not None:
            continue  # one box a sample, or a vector of four
        flat = [s for s in seen if s.values.shape == shape[:-1] and s.values.size]
        scores = [s for s in flat if s.values.dtype.kind == "f" and in_unit(s.values)]
        if not scores:
            continue
        labels = [s for s in flat if s is not scores[0] and _is_whole(s.values)]
        label = labels[0].name if labels else None
        decode = functools.partial(
            _decode_final, boxes.name, scores[0].name, label, are_corners(boxes.values)
        )
        names = (boxes.name, scores[0].name, *([label] if label else []))
        what = f"boxes in '{boxes.name}', their scores in '{scores[0].name}', after suppression"
        return DetectionHead(names, what, decode, suppress=False)
    return None


def _decode_final(
    boxes: str, scores: str, labels: str | None, corners: bool, outputs: Outputs
) -> list[Boxes]:
    box, score = outputs[boxes].astype(np.float64), outputs[scores].astype(np.float64)
    label = np.zeros(score.shape) if labels is None else outputs[labels]
    if score.ndim == 1:
        box, score, label = box[None], score[None], label[None]
    made = box if corners else corners_of(box)
    return [Boxes(*each) for each in zip(made, score, label, strict=True)]


def _center_head(seen: Sequence[SeenOutput]) -> DetectionHead | None:
    """A map of scores [N, classes, H, W], beside sizes [N, 2, H, W] and perhaps offsets."""
    maps = [s for s in seen if s.values.ndim == 4 and s.values.dtype.kind == "f"]
    for heat in maps:
        shape = heat.values.shape
        pairs = [
            s
            for s in maps
            if s is not heat and s.values.shape == (shape[0], 2, *shape[2:]) and s.values.size
        ]
        if not 1 <= len(pairs) <= 2 or not in_unit(heat.values) or len(maps) != len(pairs) + 1:
            continue
        others = [s for s in pairs if in_unit(s.values)]
        if shape[1] == 2 and not all(_is_lower(heat.values, s.values) for s in others):
            continue  # two classes, or offsets
        size, *offset = sorted(pairs, key=lambda s: -float(np.abs(s.values).mean()))
        names = (heat.name, size.name, *(each.name for each in offset))
        what = f"scores in '{heat.name}', sizes in '{size.name}'"
        return DetectionHead(names, what, functools.partial(_decode_center, names))
    return None


def _is_lower(heat: Array, other: Array) -> bool:
    """Say whether scores `heat` of a map are low nearly everywhere, and `other` is not."""
    low, high = (float(each.max(axis=1).mean()) for each in (heat, other))
    return low < _MOSTLY <= high


def _decode_center(names: tuple[str, ...], outputs: Outputs) -> list[Boxes]:
    heat, size, *offset = (outputs[name].astype(np.float64) for name in names)
    count, classes, height, width = heat.shape
    y, x = np.mgrid[:height, :width].astype(np.float64)
    places = np.broadcast_to(np.stack([x, y]), (count, 2, height, width))
    centres = places + (offset[0] if offset else 0.0)
    boxes = np.concatenate([centres, size], axis=1).reshape(count, 4, -1).transpose(0, 2, 1)
    flat = heat.reshape(count, classes, -1)
    return [
        Boxes(corners_of(box), score.max(axis=0), score.argmax(axis=0))
        for box, score in zip(boxes, flat, strict=True)
    ]


def _is_whole(values: Array) -> bool:
    return values.dtype.kind in "iu" or bool(np.all(values == np.round(values)))
