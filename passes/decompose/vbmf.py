"""The rank of a noisy matrix by empirical variational Bayes, in closed form.

    Y [L, M] = low rank + Gaussian noise of variance s,   L <= M,   a = L / M
    kept: singular values with  g^2 / (M s) > x0 = (1 + t0) (1 + a / t0),   t0 = 2.5129 sqrt(a)

The noise minimises the free energy, a function of s alone (Nakajima, Sugiyama, Babacan and Tomioka,
"Global Analytic Solution of Fully-observed Variational Bayesian Matrix Factorization", JMLR 2013,
theorems 2 and 3 and corollary 1). Kim et al. (2016) choose the ranks of layers by it.
"""

from __future__ import annotations

import numpy as np

from .quadratic import Array

_SCAN = 200


def vbmf_rank(matrix: Array) -> int:
    """Return the estimated rank of `matrix`, 0 where it is all noise."""
    if len(matrix) > matrix.shape[1]:
        matrix = matrix.T
    small, large = matrix.shape
    energies = np.maximum(np.linalg.eigvalsh(matrix @ matrix.T)[::-1], 0)
    if energies[0] <= 0:
        return 0
    ratio = small / large
    edge = 2.5129 * np.sqrt(ratio)
    threshold = (1 + edge) * (1 + ratio / edge)
    # The noise is at most the mean energy, and at least so large that not nearly all is signal.
    most = min(int(np.ceil(small / (1 + ratio))) - 1, small - 1)
    highest = energies.sum() / (small * large)
    lowest = max(
        energies[most] / (large * threshold), energies[most:].mean() / large, highest * 1e-12
    )
    scan = np.geomspace(min(lowest, highest), highest, _SCAN)
    for _ in range(2):  # the second time around the best of the first
        costs = [_free_energy(energies / (large * s), ratio, threshold) for s in scan]
        best = int(np.argmin(costs))
        noise = scan[best]
        scan = np.geomspace(scan[max(best - 1, 0)], scan[min(best + 1, _SCAN - 1)], _SCAN)
    return int(np.count_nonzero(energies > large * noise * threshold))


def _free_energy(x: Array, ratio: float, threshold: float) -> float:
    """Return twice the free energy over M, without constants, for normalised energies `x`."""
    signal = x[x > threshold]
    rest = np.maximum(x[x <= threshold], np.finfo(float).tiny)
    middle = signal - (1 + ratio)
    tau = 0.5 * (middle + np.sqrt(np.maximum(middle**2 - 4 * ratio, 0)))
    return float(
        np.sum(rest - np.log(rest))
        + np.sum(signal - tau + np.log((tau + 1) / signal) + ratio * np.log(tau / ratio + 1))
    )
