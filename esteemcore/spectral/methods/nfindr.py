"""N-FINDR: the pixels whose spectra span the largest volume."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from esteemcore.spectral.methods._known import holding_known
from esteemcore.spectral.methods._points import plane_of, points, unmixed
from esteemcore.spectral.methods.problem import Factors, Problem

RESTARTS = 10
"""Random sets of pixels to begin from."""

EXCHANGES = 100
"""Rounds of exchanges at the most; the volume never falls and there are finitely many sets, so it ends before."""


@holding_known
def nfindr(problem: Problem) -> Factors:
    """Return the spectra of the pixels that span the largest simplex, and how much of each is in every pixel.

    One corner at a time is exchanged for the pixel that makes the volume largest, until none does [1]_. Of several
    starts from random pixels the largest volume is kept.

    References
    ----------
    .. [1] M. E. Winter, Proc. SPIE 3753, 266 (1999).
    """
    restarts = RESTARTS if problem.restarts is None else problem.restarts
    work = problem.steps(restarts + 1)
    cloud = points(problem)
    plane = plane_of(problem, cloud)
    best, largest = plane.places[: problem.n], -1.0
    for restart in range(restarts):
        chosen = problem.rng(restart).choice(len(plane.places), problem.n - len(plane.known), replace=False)
        corners = largest_simplex(plane.places, np.concatenate([plane.known, plane.places[chosen]]), len(plane.known))
        volume = abs(float(np.linalg.det(corners)))
        if volume > largest:
            best, largest = corners, volume
        work.step()
    result = unmixed(problem, cloud, plane.points(best))
    work.step()
    return result


def largest_simplex(places: NDArray[np.float64], corners: NDArray[np.float64], fixed: int = 0) -> NDArray[np.float64]:
    """Return corners among the places (m, n) such that exchanging none of them makes the simplex larger.

    The volume is linear in each corner, so that one product with the cofactors compares all pixels.
    """
    corners = corners.copy()
    for _ in range(EXCHANGES):
        changed = False
        for k in range(fixed, len(corners)):
            cofactors = _cofactors(corners, k)
            best = places[np.abs(places @ cofactors).argmax()]
            if abs(best @ cofactors) > abs(corners[k] @ cofactors) * (1 + 1e-9):
                corners[k], changed = best, True
        if not changed:
            break
    return corners


def _cofactors(corners: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return the vector whose product with corner `k` is the determinant."""
    minors = np.delete(corners, k, axis=0)
    found: list[float] = []
    for j in range(len(corners)):
        found.append((-1) ** (j + k) * float(np.linalg.det(np.delete(minors, j, axis=1))))
    return np.array(found)
