"""A dense kernel as depthwise and pointwise ones.

    W[o, i, :]  ~  sum over t of  P[o, i, t] D[i, t, :],        t = 0 .. terms - 1

Of weights alone the best is the truncated SVD of each input channel's matrix [M, taps] (Guo et al.,
"Network Decoupling: From Regular to Depthwise Separable Convolutions", 2018). With data, P given D
is one least squares problem, and so is D, channel by channel, given P: they are solved in turns,
and no step makes the form of `quadratic` larger.
"""

from __future__ import annotations

import numpy as np

from ..quadratic import Array, FactorProblem, QuadraticForm

_TURNS = 3


def decouple(weight: Array, terms: int) -> tuple[Array, Array]:
    """Return D [C, terms, k...] and P [M, C, terms] nearest to `weight` [M, C, k...].

    The kernels of D are orthonormal in each channel. `terms` is at most the number of taps.
    """
    outputs, channels, *taps = weight.shape
    matrices = weight.reshape(outputs, channels, -1).swapaxes(0, 1)
    # Of [M, taps] the right singular vectors are the eigenvectors of its small Gram matrix.
    _, vectors = np.linalg.eigh(matrices.swapaxes(1, 2) @ matrices)
    kernels = vectors[:, :, ::-1][:, :, :terms].swapaxes(1, 2)
    points = matrices @ kernels.swapaxes(1, 2)
    return kernels.reshape(channels, terms, *taps), points.swapaxes(0, 1)


def fit_decoupled(
    problem: FactorProblem, terms: int, *, turns: int = _TURNS
) -> tuple[Array, Array, float]:
    """Return D [C, terms, k...] and P [M, C, terms], and the form of `problem` there."""
    kernels, points = decouple(problem.weight, terms)
    if problem.form.moment is None:
        return kernels, points, problem.form.value(recombined(kernels, points))
    channels, _, *taps = kernels.shape
    kernels = kernels.reshape(channels, terms, -1)
    for turn in range(turns + 1):
        form = _through(problem.form, kernels)
        flat = form.least_squares()
        points = flat.reshape(-1, channels, terms)
        if turn < turns:
            kernels = _refit_kernels(problem, kernels, points)
    return kernels.reshape(channels, terms, *taps), points, form.value(flat)


def recombined(kernels: Array, points: Array) -> Array:
    """Return the dense rows [M, K] that D and P amount to."""
    flat = kernels.reshape(*kernels.shape[:2], -1)
    dense = np.einsum("oit,itk->oik", points, flat, optimize=True)
    return np.asarray(dense.reshape(len(points), -1))


def _through(form: QuadraticForm, kernels: Array) -> QuadraticForm:
    """Return the form of the pointwise layer that reads what D [C, terms, taps] gives."""
    channels, terms, taps = kernels.shape
    size = channels * terms
    assert form.moment is not None
    half = (kernels @ form.moment.reshape(channels, taps, -1)).reshape(size, channels, taps)
    back = kernels.swapaxes(1, 2)
    moment = (half.swapaxes(0, 1) @ back).swapaxes(0, 1).reshape(size, size)
    target = form.cross.reshape(-1, channels, taps).swapaxes(0, 1)
    cross = (target @ back).swapaxes(0, 1).reshape(-1, size)
    return QuadraticForm(moment, cross, form.energy)


def _refit_kernels(problem: FactorProblem, kernels: Array, points: Array) -> Array:
    """Return D [C, T, taps] refitted to P [M, C, T], one channel after the other.

    Of channel i it solves  Q_ii D_i H_ii = P_i' T_i - sum over j != i of Q_ij D_j H_ji,  Q = P' P.
    """
    channels, terms, taps = kernels.shape
    assert problem.form.moment is not None
    moment = problem.form.moment.reshape(channels, taps, channels, taps)
    gram = np.tensordot(points, points, (0, 0))  # [C, T, C, T]
    target = problem.form.cross.reshape(-1, channels, taps)
    wanted = points.transpose(1, 2, 0) @ target.transpose(1, 0, 2)  # [C, T, taps]
    found = kernels.copy()
    for i in range(channels):
        curved = (found @ moment[:, :, i]).reshape(channels * terms, taps)
        rest = wanted[i] - gram[i].reshape(terms, -1) @ curved
        step = np.linalg.lstsq(gram[i, :, i], rest, rcond=1e-10)[0]
        step = np.linalg.lstsq(moment[i, :, i].T, step.T, rcond=1e-10)[0].T
        found[i] += step
    norms = np.linalg.norm(found, axis=2, keepdims=True)
    return np.asarray(found / np.where(norms > 0, norms, 1.0))
