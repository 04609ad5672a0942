"""Both sides of a window at sparse draws, and how far they are apart there beside their terms."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from .evaluation import BothSides
from .operators import choosing
from .sparse import SparseDraw, cells_of, draws, probe


@dataclass(frozen=True)
class DrawnTerms:
    """`far`: how far the sides are apart where `draw` says what enters `points`."""

    points: BothSides
    draw: SparseDraw
    far: float


def term_draws(points: BothSides, tolerance: float) -> Iterator[DrawnTerms]:
    """Yield what is found where each term is seen by itself; nothing of windows without inputs.

    `tolerance`: up to which terms need not be known. Raises UnsupportedError where they are not.
    """
    shapes = {a.name: points.look.shapes.get(a.name, ()) for a, _ in points.window.inputs}
    if not shapes or not all(map(math.prod, shapes.values())):
        return
    draw = probe(shapes)
    far, magnitudes = points.term_distance(draw, tolerance)
    yield DrawnTerms(points, draw, far)
    if magnitudes is None or len(magnitudes) == 1:  # nothing that enters decides it
        return
    least = magnitudes[:1]
    cells = cells_of(magnitudes, shapes, points.magnitudes)
    largest = max(least.size, *map(math.prod, shapes.values()))
    nodes = (*points.window.before, *points.window.after)
    # What passes on numbers of one sign alone.
    signs = (1.0, -1.0) if any(node.op in choosing.RULES for node in nodes) else (1.0,)
    for at, draw in enumerate(draws(np.random.default_rng(points.seed), cells, largest)):
        each = replace(points, seed=(*points.seed, at))
        for sign in signs:
            draw = replace(draw, sign=sign)
            yield DrawnTerms(each, draw, each.term_distance(draw, tolerance, least)[0])
