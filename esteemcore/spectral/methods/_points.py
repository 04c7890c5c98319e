"""Spectra as points in the space of the principal components: what the geometric methods look for the corners of."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import ParameterError
from esteemcore.lowrank import truncated_svd
from esteemcore.lowrank.operators import scaled, times
from esteemcore.spectral.abundances import abundances
from esteemcore.spectral.methods.problem import Factors, Problem

LEAST_VALUE = 1e-9
"""Singular values of less than this share of the largest one are rounding errors of float64."""

ROUNDED = 10.0
"""So many times the rounding error of the data, as a share of the largest singular value, are rounding errors, too."""

LEAST_SHARE = 0.2
"""Pixels of less than this share of the mean intensity are no candidates for pure ones: their direction is noise."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Points:
    """Pixels as points: mixtures lie within the simplex whose corners are the spectra of the components.

    Attributes
    ----------
    scores : ndarray, shape (rows, n)
        Coordinates of each pixel; ``scores @ basis`` are the denoised spectra. Their noise is equal in all directions.
    halves : tuple of two ndarrays, shape (rows, n)
        The same coordinates from the even and from the odd channels alone, whose noise is independent. Pixels chosen by
        one half and averaged in the other one are not biased by the choice.
    basis : ndarray, shape (n, energy)
    weights : ndarray, shape (energy,)
        Of the channels.
    measure : ndarray, shape (n,), or None
        Product with the scores that is divided by to make points of them: the share of the mean spectrum in a pixel.
        None where abundances sum to 1, as the pixels then are mixtures as they are.
    candidate : ndarray of bool, shape (rows,)
        Pixels with signal enough to be taken for pure.
    """

    scores: NDArray[np.float64]
    halves: tuple[NDArray[np.float64], NDArray[np.float64]]
    basis: NDArray[np.float64]
    weights: NDArray[np.float64]
    measure: NDArray[np.float64] | None
    candidate: NDArray[np.bool_]

    def intensity(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what scores (..., n) are divided by to be points."""
        return np.ones(scores.shape[:-1]) if self.measure is None else scores @ self.measure

    def places(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return scores (..., n) as points: scaled to unit intensity."""
        return scores / self.intensity(scores)[..., None]

    def places_of(self, spectra: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the points of given spectra (k, energy), as near as the components come to them."""
        return self.places((spectra * self.weights**2) @ self.basis.T)


def points(problem: Problem) -> Points:
    """Return the spectra as points by weighted principal components.

    Raises
    ------
    ParameterError
        If the data have fewer components than asked for, noise included.
    """
    weights = problem.channel_weights
    _, values, directions = truncated_svd(weighted(problem), problem.n, seed=problem.seed)
    least = max(LEAST_VALUE, ROUNDED * problem.precision) * values[0]
    if values[-1] <= least:
        number = int((values > least).sum())
        raise ParameterError(
            f"n_components is {problem.n}, but the data are mixtures of {number} spectra at most, without noise"
        )
    even = np.arange(directions.shape[1]) % 2 == 0
    stacked = np.concatenate([part * weights for part in (directions, *_half_estimators(directions, even))])
    found = np.asarray(times(problem.matrix, stacked.T), np.float64)
    scores, first, second = np.split(found, 3, axis=1)
    measure, candidate = None, np.ones(len(scores), np.bool_)
    if not problem.sum_to_one:
        mean = scores.mean(axis=0)
        measure = mean / (mean @ mean)
        candidate = problem.smooth(scores @ measure) > LEAST_SHARE
    return Points(scores, (first, second), directions / weights, weights, measure, candidate)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """The candidates within the plane of n - 1 dimensions that they are nearest to, where a simplex has a volume.

    Attributes
    ----------
    places : ndarray, shape (candidates, n)
        ``(1, coordinates)`` of each: the volume of a simplex is the determinant of its n corners.
    known : ndarray, shape (k, n)
        The same of the known spectra.
    middle, axes : ndarrays, shapes (n,) and (n - 1, n)
        ``middle + coordinates @ axes`` are the points again.
    """

    places: NDArray[np.float64]
    known: NDArray[np.float64]
    middle: NDArray[np.float64]
    axes: NDArray[np.float64]

    def points(self, corners: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return corners (n, n) of the plane as points."""
        return self.middle + corners[:, 1:] @ self.axes

    def corners(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return points (k, n) as places in the plane."""
        return np.column_stack([np.ones(len(points)), (points - self.middle) @ self.axes.T])


def plane_of(problem: Problem, cloud: Points) -> Plane:
    """Return the candidates, smoothed as the problem asks, and the known spectra within their plane."""
    places = cloud.places(problem.smooth(cloud.scores)[cloud.candidate])
    middle = places.mean(axis=0)
    axes = np.linalg.eigh((places - middle).T @ (places - middle))[1][:, ::-1].T[: problem.n - 1]
    plane = Plane(places, np.empty((0, problem.n)), middle, axes)
    known = plane.known if problem.known is None else plane.corners(cloud.places_of(problem.known))
    return dataclasses.replace(plane, places=plane.corners(places), known=known)


def unmixed(problem: Problem, cloud: Points, corners: NDArray[np.float64]) -> Factors:
    """Return the spectra at corners (n, n), the known ones as they were given, and their abundances."""
    spectra = corners @ cloud.basis
    if problem.known is not None:
        spectra[: len(problem.known)] = problem.known
    return Factors(spectra, abundances(problem, spectra))


def _half_estimators(directions: NDArray[np.float64], even: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Return what spectra are multiplied by to get the coordinates from even and from odd channels.

    Where half of the channels cannot tell the components apart, both are from all channels.
    """
    parts = []
    for half in (even, ~even):
        part = np.where(half, directions, 0)
        gram = part @ part.T
        if np.linalg.eigvalsh(gram)[0] < 0.1:  # 0.5 where both halves hold the same information
            return [directions, directions]
        parts.append(np.linalg.solve(gram, part))
    return parts


def weighted(problem: Problem) -> Any:
    """Return the matrix with noise of equal variance."""
    return scaled(problem.matrix, problem.row_weights, problem.channel_weights)
