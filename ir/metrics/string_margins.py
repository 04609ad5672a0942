"""How likely noise changes what a recogniser of sequences reads: strings without luck in counting.

    P(string stays) = least over steps t of  product over rivals j that change it of
                      Phi((a_first - a_j) / s)

Noise is that of `margins`. A step that flips between a class and the run or blank beside it leaves
the string as it is: a rival counts where, with the steps around it as they are, it gives another.
Steps of one sample see the same picture and one another, so their errors go together, and the
weakest decides: of text recognisers on integers, that foretold 51 and 76 % of strings where 49 and
78 were counted, and the product over steps, as if they were independent, 9 and 61.
"""

from __future__ import annotations

import numpy as np

from .margins import Array, chances, first_and_rivals

# Steps kept of all samples.
_MOST = 16384
# No class: what stands before the first step and behind the last, and what is not written.
_NOTHING = -1


class StringMargins:
    """Margins of each step's first class over the next ones, and which of these change a string.

    `blank`: the class that says nothing, or None.
    """

    def __init__(self, blank: int | None) -> None:
        self._blank = _NOTHING if blank is None else blank
        self._margins: list[Array] = []
        self._changes: list[Array] = []
        self._decides: list[Array] = []
        self._lengths: list[int] = []  # steps of each sample

    def add(self, a: Array, b: Array, *, probabilities: bool = False) -> None:
        """Take in scores `a` and their noisy version `b`, [samples, steps, classes].

        `probabilities`: a Softmax gave them.
        """
        if sum(self._lengths) >= _MOST or not a.size or a.shape[-1] < 2:
            return
        samples, steps, classes = a.shape
        rows = (each.reshape(-1, classes) for each in (a, b))
        first, margins, changes = first_and_rivals(*rows, probabilities=probabilities)
        self._margins.append(margins)
        self._changes.append(changes)
        decides = decisive(first.reshape(samples, steps, -1), self._blank)
        self._decides.append(decides.reshape(len(margins), -1))
        self._lengths += [steps] * samples

    @property
    def known(self) -> bool:
        """Say whether anything was taken in."""
        return bool(self._lengths)

    def agreement(self) -> float:
        """Return the expected share of samples whose string stays; 0 with NaN."""
        stays = np.where(np.concatenate(self._decides), self._chances(), 1.0).prod(axis=1)
        starts = np.cumsum([0, *self._lengths[:-1]])
        return float(np.mean(np.minimum.reduceat(stays, starts)))

    def of_steps(self) -> float:
        """Return the expected share of steps whose first class stays first."""
        return float(np.mean(self._chances().prod(axis=1)))

    def _chances(self) -> Array:
        return chances(np.concatenate(self._margins), np.concatenate(self._changes))


def decisive(first: Array, blank: int) -> Array:
    """Return which rivals in place of a step's first class give another string.

    `first`: [samples, steps, 1 + rivals], the first class first -> bool [samples, steps, rivals].
    """
    read = first[..., 0]
    around = np.pad(read, ((0, 0), (1, 1)), constant_values=_NOTHING)
    before, behind = around[:, :-2, None], around[:, 2:, None]
    as_is = _written(before, first[..., :1], behind, blank)
    instead = _written(before, first[..., 1:], behind, blank)
    found: Array = (as_is[0] != instead[0]) | (as_is[1] != instead[1])
    return found


def _written(before: Array, step: Array, behind: Array, blank: int) -> tuple[Array, Array]:
    """Return what `step` and the one behind it write, up to two classes, the first first."""
    own = np.where((step != before) & (step != blank), step, _NOTHING)
    following = np.where((behind != step) & (behind != blank), behind, _NOTHING)
    silent = own == _NOTHING
    return np.where(silent, following, own), np.where(silent, _NOTHING, following)
