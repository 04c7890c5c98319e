"""How much of each given spectrum is in each pixel: least squares without negative amounts, for all pixels at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.lowrank.operators import times
from esteemcore.spectral.methods.problem import Problem

ROUNDS = 60
"""Exchanges of the pivoting, far more than it takes for the few components of a spectrum image."""

FULL_EXCHANGES = 3
"""Rounds without progress before only one component at a time changes sides, which cannot cycle."""

CLOSURE = 100.0
"""Weight of the equation that shares sum to 1, in units of the largest squared distance of a spectrum from the mean."""

CLOSURES, CLOSED = 20, 1e-11
"""Corrections of what that leaves open, each by this weight nearer, and the error of the sum that ends them."""

RIDGE = 1e-13
"""Added to the squared norm of each spectrum, in units of it: of two equal spectra both get a part."""


def abundances(problem: Problem, spectra: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the abundances that fit given spectra best, none below zero, smoothed as the problem asks.

    The squares are weighted by the noise of the channels. The projections of the data are smoothed, not the abundances:
    where no abundance reaches zero both are the same, elsewhere this has less bias.

    Parameters
    ----------
    problem : Problem
        Its matrix may be of any kind.
    spectra : ndarray, shape (n, energy)

    Returns
    -------
    ndarray, shape (rows, n)
    """
    weighted = spectra * problem.channel_weights**2
    projections = problem.smooth(np.asarray(times(problem.matrix, weighted.T), np.float64))
    return nonnegative(weighted @ spectra.T, projections, sum_to_one=problem.sum_to_one)


def nonnegative(
    gram: NDArray[np.float64], projections: NDArray[np.float64], *, sum_to_one: bool = False
) -> NDArray[np.float64]:
    """Return non-negative least-squares amounts from the normal equations, exact, for many right-hand sides.

    Block principal pivoting [1]_: pixels with the same set of non-zero amounts are solved together. With `sum_to_one`
    the amounts also sum to 1 (FCLS, [2]_): of shares only the differences of the spectra from their mean matter, which
    keeps all digits of those that are alike, and the sum is brought to 1 by the method of multipliers [3]_.

    Parameters
    ----------
    gram : ndarray, shape (n, n)
        Products of the spectra with each other.
    projections : ndarray, shape (rows, n)
        Products of the data with the spectra.
    sum_to_one : bool

    Returns
    -------
    ndarray, shape (rows, n)

    References
    ----------
    .. [1] J. Kim, H. Park, SIAM J. Sci. Comput. 33, 3261 (2011).
    .. [2] D. C. Heinz, C.-I. Chang, IEEE Trans. Geosci. Remote Sens. 39, 529 (2001).
    .. [3] M. J. D. Powell, in Optimization (Academic Press, 1969), 283.
    """
    if sum_to_one:
        return _shares(gram, projections)
    scale = np.sqrt(np.maximum(np.diag(gram), 1e-300))
    alike = gram / np.outer(scale, scale) + RIDGE * np.eye(len(gram))
    return _pivot(alike, projections / scale) / scale


def _shares(gram: NDArray[np.float64], projections: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return non-negative amounts that sum to 1, from the normal equations."""
    level = gram.mean(axis=0)
    about = gram - level - level[:, None] + level.mean()  # products of the differences from the mean spectrum
    right = projections - projections.mean(axis=1, keepdims=True) - level + level.mean()
    distance = float(np.diag(about).max())
    if distance <= RIDGE * float(np.diag(gram).max()):
        return np.full_like(projections, 1 / len(gram))
    weight = CLOSURE * distance
    about = about + weight
    scale = np.sqrt(np.diag(about))
    alike = about / np.outer(scale, scale) + RIDGE * np.eye(len(gram))
    multiplier = np.full((len(projections), 1), weight)
    for _ in range(CLOSURES):
        amounts = _pivot(alike, (right + multiplier) / scale) / scale
        missing = 1 - amounts.sum(axis=1, keepdims=True)
        if np.abs(missing).max(initial=0) < CLOSED:
            break
        multiplier += weight * missing
    shares: NDArray[np.float64] = amounts / amounts.sum(axis=1, keepdims=True)
    return shares


def _pivot(gram: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve ``min x.gram.x / 2 - x.right`` with x >= 0 for each row of `right`; `gram` has a unit diagonal."""
    rows, n = right.shape
    tolerance = 1e-10 * np.abs(right).max(axis=1, keepdims=True)
    inside = right > 0
    amounts = np.zeros_like(right)
    least = np.full(rows, n + 1)
    chances = np.full(rows, FULL_EXCHANGES)
    open_rows = np.arange(rows)
    for _ in range(ROUNDS * n):
        amounts[open_rows] = _solve_sets(gram, right[open_rows], inside[open_rows])
        slope = amounts[open_rows] @ gram - right[open_rows]
        now = inside[open_rows]
        wrong = np.where(now, amounts[open_rows] < -tolerance[open_rows], slope < -tolerance[open_rows])
        number = wrong.sum(axis=1)
        left = number > 0
        open_rows, wrong, number = open_rows[left], wrong[left], number[left]
        if not open_rows.size:
            break
        better = number < least[open_rows]
        least[open_rows] = np.minimum(least[open_rows], number)
        chances[open_rows] = np.where(better, FULL_EXCHANGES, chances[open_rows] - 1)
        last = n - 1 - wrong[:, ::-1].argmax(axis=1)  # Murty's rule: the last one only
        single = np.zeros_like(wrong)
        single[np.arange(len(last)), last] = True
        inside[open_rows] ^= np.where((chances[open_rows] > 0)[:, None], wrong, single)
    return np.maximum(amounts, 0)


def _solve_sets(
    gram: NDArray[np.float64], right: NDArray[np.float64], inside: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Solve the equations of the components inside, zero for the others; rows with the same set at once."""
    amounts = np.zeros_like(right)
    packed = np.packbits(inside, axis=1)
    _, first, group = np.unique(packed, axis=0, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    for number, row in enumerate(first):
        chosen = np.flatnonzero(inside[row])
        if chosen.size:
            members = np.flatnonzero(group == number)
            part: Any = np.linalg.solve(gram[np.ix_(chosen, chosen)], right[np.ix_(members, chosen)].T)
            amounts[np.ix_(members, chosen)] = part.T
    return amounts
