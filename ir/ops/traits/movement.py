"""The table, operators that move elements, and those that make some from none."""

from __future__ import annotations

from typing import Any

from .lines import Known, Line, line, refined_by
from .model import Homogeneous, Integers, Monotone, Movement

_MOVES: Known = {
    "monotone": Monotone.INCREASING,
    "homogeneous": Homogeneous.ANY,
    "keeps_nonnegative": True,
    "keeps_nonpositive": True,
    "keeps_uniform": True,
    "exact": True,
    "rounds_once": True,
    "integers": Integers.EXACT,
    "zero": True,
    "negative_zero": True,
    "nan": True,
}
# Zeros that are put between: no larger tensor follows from larger data alone.
_FILLS: Known = {**_MOVES, "fills": True, "negative_zero": False, "keeps_uniform": False}


def _kind(movement: Movement, **more: Any) -> Line:
    return line(None, _MOVES, movement=movement, **more)


@refined_by("mode")
def _pad(opset: int, mode: Any) -> Known:
    """A constant, of any value, stands around; the other modes repeat elements."""
    if mode != "constant":
        return {}
    return dict.fromkeys(("keeps_nonnegative", "keeps_nonpositive", "zero"), False) | {
        "fills": True,
        "keeps_uniform": False,
        "homogeneous": Homogeneous.UNKNOWN,
        "negative_zero": False,
    }


@refined_by("reduction")
def _scatter(opset: int, reduction: Any) -> Known:
    """Elements of the updates stand in for those of the data, unless they are combined."""
    reduction = reduction or "none"
    if reduction == "none":
        return {}
    largest = reduction in ("max", "min")
    return {
        "movement": Movement.NONE,
        "keeps_uniform": largest,
        "exact": largest,
        "rounds_once": largest,
        "integers": Integers.EXACT if largest else Integers.WRAP,
        "homogeneous": Homogeneous.UNKNOWN,
        "monotone": Monotone.UNKNOWN,
        "keeps_nonpositive": False,
        "negative_zero": False,
        "nan": False,
    }


@refined_by("coordinate_transformation_mode", "mode")
def _resample(opset: int, coordinate_transformation_mode: Any, mode: Any) -> Known:
    """The nearest neighbour moves; linear modes weigh neighbours, cubic ones partly below zero."""
    cropped = coordinate_transformation_mode == "tf_crop_and_resize"
    if cropped:
        return {}  # what lies outside is a value of its own
    if mode == "nearest":
        # Positions are computed in a type as well.
        return {**_MOVES, "movement": Movement.TAKE, "rounds_once": False}
    linear: Known = {"homogeneous": Homogeneous.ANY, "zero": True, "keeps_uniform": True}
    if mode in ("linear", "bilinear"):
        signs = {"keeps_nonnegative": True, "keeps_nonpositive": True}
        return {**linear, **signs, "monotone": Monotone.INCREASING}
    return linear


MOVEMENT: dict[str, Line] = {
    "CenterCropPad": line(None, _FILLS, movement=Movement.TAKE),
    "Compress": _kind(Movement.TAKE),
    "Concat": _kind(Movement.PERMUTE, data=None),
    "DepthToSpace": _kind(Movement.PERMUTE, pure=True, keeps_batch=True),
    "Expand": _kind(Movement.TAKE),
    "Flatten": _kind(Movement.RESHAPE),
    "Gather": _kind(Movement.TAKE),
    "GatherElements": _kind(Movement.TAKE),
    "GatherND": _kind(Movement.TAKE),
    "MaxUnpool": line(None, _FILLS, movement=Movement.TAKE, keeps_batch=True),
    "OneHot": _kind(Movement.TAKE, data=(2,), keeps_uniform=True),
    "Pad": line(_pad, _MOVES, movement=Movement.TAKE),
    "Reshape": _kind(Movement.RESHAPE),
    "Resize": line(_resample, resampling=True),
    "ReverseSequence": _kind(Movement.PERMUTE, keeps_shape=True),
    "Scatter": line(_scatter, _MOVES, movement=Movement.TAKE, data=(0, 2), keeps_shape=True),
    "ScatterElements": line(
        _scatter, _MOVES, movement=Movement.TAKE, data=(0, 2), keeps_shape=True
    ),
    "ScatterND": line(_scatter, _MOVES, movement=Movement.TAKE, data=(0, 2), keeps_shape=True),
    "Slice": _kind(Movement.TAKE),
    "SpaceToDepth": _kind(Movement.PERMUTE, pure=True, keeps_batch=True),
    "Split": _kind(Movement.PERMUTE, moved_outputs=None),
    "Squeeze": _kind(Movement.RESHAPE),
    "TensorScatter": _kind(Movement.TAKE, data=(0, 1), keeps_shape=True),
    "Tile": _kind(Movement.TAKE),
    "TopK": _kind(Movement.SELECT, homogeneous=Homogeneous.POSITIVE, nan=False),
    "Transpose": _kind(Movement.PERMUTE),
    "Trilu": line(None, _FILLS, movement=Movement.TAKE, keeps_shape=True, keeps_batch=False),
    "Unique": line(None, movement=Movement.SELECT, exact=True, integers=Integers.EXACT),
    "Unsqueeze": _kind(Movement.RESHAPE),
    "Upsample": line(_resample, resampling=True),
}

_CONSTANT: Known = {"constant": True, "rounds_once": True, "data": ()}

CONSTANTS: dict[str, Line] = {
    "Constant": line(None, _CONSTANT),
    "ConstantOfShape": line(None, _CONSTANT),
    "EyeLike": line(None, _CONSTANT, low=0.0, high=1.0, keeps_shape=True),
    "Shape": line(None, _CONSTANT, low=0.0),
    "Size": line(None, _CONSTANT, low=0.0),
}
