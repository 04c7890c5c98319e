"""Clusters of pixels as components: each pixel belongs to one, or to several with a probability."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import ParameterError
from esteemcore.lowrank.operators import times, transposed_times
from esteemcore.spectral.methods._points import Points
from esteemcore.spectral.methods.problem import Factors, Problem


def of_memberships(problem: Problem, members: NDArray[np.float64], notes: tuple[str, ...] = ()) -> Factors:
    """Return the mean spectra of clusters and how much of each is in every pixel.

    Parameters
    ----------
    problem : Problem
    members : ndarray, shape (rows, n)
        Probability of each pixel to belong to each cluster; each row sums to 1.
    notes : tuple of str
    """
    total = np.maximum(members.sum(axis=0), 1e-12)
    spectra = np.asarray(transposed_times(problem.matrix, members), np.float64).T / total[:, None]
    if problem.sum_to_one:
        return Factors(spectra, members, notes=notes)
    weighted = spectra * problem.channel_weights**2
    mixed = members @ spectra * problem.channel_weights
    fit = (np.asarray(times(problem.matrix, weighted.T)) * members).sum(axis=1)
    amount = np.maximum(fit, 0) / np.maximum(np.square(mixed).sum(axis=1), 1e-300)
    return Factors(spectra, members * problem.smooth(amount)[:, None], notes=notes)


def features(problem: Problem, cloud: Points) -> NDArray[np.float64]:
    """Return what pixels are clustered by, shape (rows, n): their points, of pixels with no signal the middle."""
    number = int(cloud.candidate.sum())
    if number < 2 * problem.n and problem.n > 1:
        raise ParameterError(f"{number} pixels with signal are too few for {problem.n} clusters; two for each at least")
    scores = problem.smooth(cloud.scores)
    size = cloud.intensity(scores)
    enough = size > 1e-3
    places = np.where(enough[:, None], scores / np.where(enough, size, 1)[:, None], 0)
    places[~enough] = places[enough].mean(axis=0)
    return places
