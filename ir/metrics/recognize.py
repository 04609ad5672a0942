"""With which metric a single output is to be judged, by what the graph and its values say."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from .classification import Top1Agreement
from .embedding import FeatureCosine
from .maps import is_bimodal, is_coherent, is_image, is_peaked
from .noise import PeakSignalToNoise, SignalToNoise
from .result import Array, Metric
from .seen import ChosenMetric, SeenOutput
from .segmentation import MaskOverlap
from .sequence import StringAgreement

# In recognised lines a blank stands beside nearly every symbol; elsewhere no class at an end of the
# range comes first so often, and so much more often than by chance.
_LEAST_BLANKS, _TIMES_CHANCE = 0.2, 2.0
# Where no operator says that there are classes: features have a largest one, too.
_LEAST_UNSAID = 0.5
_UNIT = 1e-3


def classification(seen: SeenOutput) -> ChosenMetric | None:
    """Return top-1 agreement, for class scores or indices of classes."""
    if seen.reading.is_ids:
        why = seen.reading.because
    elif seen.has_scores:
        why = _classes(seen)
    else:
        return None
    axis = None if seen.reading.is_ids else seen.class_axis
    best = seen.reading.best_first
    make = functools.partial(
        Top1Agreement, seen.name, axis, seen.batch, best, probabilities=_is_softmax(seen)
    )
    return _chosen("classification", seen, why, make)


def surely_classification(seen: SeenOutput) -> ChosenMetric | None:
    """Return top-1 agreement where scores are not likely to be something else.

    Independent probabilities of labels have no first; what four axes hold may be any map.
    """
    if seen.reading.is_ids or seen.names_classes:
        return classification(seen)
    ending = seen.reading.ending
    return None if "Sigmoid" in ending or len(seen.positions) > 1 else classification(seen)


def sequence(seen: SeenOutput, *, asked: bool = False) -> ChosenMetric | None:
    """Return agreement of CTC strings, for scores or indices at the steps of a sequence.

    `asked`: without looking for a blank that comes first often.
    """
    found = _class_ids(seen)
    if found is None or len(seen.positions) != 1:
        return None
    ids, classes = found
    blank, share = _blank(ids, classes)
    said = seen.reading.is_ids or seen.names_classes
    often = share >= max(_LEAST_BLANKS if said else _LEAST_UNSAID, _TIMES_CHANCE / classes)
    often &= said or float(seen.values.min()) < 0  # a Relu gives features
    if not asked and not (often and len(np.unique(ids)) > 1):
        return None
    axis = None if seen.reading.is_ids else seen.class_axis
    why = (
        f"{_classes(seen)}, over the steps of axis {seen.positions[0]}, of which "
        f"{100 * share:.0f} % are blank {blank}"
    )
    make = functools.partial(
        StringAgreement, seen.name, axis, seen.batch, blank, probabilities=_is_softmax(seen)
    )
    return _chosen("sequence", seen, why, make)


def segmentation(seen: SeenOutput, *, asked: bool = False) -> ChosenMetric | None:
    """Return mean IoU of masks, for classes of pixels.

    `asked`: without looking whether neighbours are alike.
    """
    ids, places = seen.reading.is_ids, len(seen.positions)
    floats = seen.values.dtype.kind == "f" and seen.values.size > 0
    if floats and (seen.class_axis is None or seen.classes == 1) and places in (2, 3):
        if not (asked or ("Sigmoid" in seen.reading.ending and is_bimodal(seen.values))):
            return None
        axis, why = None, "probabilities of one class, nearly all close to 0 or 1"
    elif (ids or seen.has_scores) and places in (2, 3):
        if not (asked or ids or seen.names_classes or is_coherent(seen)):
            return None
        axis, why = (None if ids else seen.class_axis), f"{_classes(seen)}, of pixels"
    else:
        return None
    make = functools.partial(MaskOverlap, seen.name, axis, seen.batch)
    return _chosen("segmentation", seen, why, make)


def image(seen: SeenOutput, *, asked: bool = False) -> ChosenMetric | None:
    """Return PSNR of images. `asked`: without looking whether it is one."""
    if seen.values.dtype.kind != "f" or seen.values.ndim < 2 or not seen.values.size:
        return None
    if not asked and (seen.names_classes or not is_image(seen)):
        return None
    make = functools.partial(PeakSignalToNoise, seen.name, seen.batch)
    return _chosen("image", seen, "as many channels as an image, and looks like the input", make)


def heatmap(seen: SeenOutput, *, asked: bool = False) -> ChosenMetric | None:
    """Return PSNR of maps with peaks. `asked`: without looking whether there are any."""
    if seen.values.dtype.kind != "f" or seen.values.ndim < 2 or not seen.values.size:
        return None
    if not asked and (seen.names_classes or not is_peaked(seen)):
        return None
    make = functools.partial(PeakSignalToNoise, seen.name, seen.batch)
    return _chosen("heatmap", seen, "maps of which a small part is high", make)


def embedding(seen: SeenOutput, *, asked: bool = False) -> ChosenMetric | None:
    """Return the cosine of features. `asked`: without looking whether they are such."""
    axis = seen.class_axis if seen.class_axis is not None else seen.values.ndim - 1
    values = seen.values
    if values.dtype.kind != "f" or values.ndim < 2 or not values.size or values.shape[axis] < 2:
        return None
    if axis == seen.batch:  # whose samples are no features
        return None
    why = _features(seen, axis)
    if asked or why:
        make = functools.partial(FeatureCosine, seen.name, axis, seen.batch)
        return _chosen("embedding", seen, why or "`metric` says so", make)
    return None


def noise(seen: SeenOutput) -> ChosenMetric | None:
    """Return SQNR, which fits any output of floats."""
    if seen.values.dtype.kind != "f":
        return None
    return ChosenMetric(
        kind="sqnr",
        outputs=(seen.name,),
        why="what it means is not known, say so with `metric`",
        make=functools.partial(SignalToNoise, seen.name, seen.batch),
        is_sure=False,
    )


def numbers(seen: SeenOutput) -> ChosenMetric | None:
    """Return SQNR of integers that are no classes, such as the pixels of an image."""
    if seen.values.dtype.kind not in "iu" or seen.reading.is_ids:
        return None
    make = functools.partial(SignalToNoise, seen.name, seen.batch)
    return _chosen("sqnr", seen, "integers that no operator says to be classes", make)


def _is_softmax(seen: SeenOutput) -> bool:
    return "Softmax" in seen.reading.ending and not seen.reading.is_ids


def _features(seen: SeenOutput, axis: int) -> str:
    """Return why an output holds features and not scores, "" where nothing says so."""
    ending, values = seen.reading.ending, seen.values.astype(np.float64)
    if seen.names_classes or seen.values.ndim > 3:
        return ""
    if "LpNormalization" in ending:
        return f"LpNormalization along axis {axis}"
    norms = np.sqrt((values * values).sum(axis))
    if values.min() < 0 and np.all(np.abs(norms - 1) < _UNIT):
        return f"vectors of length 1 along axis {axis}"
    if ending and "Normalization" in ending[0]:
        return f"{ending[0]} ends the network"
    return ""


def _class_ids(seen: SeenOutput) -> tuple[Array, int] | None:
    """Return the classes that come first and the number of classes, where there are classes."""
    if seen.reading.best_first is not None:
        return None
    if seen.reading.is_ids:
        return seen.values, int(seen.values.max(initial=0)) + 1
    if not seen.has_scores:
        return None
    return np.asarray(np.argmax(seen.values, seen.class_axis)), seen.classes


def _blank(ids: Array, classes: int) -> tuple[int, float]:
    """Return the first or last class, whichever comes first more often, and in which share."""
    shares = [(float(np.mean(ids == blank)), -blank) for blank in (0, classes - 1)]
    share, negative = max(shares)
    return -negative, share


def _classes(seen: SeenOutput) -> str:
    """Say how many classes lie where, and what says so."""
    if seen.reading.is_ids:
        return f"indices of classes, since {seen.reading.because}"
    read = seen.reading.class_axis == seen.class_axis
    because = seen.reading.because if read else "`class-axis` says so"
    return f"{seen.classes} classes along axis {seen.class_axis}, since {because}"


def _chosen(kind: str, seen: SeenOutput, why: str, make: Callable[[], Metric]) -> ChosenMetric:
    return ChosenMetric(kind=kind, outputs=(seen.name,), why=why, make=make)
