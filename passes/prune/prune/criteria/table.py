"""All criteria by name."""

from __future__ import annotations

from .activity import Apoz, MeanActivation
from .batchnorm import BnScale
from .criterion import Criterion
from .gradient import Gradient, Taylor
from .magnitude import L1, L2, Random
from .reconstruction import Reconstruction

_KINDS = (L1, L2, Gradient, Taylor, MeanActivation, Apoz, BnScale, Reconstruction, Random)
CRITERIA: dict[str, type[Criterion]] = {kind.name: kind for kind in _KINDS}
