"""Mixed positions: how much of each class is in the beam at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from esteemcore.diffraction.patterns import Binned

ITERATIONS = 60
"""Steps of the fit."""

PRIOR_COUNTS = 1.0
"""Electrons by which the first guess keeps its weight, where a pattern has few."""


def fractions(
    data: Binned, rates: NDArray[np.float64], of: NDArray[np.int64], n: int, share: NDArray[np.float32]
) -> NDArray[np.float64]:
    r"""Return the share of each class in the counts of each position, (positions, n).

    The rates of position i are :math:`\sum_k w_{ik} p_{kd}` with the mean counts per frame p of each component and
    non-negative weights, found by maximum likelihood for Poisson counts (the iteration of Richardson and Lucy). The
    weights of the components of a class are added up, and normalised to 1.

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
    """
    used = np.flatnonzero(of >= 0)
    basis = np.maximum(rates[used], 1e-9).astype(np.float32)
    expected = basis.sum(axis=1)
    collect = np.eye(n)[of[used]]
    result = np.empty((len(data.counts), n))
    for place, block in data.blocks():
        weight = (0.5 * share[place][:, used] + 0.5 / len(used)).astype(np.float32) + np.float32(1e-4)
        first = weight * (PRIOR_COUNTS / weight.sum(axis=1, keepdims=True))
        for _ in range(ITERATIONS):
            ratio = block / np.maximum(weight @ basis, np.float32(1e-9))
            weight = (weight * (ratio @ basis.T) + first) / (expected + PRIOR_COUNTS)
        classes = weight @ collect
        result[place] = classes / classes.sum(axis=1, keepdims=True)
    return result
