"""Pure pixels by successive projection, averaged over as many of their likes as the noise asks for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from esteemcore.spectral.abundances import abundances
from esteemcore.spectral.methods._points import Points, points
from esteemcore.spectral.methods.problem import Factors, Problem

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
"""Shares of the candidates that may be averaged for one spectrum, beside 1, 2, 3 and 5 pixels."""

ROUNDS = 5
"""How often each corner is looked for anew, given the others."""


def spa(problem: Problem) -> Factors:
    """Return the spectra of the purest pixels and how much of each is in every pixel.

    The first corner is the point farthest from the mean, each further one the farthest from the plane through the
    former (successive projection [1]_ in the space of the principal components, which removes most of the noise [2]_).
    Then each corner is replaced by the mean of the pixels that lie farthest from the plane through the other corners.
    They are chosen by the even channels and averaged in the odd ones and the other way round, as the farthest of noisy
    points otherwise are those with the most noise. So many are averaged as lose no purity beyond one standard error of
    their mean.

    References
    ----------
    .. [1] M. C. U. Araujo et al., Chemom. Intell. Lab. Syst. 57, 65 (2001).
    .. [2] N. Gillis, S. A. Vavasis, IEEE Trans. Pattern Anal. Mach. Intell. 36, 698 (2014).
    """
    work = problem.steps(ROUNDS + 2)
    if problem.known is not None and len(problem.known) == problem.n:
        amounts = abundances(problem, problem.known)
        work.step(ROUNDS + 2)
        return Factors(problem.known, amounts)
    cloud = points(problem)
    work.step()
    known = None if problem.known is None else cloud.places_of(problem.known)
    corners = _successive(cloud, problem.n, known)
    for _ in range(ROUNDS):
        for k in range(0 if known is None else len(known), problem.n):
            corners[k] = _purest(cloud, corners, k)
        work.step()
    spectra = corners @ cloud.basis
    if problem.known is not None:
        spectra[: len(problem.known)] = problem.known
    amounts = abundances(problem, spectra)
    work.step()
    return Factors(spectra, amounts)


def _successive(cloud: Points, n: int, known: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return the corners by successive projection, each a mean of a few pixels."""
    size = cloud.intensity()[:, None]
    first, second = (half[cloud.candidate] / size for half in cloud.halves)
    corners = [] if known is None else list(known)
    middle = (first.mean(axis=0) + second.mean(axis=0)) / 2
    few = max(3, len(first) // 200)
    while len(corners) < n:
        origin = corners[0] if corners else middle
        plane = np.linalg.qr(np.array([c - origin for c in corners[1:]]).reshape(-1, n).T)[0]
        left = [points - origin - (points - origin) @ plane @ plane.T for points in (first, second)]
        # noise of the halves is independent: its product is zero on average, and a spike is in one of them only
        best = int((left[0] * left[1]).sum(axis=1).argmax())
        direction = left[0][best] + left[1][best]
        top = np.argsort((left[0] + left[1]) @ direction)[-few:]
        corners.append((first[top].mean(axis=0) + second[top].mean(axis=0)) / 2)
    return np.array(corners)


def _purest(cloud: Points, corners: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return the mean of the pixels that lie farthest from the plane through the other corners."""
    size = cloud.intensity()
    halves = [half[cloud.candidate] for half in cloud.halves]
    share = _coordinate(corners, k)
    amounts = [share(half / size[:, None]) for half in halves]
    orders = [np.argsort(-amount) for amount in amounts]
    numbers = np.unique(np.clip([1, 2, 3, 5, *(round(part * len(size)) for part in SHARES)], 1, len(size)))
    noise = float(np.median(np.abs(amounts[0] - amounts[1]))) / 0.954  # of one half, in one pixel
    purity = np.array([(amounts[1][orders[0][:m]].mean() + amounts[0][orders[1][:m]].mean()) / 2 for m in numbers])
    error = noise / np.sqrt(2 * numbers)
    best = int((purity - error).argmax())
    number = int(numbers[purity >= purity[best] - error[best] - 1e-9][-1])
    chosen = orders[0][:number], orders[1][:number]
    total = halves[1][chosen[0]].sum(axis=0) + halves[0][chosen[1]].sum(axis=0)
    mean: NDArray[np.float64] = total / (size[chosen[0]].sum() + size[chosen[1]].sum())
    return mean


def _coordinate(corners: NDArray[np.float64], k: int) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """Return the function of points that is 1 at corner `k` and 0 on the plane through the others."""
    if len(corners) == 1:
        return lambda points: np.zeros(len(points))
    others = np.delete(corners, k, axis=0)
    plane = np.linalg.qr((others[1:] - others[0]).T)[0]
    normal = corners[k] - others[0]
    normal = normal - plane @ (plane.T @ normal)
    normal = normal / (normal @ (corners[k] - others[0]))
    return lambda points: (points - others[0]) @ normal
