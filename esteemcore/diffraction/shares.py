"""Mixed positions: how much of each class is in the beam at once, and what none of them explains."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.diffraction.amorphous import SECTORS
from esteemcore.diffraction.patterns import Binned, cells

ITERATIONS = 60
"""Steps of the fit."""

PRIOR_COUNTS = 1.0
"""Electrons by which the first guess keeps its weight, where a pattern has few."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """Classes on top of each other.

    Attributes
    ----------
    fractions : ndarray of float64, shape (positions, n)
        Share of each class; they add up to 1.
    unexplained : ndarray of float64, shape (positions,)
        Part of the squared pattern that the classes leave, without that of noise: 0 to 1 but for noise.
    sigma : ndarray of float64, shape (positions,)
        Standard error of that.
    """

    fractions: NDArray[np.float64]
    unexplained: NDArray[np.float64]
    sigma: NDArray[np.float64]


def fit_shares(
    data: Binned,
    rates: NDArray[np.float64],
    of: NDArray[np.int64],
    n: int,
    share: NDArray[np.float32],
    radius: float,
) -> Shares:
    r"""Fit the counts of each position by those of the components.

    The rates of position i are :math:`\sum_k w_{ik} p_{kd}` with the mean counts per frame p of each component and
    non-negative weights, found by maximum likelihood for Poisson counts (the iteration of Richardson and Lucy). The
    weights of the components of a class are added up, and normalised to 1: the shares are those of the mean frames of
    the components, thick and thin alike.

    Of the counts :math:`n_c` in parts of rings about a disk wide, with rates :math:`\lambda_c`, the fit leaves the part

    .. math:: \frac{\sum_c ((n_c - \lambda_c)^2 - n_c) / (\lambda_c + 1)}
        {\sum_c (n_c^2 - n_c) / (\lambda_c + 1)}

    in which noise cancels on average.

    Parameters
    ----------
    data : Binned
    rates : ndarray, shape (k, bins)
        Mean counts per frame of each component.
    of : ndarray of int64, shape (k,)
        Class of each component; -1: left out.
    n : int
        Classes.
    share : ndarray, shape (positions, k)
        Posterior probabilities, from which the fit starts.
    radius : float
        Radius of a disk in px.
    """
    used = np.flatnonzero(of >= 0)
    basis = np.maximum(rates[used], 1e-9).astype(np.float32)
    expected = basis.sum(axis=1)
    collect = np.eye(n)[of[used]]
    cell, rings = cells(data, radius)
    parts = np.zeros((len(cell), rings * SECTORS), np.float32)
    parts[cell >= 0, cell[cell >= 0]] = 1
    result, left, sigma = np.empty((len(data.counts), n)), np.empty(len(data.counts)), np.empty(len(data.counts))
    for place, block in data.blocks():
        weight = (0.5 * share[place][:, used] + 0.5 / len(used)).astype(np.float32) + np.float32(1e-4)
        first = weight * (PRIOR_COUNTS / weight.sum(axis=1, keepdims=True))
        for _ in range(ITERATIONS):
            ratio = block / np.maximum(weight @ basis, np.float32(1e-9))
            weight = (weight * (ratio @ basis.T) + first) / (expected + PRIOR_COUNTS)
        classes = weight @ collect
        result[place] = classes / classes.sum(axis=1, keepdims=True)
        left[place], sigma[place] = _left(block @ parts, weight @ basis @ parts)
    return Shares(result, left, sigma)


def _left(counts: NDArray[Any], rates: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the part of squared counts (n, cells) that rates leave, and its standard error; 0 and inf of no counts."""
    counts, rates = counts.astype(np.float64), rates.astype(np.float64)
    rates *= (counts.sum(axis=1) / np.maximum(rates.sum(axis=1), 1e-12))[:, None]
    weight = 1 / (rates + 1)
    off = (weight * ((counts - rates) ** 2 - counts)).sum(axis=1)  # a Charlier polynomial: mean 0, variance 2 rates**2
    noise = np.sqrt((weight**2 * 2 * rates**2).sum(axis=1))
    whole = (weight * (counts**2 - counts)).sum(axis=1)
    known = whole > 0
    left = np.divide(off, whole, out=np.zeros(len(off)), where=known)
    return left, np.divide(noise, whole, out=np.full(len(off), np.inf), where=known)
