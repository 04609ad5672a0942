"""Samples whose label changed, with their pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.run.feeds import in_types_of
from ...ir.run.reference import Reference
from .document import AgreementEntry, ChangedSample

Array = np.ndarray[Any, Any]
_MOST_SHOWN = 48
_PIXELS = 72


def agreement_of(
    before: gs.Graph,
    after: gs.Graph,
    feeds: Iterable[Mapping[str, Array]],
    output: str,
    axis: int,
    *,
    left_out: Iterable[str] = (),
) -> AgreementEntry | None:
    """Return which samples change their largest class along `axis` of `output`, [N, C].

    As the runtime runs both, its optimizations on. `left_out`: entries of the feeds that are no
    inputs. None where the output is of another rank.
    """
    runs = Reference(before, optimized=True), Reference(after, optimized=True)
    place = [tensor.name for tensor in before.outputs].index(output)
    other = after.outputs[place].name
    dropped = set(left_out)
    count = same = 0
    changed: list[ChangedSample] = []
    for feed in feeds:
        inputs = {name: array for name, array in feed.items() if name not in dropped}
        a, b = runs[0](inputs)[output], runs[1](in_types_of(inputs, after))[other]
        if a.ndim != 2 or axis not in (1, -1):
            return None
        old, new = a.argmax(1), b.argmax(1)
        for row in np.flatnonzero(old != new):
            ordered = np.sort(a[row].astype(np.float64))
            changed.append(
                ChangedSample(
                    sample=count + int(row),
                    before=int(old[row]),
                    after=int(new[row]),
                    margin=float(ordered[-1] - ordered[-2]),
                    picture=_picture(inputs, int(row)) if len(changed) < _MOST_SHOWN else "",
                )
            )
        same += int((old == new).sum())
        count += len(old)
    return AgreementEntry(output=output, samples=count, same=same, changed=tuple(changed))


def _picture(inputs: Mapping[str, Array], row: int) -> str:
    """Return the sample as a PNG in a data URL; "" where it is no picture or Pillow is missing."""
    array = next((each for each in inputs.values() if each.ndim == 4), None)
    if array is None:
        return ""
    values = array[row].astype(np.float64)
    if values.shape[0] not in (1, 3) and values.shape[-1] in (1, 3):
        values = values.transpose(2, 0, 1)
    if values.shape[0] not in (1, 3) or min(values.shape[1:]) < 4:
        return ""
    try:
        from PIL import Image
    except ModuleNotFoundError:
        return ""
    low, high = values.min(), values.max()
    scaled = (255 * (values - low) / ((high - low) or 1)).astype(np.uint8)
    pixels = scaled[0] if len(scaled) == 1 else scaled.transpose(1, 2, 0)
    image = Image.fromarray(pixels)
    image.thumbnail((_PIXELS, _PIXELS))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
