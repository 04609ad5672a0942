"""Which inputs linear layers miss least: backward elimination on second moments.

    min over V of  E |W x - V x_S|^2        x_S: the inputs that stay; V is free to make up for x_k

With P the inverse of E[x x'], taking block k (a channel's columns) out costs

    tr(W_k P_kk^-1 W_k'),    after which    W <- W - W_k P_kk^-1 P_k,    P <- P - P_k' P_kk^-1 P_k.

Source: Hassibi and Stork, "Second order derivatives for network pruning: optimal brain surgeon"
(NIPS 1992), with the layer's squared error in the place of the loss as in Frantar and Alistarh,
"Optimal brain compression" (NeurIPS 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# Of what is left this part goes at once; each alone would cost 64 times the time for choices that
# hardly differ.
_AT_ONCE = 64
# Added to the moments, as part of their mean, so that they invert where inputs are dependent.
_RIDGE = 1e-4


@dataclass
class ReadingLayer:
    """A linear layer that reads the channels in question, and what it needs to be solved.

    `weight`: [M, C, b], the b columns of each of C channels, its rows scaled by the root of what
    one unit of squared error of that output is worth; `inverse`: [C, b, C, b], of the second moment
    of all the layer reads, these channels' part.
    """

    weight: Array
    inverse: Array


def inverse_of(moment: Array, samples: int) -> Array:
    """Return the inverse of a second moment [K, K] that was taken over `samples`.

    Fewer samples than columns would let any few columns explain all of them, so what is off the
    diagonal is shrunk as far as chance alone could have made it.
    """
    size = len(moment)
    shrunk = moment * (1 - shrinkage(moment, samples))
    diagonal = np.diag(moment)
    ridge = _RIDGE * max(float(diagonal.sum()) / max(size, 1), 1e-30)
    np.fill_diagonal(shrunk, diagonal + ridge)
    return np.linalg.inv(shrunk)


def shrinkage(moment: Array, samples: int) -> float:
    """Return how far correlations have to be shrunk towards none, from 0 to 1.

    The oracle approximating shrinkage of the correlation matrix: Chen, Wiesel, Eldar and Hero,
    "Shrinkage algorithms for MMSE covariance estimation" (2010), equation 23.
    """
    scale = np.sqrt(np.diag(moment))
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.where(scale > 0, 1 / scale, 0.0)
    p = int((scale > 0).sum())
    if p < 2 or samples < 1:
        return 1.0
    squared = float(np.sum((moment * np.outer(inverse, inverse)) ** 2))
    over = (samples + 1 - 2 / p) * (squared - p)
    return min(1.0, ((1 - 2 / p) * squared + p**2) / over) if over > 0 else 1.0


def reader_of(weight: Array, inverse: Array, columns: Array) -> ReadingLayer:
    """Return the reader with `weight` [M, K] for the channels at `columns` [C, b].

    `inverse` [K, K] is that of the moment of all it reads: channels that are not asked about stay,
    and make up for others too.
    """
    flat = columns.reshape(-1)
    part = inverse[np.ix_(flat, flat)].reshape(*columns.shape, *columns.shape)
    return ReadingLayer(weight[:, flat].reshape(len(weight), *columns.shape), part)


def lone_reader(costs: Array) -> ReadingLayer:
    """Return a reader whose channels cannot make up for one another: each has its cost [C]."""
    count = len(costs)
    inverse = np.eye(count).reshape(count, 1, count, 1)
    return ReadingLayer(np.sqrt(costs)[None, :, None], inverse)


def eliminate(readers: Sequence[ReadingLayer], channels: int, most: int) -> tuple[Array, Array]:
    """Return the channels in the order in which they go, [most], and what each costs, [most].

    The costs are summed over readers. The readers are used up.
    """
    left = np.arange(channels)
    order: list[Array] = []
    costs: list[Array] = []
    gone = 0
    while gone < most:
        scores = sum((_scores(reader) for reader in readers), np.zeros(len(left)))
        count = min(max(1, len(left) // _AT_ONCE), most - gone)
        chosen = np.argsort(scores, kind="stable")[:count]
        order.append(left[chosen])
        costs.append(scores[chosen])
        stays = np.setdiff1d(np.arange(len(left)), chosen)
        for reader in readers:
            _remove(reader, chosen, stays)
        left = left[stays]
        gone += count
    if not order:
        return np.zeros(0, np.int64), np.zeros(0)
    return np.concatenate(order), np.concatenate(costs)


def _scores(reader: ReadingLayer) -> Array:
    """Return what taking out each channel alone costs."""
    own = np.einsum("cbcd->cbd", reader.inverse)
    weight = reader.weight.transpose(1, 0, 2)  # [C, M, b]
    solved = np.linalg.solve(own, weight.swapaxes(1, 2))  # [C, b, M]
    return np.asarray(np.einsum("cmb,cbm->c", weight, solved))


def _remove(reader: ReadingLayer, chosen: Array, stays: Array) -> None:
    """Take `chosen` out, what they gave given to those that stay."""
    b = reader.weight.shape[2]
    taps = np.arange(b)
    gone, rest = len(chosen) * b, len(stays) * b
    inner = reader.inverse[np.ix_(chosen, taps, chosen, taps)].reshape(gone, gone)
    across = reader.inverse[np.ix_(chosen, taps, stays, taps)].reshape(gone, rest)
    gain = np.linalg.solve(inner, across)
    weight = reader.weight[:, chosen].reshape(-1, gone) @ gain
    reader.weight = reader.weight[:, stays] - weight.reshape(-1, len(stays), b)
    kept = reader.inverse[np.ix_(stays, taps, stays, taps)].reshape(rest, rest)
    kept -= across.T @ gain
    reader.inverse = kept.reshape(len(stays), b, len(stays), b)
