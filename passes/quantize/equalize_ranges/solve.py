"""By how much to scale: the least predicted noise over a family of scales, tensor by tensor.

    t_i = (c_i^a * r_i^(a - 1))^p         a in 0 to 1, p in 1/2 and 1

r_i is the part of the tensor's range that channel i takes and c_i the part of their grid that the
weights reading it take, both at most 1. a = 0 gives every channel the whole range, which is best
for quantized activations, a = 1 all weights the whole grid, and 1/2 balances the two as Nagel et
al. do with r_i that of the rows which make the channel (equation 11): so here too, where weights
have one grid for all rows. Neither the tensor's range nor that of any weights can grow, and what is
enlarged leaves 2^(1/4) of it as headroom: other samples reach further than those that were seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...analysis.channels.cells import Array
from ..extremes import MARGINS, PARTS
from .noise import Noise

# A group is scaled at all only for such a gain, and further for the lesser one: what remains at the
# end is too little to begin with, so that a second run finds nothing to do.
_LEAST_FIRST = 0.05
_LEAST_NEXT = 0.01
# How far beyond what was seen an enlarged channel may reach before it leaves the range.
_HEADROOM = MARGINS[2]
_TINY = 1e-300
_MOST_SWEEPS = 32
_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
_POWERS = (1.0, 0.5)
# A channel with less of the range is next to unused on the feeds: nothing is known of it.
_LEAST_SHARE = 2.0**-16


@dataclass(frozen=True)
class LayerNoise:
    """The noise of one layer, and the places in its group of the cells it reads and makes."""

    noise: Noise
    before: Array  # [C]
    after: Array  # [M]

    def __call__(self, scale: Array) -> float:
        """Return the noise for the scales of the group's cells."""
        return self.noise(scale[self.before], scale[self.after])

    def on_others(self, scale: Array, margin: float) -> Array:
        """Return the noise on parts held back [F], for scales [1 + F, cells]."""
        return self.noise.on_others(scale[:, self.before], scale[:, self.after], margin)


@dataclass(frozen=True)
class ScaleGroup:
    """Cells that share a tensor, the layers that read them, and those that make them.

    `makers` is empty where each row of weights has its own grid: their noise never changes then.
    """

    cells: Array  # all that the layers read or make
    free: Array  # which of them are the group's own
    most: Array  # largest scale of each
    readers: tuple[LayerNoise, ...]
    makers: tuple[LayerNoise, ...]

    def noise(self, scale: Array) -> float:
        """Return the noise that the scales of `cells` have a part in."""
        return sum(site(scale) for site in self._sites)

    def on_others(self, scale: Array, margin: float) -> Array:
        """Return that noise on parts held back [F], for scales [1 + F, cells]."""
        return np.asarray(sum(site.on_others(scale, margin) for site in self._sites))

    @property
    def parts(self) -> Array:
        """Which parts of the samples are not empty [F]."""
        return np.asarray(self.readers[0].noise.held_back.counts > 0)

    @property
    def _sites(self) -> list[LayerNoise]:
        both = [m for m in self.makers if all(m.noise is not r.noise for r in self.readers)]
        return [*self.readers, *both]


def solve(groups: Sequence[ScaleGroup], count: int) -> Array:
    """Return the scale of each of `count` cells; 1 where nothing is gained."""
    # From all samples, and from all parts of them but one.
    scale = np.ones((1 + PARTS, count))
    begun = [False] * len(groups)
    pending = list(range(len(groups)))
    for _ in range(_MOST_SWEEPS):
        moved = []
        for index in pending:
            group = groups[index]
            found = _better(
                group, scale[:, group.cells], _LEAST_NEXT if begun[index] else _LEAST_FIRST
            )
            if found is not None:
                scale[:, group.cells] = found
                begun[index] = True
                moved.append(index)
        if not moved:
            break
        # A group without makers does not depend on the scales of others.
        pending = [i for i in pending if groups[i].makers or i in set(moved)]
    tied = any(group.makers for group in groups)
    for judged in [groups] if tied else [[group] for group in groups]:
        _judge(judged, scale)
    return np.asarray(scale[0])


def _judge(groups: Sequence[ScaleGroup], scale: Array) -> None:
    """Keep the groups' scales where they help on samples held back, for sure; 1 elsewhere.

    Calibration will widen the range of channels that stay as they are. That of scaled ones follows
    the same samples as their scales, and shows no more how far others reach.
    """
    free = np.concatenate([group.cells[group.free] for group in groups])
    plain_scale = scale.copy()
    plain_scale[:, free] = 1
    plain = min((_on_others(groups, plain_scale, margin) for margin in MARGINS), key=_decibels)
    gain = (plain - _on_others(groups, scale)) / max(float(plain.mean()), _TINY)
    if gain.mean() - gain.std(ddof=1) / np.sqrt(len(gain)) < _LEAST_FIRST:
        scale[:, free] = 1


def _on_others(groups: Sequence[ScaleGroup], scale: Array, margin: float = 1.0) -> Array:
    """Return the noise on each part that is not empty, on `margin` times the others' range."""
    noise = sum(group.on_others(scale[:, group.cells], margin) for group in groups)
    return np.asarray(noise)[groups[0].parts]


def _decibels(noise: Array) -> float:
    """Return what calibration chooses a margin by."""
    return float(np.log(np.maximum(noise, _TINY)).mean())


def _better(group: ScaleGroup, scale: Array, gain: float) -> Array | None:
    least = group.noise(scale[0]) * (1 - gain)
    best = None
    for factor in _factors(group, scale):
        trial = np.where(group.free, np.minimum(scale * factor, group.most), scale)
        noise = group.noise(trial[0])
        if noise < least:
            least, best = noise, trial
    return best


def _factors(group: ScaleGroup, scale: Array) -> Iterator[Array]:
    read, rows = np.zeros((2, scale.shape[1]))
    reach = np.zeros(scale.shape)
    for site in group.readers:
        before, after = scale[:, site.before], scale[0, site.after]
        np.maximum.at(reach.T, site.before, site.noise.channel_shares(before).T)
        np.maximum.at(read, site.before, site.noise.column_shares(before[0], after))
    for site in group.makers:
        shares = site.noise.row_shares(scale[0, site.before], scale[0, site.after])
        np.maximum.at(rows, site.after, shares)
    known = group.free & (reach > _LEAST_SHARE) & (read > _LEAST_SHARE)
    for made in (rows, reach) if group.makers else (reach,):
        usable = known & (made > _LEAST_SHARE)
        log_made, log_read = (np.log(np.where(usable, v, 1)) for v in (made, read))
        for share in _SHARES:
            for power in _POWERS:
                found = np.exp(power * (share * log_read + (share - 1) * log_made))
                yield np.where(found > 1, np.maximum(found / _HEADROOM, 1), found)
