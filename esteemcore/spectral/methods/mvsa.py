"""Minimum volume simplex: corners where no pixel is pure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_ndtr

from esteemcore._core.progress import Progress
from esteemcore.spectral.methods._known import holding_known
from esteemcore.spectral.methods._points import Plane, Points, plane_of, points, unmixed
from esteemcore.spectral.methods.nfindr import largest_simplex
from esteemcore.spectral.methods.problem import Factors, Problem
from esteemcore.spectral.methods.spa import ROUNDS, purest_corners

LEAST_NOISE = 1e-4
"""No pixel is taken to have less noise than this share of the extent of the cloud: what makes sharp faces smooth."""

ITERATIONS = 500
"""Of the minimiser, at each width; a few tens are usual."""


@holding_known
def mvsa(problem: Problem) -> Factors:
    r"""Return the corners of the smallest simplex that holds all pixels as far as their noise tells.

    Minimum volume simplex analysis [1]_ extrapolates to spectra that no pixel has, provided that the pixels reach the
    faces of the simplex. Here the faces are as soft as the noise: of points spread evenly in a simplex of volume
    :math:`V`, with Gaussian noise :math:`s_{ik}` of the share :math:`a_{ik}` of component k in pixel i, the most likely
    simplex minimises

    .. math:: \sum_i \Big( \log V - \sum_k \log \Phi(a_{ik} / s_{ik}) \Big),

    with :math:`\Phi` the normal distribution. Without noise that is the smallest simplex that holds all points.

    References
    ----------
    .. [1] J. Li, A. Agathos, D. Zaharie, J. M. Bioucas-Dias, A. Plaza, X. Li, IEEE Trans. Geosci. Remote Sens. 53, 5067
       (2015).
    """
    work = problem.steps(ROUNDS + 1)
    cloud = points(problem)
    plane = plane_of(problem, cloud)
    corners = plane.corners(purest_corners(problem, cloud, work))
    notes: tuple[str, ...] = ()
    if problem.n > 1:
        corners = largest_simplex(plane.places, corners, len(plane.known))
        noise = _noise(problem, cloud, plane)
        corners, converged = _smallest(plane, corners, noise, work)
        if not converged:
            notes = (f"the smallest simplex had not settled after {ITERATIONS} iterations",)
    result = unmixed(problem, cloud, plane.points(corners))
    work.step()
    return Factors(result.spectra, result.abundances, notes=notes)


def _noise(problem: Problem, cloud: Points, plane: Plane) -> NDArray[np.float64]:
    """Return the standard deviation of each candidate in any direction, from what the halves differ by."""
    inside = cloud.candidate
    row = problem.row_weights[inside]
    scores = [problem.smooth(half)[inside] * row[:, None] for half in cloud.halves]
    typical = np.sqrt(np.mean((scores[0] - scores[1]) ** 2) / 4)
    size = cloud.intensity(problem.smooth(cloud.scores)[inside])
    extent = float(np.sqrt(np.square(plane.places[:, 1:]).sum(axis=1).mean()))
    return np.asarray(np.maximum(typical / row / size, LEAST_NOISE * extent))


def _smallest(
    plane: Plane, corners: NDArray[np.float64], noise: NDArray[np.float64], work: Progress
) -> tuple[NDArray[np.float64], bool]:
    """Return the corners of the most likely simplex near some corners, and whether the minimiser came to its end."""
    n, fixed = len(corners), len(plane.known)
    unit = float(np.abs(plane.places[:, 1:]).max())

    blur = n * (n + 1) * float(np.square(noise).mean())

    def objective(free: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the mean over the pixels of the negative logarithm of the likelihood, and its gradient."""
        work.step(0)
        trial = corners.copy()
        trial[fixed:, 1:] = free.reshape(n - fixed, n - 1) * unit
        if abs(np.linalg.det(trial)) < 1e-12 * unit ** (n - 1):
            return np.inf, np.zeros_like(free)
        inverse = np.linalg.inv(trial)  # places @ inverse are the shares
        length = np.sqrt(np.square(inverse[1:]).sum(axis=0))
        ratio = (plane.places @ inverse) / length / noise[:, None]
        logarithm = log_ndtr(ratio)
        slope = np.exp(-0.5 * ratio**2 - 0.5 * np.log(2 * np.pi) - logarithm)
        by_inverse = (plane.places / noise[:, None]).T @ (slope / length)
        by_inverse[1:] -= (slope * ratio).sum(axis=0) / length**2 * inverse[1:]
        # points of a simplex much smaller than the noise spread as the noise does
        arms = trial[:, 1:] - trial[:, 1:].mean(axis=0)
        scatter = arms.T @ arms + blur * np.eye(n - 1)
        gradient = (inverse.T @ by_inverse @ inverse.T / len(noise))[:, 1:] + np.linalg.solve(scatter, arms.T).T
        size = float(np.linalg.slogdet(scatter)[1]) / 2
        return size - float(logarithm.sum()) / len(noise), gradient[fixed:].ravel() * unit

    start = corners[fixed:, 1:].ravel() / unit
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS, "ftol": 1e-12})
    result = corners.copy()
    result[fixed:, 1:] = found.x.reshape(n - fixed, n - 1) * unit
    return result, found.nit < ITERATIONS
