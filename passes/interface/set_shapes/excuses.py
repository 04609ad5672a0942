"""What shows that a number is one of its own, though a size that changes would fit as well.

(q / sqrt(8)) k, of rows of 8 that stay   |   x / 255, x a picture   |   y clip(y + 3, 0, 6) / 6
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_graphsurgeon as gs

from ....ir.ops.parameters import read_parameter
from ....ir.ops.traits import traits_of
from ....ir.ops.traits.model import Movement
from .site import SizedSite
from .sums import data_of

_PIXELS = (255.0, 127.5, 127.0, 128.0, 256.0)  # what pictures of 8 bits are shifted and scaled by
_COLOURS = 3
_NEAR = 1e-6
_MOST_STEPS = 4


def excused(site: SizedSite, number: float) -> bool:
    """Say whether something around `site` shows what `number` is."""
    return any(excuse(site, abs(number)) for excuse in _EXCUSES)


def _is_root_of_row(site: SizedSite, number: float) -> bool:
    """The scale of a product over sizes that stay, such as the features of a head."""
    rows = [one.was for one in (*site.summed, *site.scaled_for) if not one.changes]
    powers = [row**power for row in rows if row > 1 for power in (-0.5, -0.25, 0.25, 0.5)]
    return any(_same(number, power) for power in powers)


def _is_stride(site: SizedSite, number: float) -> bool:
    """How many pixels of the picture a place of a map is, as it stays."""
    sizes = [(size.was, size.now) for size in site.seen.given]
    if not sizes or any(number in pair for pair in sizes):
        return False
    steps = number if number > 1 else 1 / number
    own = site.sizes_of_live()
    if own is not None and len(own[0]) == 4:
        maps = [((a, b), (c, d)) for (_, _, a, b), (_, _, c, d) in [own]]
        if number in own[0][2:]:
            return False
    else:
        maps = list(site.seen.maps)
    picture = site.seen.picture
    return picture is not None and any(
        _same(a * steps, picture[0][0])
        and _same(b * steps, picture[0][1])
        and _same(c * steps, picture[1][0])
        and _same(d * steps, picture[1][1])
        for (a, b), (c, d) in maps
    )


def _is_of_pixels(site: SizedSite, number: float) -> bool:
    """What a picture is shifted and scaled by, on its way in or out."""
    if not any(_same(number, p) or _same(number, 1 / p) for p in _PIXELS):
        return False
    own = site.sizes_of_live()
    if own is None or len(own[0]) != 4:
        return False
    return _COLOURS in (own[0][1], own[0][3]) or _is_given(site)


def _is_given(site: SizedSite) -> bool:
    """Say whether what `site` computes with is an input of the graph, moved or scaled."""
    tensor = next(t for t, now in site.pairs() if site.is_live(now))
    for _ in range(_MOST_STEPS):
        node = site.before.producer(tensor)
        if node is None:
            return True
        traits = traits_of(node, site.before.opset)
        if not (traits.elementwise or traits.movement <= Movement.PERMUTE):
            return False
        tensor = data_of(node, site.before)
    return False


def _is_of_gate(site: SizedSite, number: float) -> bool:
    """The 3 and 6 of a hard Swish or Sigmoid: clip(y + 3, 0, 6) / 6."""
    view, node = site.before, site.was
    if node.op == "Add" and _same(number, 3):
        return any(_is_clip_to_six(site, reader) for reader in view.readers(node.outputs[0]))
    if node.op in ("Clip", "Min") and _same(number, 6):
        adds = view.producer(node.inputs[0])
        return adds is not None and adds.op == "Add" and _has_three(site, adds)
    if node.op in ("Mul", "Div") and (_same(number, 6) or _same(number, 1 / 6)):
        near = [view.producer(t) for t in node.inputs]
        far = [view.producer(t) for one in near if one is not None for t in one.inputs]
        return any(one is not None and _is_clip_to_six(site, one) for one in (*near, *far))
    return False


def _is_six(site: SizedSite, number: float) -> bool:
    """The 6 of a Relu6, where no row has 6 or 7 places."""
    rows = {one.was for one in site.seen.given} | set((site.sizes_of_live() or ((), ()))[0])
    return _same(number, 6) and _is_clip_to_six(site, site.was) and not rows & {6, 7}


def _is_clip_to_six(site: SizedSite, node: gs.Node) -> bool:
    if node.op != "Clip":
        return False
    high = read_parameter(node, "max", site.before, site.values_before).values
    return high is not None and high.size == 1 and _same(float(high.reshape(-1)[0]), 6)


def _has_three(site: SizedSite, node: gs.Node) -> bool:
    held = [site.values_before(tensor) for tensor in node.inputs]
    return any(v is not None and v.size == 1 and _same(float(v.reshape(-1)[0]), 3) for v in held)


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= _NEAR * abs(b)


_EXCUSES: tuple[Callable[[SizedSite, float], bool], ...] = (
    _is_root_of_row,
    _is_stride,
    _is_of_pixels,
    _is_of_gate,
    _is_six,
)
