"""Non-negative factors by weighted least squares, for data whose noise is not that of counts alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from esteemcore.lowrank import truncated_svd
from esteemcore.spectral.abundances import abundances
from esteemcore.spectral.methods._points import weighted as weighted_data
from esteemcore.spectral.methods.problem import Factors, Problem
from esteemcore.spectral.methods.spa import spa

ITERATIONS, TOLERANCE = 500, 1e-6
"""Steps at most; ends when ten of them lower the squares by less than this share."""

EXTRA = 2
"""Principal components beside those asked for, in which non-negativity has room to act."""


def least_squares_factors(problem: Problem) -> Factors:
    """Return non-negative factors of the weighted data.

    The weights are those of pixels and channels that make the noise equal; as they are positive, factors of the
    weighted data are weighted factors. The data enter by their leading principal components only [1]_, so that a step
    costs the same for every kind of data. Factors are updated one component at a time, each exactly. The abundances at
    the end are the non-negative ones that fit the data themselves best.

    References
    ----------
    .. [1] G. Zhou, A. Cichocki, S. Xie, IEEE Trans. Signal Process. 60, 2928 (2012).
    """
    work = problem.steps(ITERATIONS)
    spectra = np.maximum(spa(problem.quiet()).spectra, 0)
    fixed = 0 if problem.known is None else len(problem.known)
    row, channel = problem.row_weights, problem.channel_weights
    left, values, right = truncated_svd(
        weighted_data(problem), min(problem.n + EXTRA, *problem.matrix.shape), seed=problem.seed
    )
    left = left * values
    weighted = spectra * channel
    amounts = np.maximum(abundances(problem, spectra) * row[:, None], 1e-12)
    total = float((values**2).sum())
    squares: list[float] = []
    converged = False
    for _ in range(ITERATIONS):
        work.step()
        _descend(amounts, left @ (right @ weighted.T), weighted @ weighted.T, 0)
        products = (amounts.T @ left) @ right
        turned = weighted.T.copy()
        gram = amounts.T @ amounts
        _descend(turned, products.T, gram, fixed)
        weighted = turned.T
        squares.append(total - 2 * float((products * weighted).sum()) + float((gram * (weighted @ weighted.T)).sum()))
        if len(squares) > 10 and squares[-11] - squares[-1] < TOLERANCE * max(squares[-1], 1e-12 * total):
            converged = True
            break
    work.finish()
    spectra = weighted / channel
    if problem.known is not None:
        spectra[:fixed] = problem.known
    notes = () if converged else (f"the fit still improves after {ITERATIONS} steps",)
    return Factors(spectra, abundances(problem, spectra), notes=notes)


def _descend(factor: NDArray[np.float64], products: NDArray[np.float64], gram: NDArray[np.float64], first: int) -> None:
    """Move each column of a factor, from the first free one on, to its best non-negative values given the others."""
    for k in range(first, factor.shape[1]):
        if gram[k, k] > 0:
            factor[:, k] = np.maximum(factor[:, k] + (products[:, k] - factor @ gram[:, k]) / gram[k, k], 0)
