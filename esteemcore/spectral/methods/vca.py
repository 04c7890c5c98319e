"""Vertex component analysis: the pixel farthest along a random direction that the former ones do not have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from esteemcore.spectral.methods._known import holding_known
from esteemcore.spectral.methods._points import plane_of, points, unmixed
from esteemcore.spectral.methods.problem import Factors, Problem

RESTARTS = 10
"""Independent draws of the random directions."""


@holding_known
def vca(problem: Problem) -> Factors:
    """Return the spectra of single pixels at the corners, and how much of each is in every pixel.

    Each corner is the point farthest along a random direction orthogonal to the former corners [1]_. Of several draws
    the one whose corners span the largest volume is kept.

    References
    ----------
    .. [1] J. M. P. Nascimento, J. M. Bioucas-Dias, IEEE Trans. Geosci. Remote Sens. 43, 898 (2005).
    """
    restarts = RESTARTS if problem.restarts is None else problem.restarts
    work = problem.steps(restarts + 1)
    cloud = points(problem)
    plane = plane_of(problem, cloud)
    best, largest = plane.places[: problem.n], -1.0
    for restart in range(restarts):
        corners = _farthest(plane.places, plane.known, problem.n, problem.rng(restart))
        volume = abs(float(np.linalg.det(corners)))
        if volume > largest:
            best, largest = corners, volume
        work.step()
    result = unmixed(problem, cloud, plane.points(best))
    work.step()
    return result


def _farthest(
    places: NDArray[np.float64], known: NDArray[np.float64], n: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return corners (n, n), the known ones first, each further one the farthest along a random direction."""
    corners = list(known)
    while len(corners) < n:
        direction = rng.standard_normal(n)
        if corners:
            span = np.linalg.qr(np.array(corners).T)[0]
            direction -= span @ (span.T @ direction)
        corners.append(places[np.abs(places @ direction).argmax()])
    return np.array(corners)
