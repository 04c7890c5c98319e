"""Pure pixels by successive projection, averaged over as many of their likes as the noise asks for."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.progress import Progress
from esteemcore.spectral.methods._known import holding_known
from esteemcore.spectral.methods._points import Points, points, unmixed
from esteemcore.spectral.methods.problem import Factors, Problem

SHARES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
"""Shares of the candidates that may be averaged for one spectrum, beside 1, 2, 3 and 5 pixels."""

ERRORS = 3.0
"""A mean of more pixels is preferred as long as it is not less pure by so many standard errors of the best one."""

LEAST_PURITY = 0.98
"""Pixels whose mean is as far from the plane through the other corners as this share of their own corner are pure."""

FEW = 0.25
"""Where phases are pure, the pure pixels of all phases together are a larger share of all; 0.6 to 0.9 are usual."""

ROUNDS = 5
"""How often each corner is looked for anew, given the others."""


@holding_known
def spa(problem: Problem) -> Factors:
    """Return the spectra of the purest pixels and how much of each is in every pixel.

    The first corner is the point farthest from the mean, each further one the farthest from the plane through the
    former (successive projection [1]_ in the space of the principal components, which removes most of the noise [2]_).
    Then each corner is replaced by the mean of the pixels that lie farthest from the plane through the other corners.
    They are chosen by the even channels and averaged in the odd ones and the other way round, as the farthest of noisy
    points otherwise are those with the most noise. As many are averaged as leave the mean as pure as the purest one,
    within its standard errors. Where these are few, the notes say that there may be no pure pixels at all.

    References
    ----------
    .. [1] M. C. U. Araujo et al., Chemom. Intell. Lab. Syst. 57, 65 (2001).
    .. [2] N. Gillis, S. A. Vavasis, IEEE Trans. Pattern Anal. Mach. Intell. 36, 698 (2014).
    """
    work = problem.steps(ROUNDS + 2)
    cloud = points(problem)
    work.step()
    pixels = _Pixels.of(problem, cloud)
    corners = _corners(problem, cloud, pixels, work)
    result = unmixed(problem, cloud, corners)
    work.step()
    share = _share_at(pixels, corners, 0 if problem.known is None else len(problem.known))
    if problem.n < 3 or share >= FEW:
        return result
    note = (
        f"only {share:.0%} of the pixels are as pure as the purest ones: if no pixel is pure, so are these spectra "
        "not; compare method='nmf' and 'mvsa', which look beyond them"
    )
    return dataclasses.replace(result, notes=(note,), doubted=True)


def purest_corners(problem: Problem, cloud: Points, work: Progress | None = None) -> NDArray[np.float64]:
    """Return the corners (n, n), the known ones first; counts `ROUNDS` steps."""
    return _corners(problem, cloud, _Pixels.of(problem, cloud), work)


def share_of_purest(problem: Problem, cloud: Points) -> float:
    """Return the share of the pixels that are as pure as the corners: large where phases are pure."""
    pixels = _Pixels.of(problem, cloud)
    known = 0 if problem.known is None else len(problem.known)
    return _share_at(pixels, _corners(problem, cloud, pixels, None), known)


def _corners(problem: Problem, cloud: Points, pixels: _Pixels, work: Progress | None) -> NDArray[np.float64]:
    known = None if problem.known is None else cloud.places_of(problem.known)
    corners = _successive(pixels, problem.n, known)
    for _ in range(ROUNDS):
        for k in range(0 if known is None else len(known), problem.n):
            corners[k] = _purest(pixels, *_normal(corners, k))
        if work is not None:
            work.step()
    return corners


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Pixels:
    """The candidates: scores of both halves, intensities, and the points that they are chosen by, sharp and smooth.

    A pixel and its neighbours together tell better than it alone how pure it is, unless grains are as small as pixels.
    """

    scores: list[NDArray[np.float64]]
    size: NDArray[np.float64]
    places: list[NDArray[np.float64]]
    sharp: list[NDArray[np.float64]] | None

    @classmethod
    def of(cls, problem: Problem, cloud: Points) -> _Pixels:
        inside = cloud.candidate
        size = cloud.intensity(problem.smooth(cloud.scores)[inside])
        places = [problem.smooth(half)[inside] / size[:, None] for half in cloud.halves]
        scores, own = [half[inside] for half in cloud.halves], cloud.intensity(cloud.scores[inside])
        if problem.smoothing_px == 0 or own.min(initial=np.inf) <= 0:
            return cls(scores, own, places, None)
        return cls(scores, own, places, [half / own[:, None] for half in scores])

    def choices(self) -> list[list[NDArray[np.float64]]]:
        """Return the points that pixels may be chosen by."""
        return [self.places] if self.sharp is None else [self.places, self.sharp]


def _successive(pixels: _Pixels, n: int, known: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Return the corners by successive projection, each a mean of pixels."""
    corners = [] if known is None else list(known)
    middle = (pixels.scores[0].sum(axis=0) + pixels.scores[1].sum(axis=0)) / (2 * pixels.size.sum())
    while len(corners) < n:
        origin = corners[0] if corners else middle
        plane = np.linalg.qr(np.array([c - origin for c in corners[1:]]).reshape(-1, n).T)[0]
        left = [points - origin - (points - origin) @ plane @ plane.T for points in pixels.places]
        # noise of the halves is independent: its product is zero on average, and a spike is in one of them only
        best = int((left[0] * left[1]).sum(axis=1).argmax())
        direction = left[0][best] + left[1][best]
        corners.append(_purest(pixels, origin, direction / max(float(np.linalg.norm(direction)), 1e-300)))
    return np.array(corners)


def _share_at(pixels: _Pixels, corners: NDArray[np.float64], known: int) -> float:
    """Return the share of the pixels that are pure, at all corners together but for the known ones."""
    number = 0
    for k in range(known, len(corners)):
        origin, normal = _normal(corners, k)
        amount, weight = np.zeros(len(pixels.size)), np.zeros(len(pixels.size))
        for chooser, other in ((0, 1), (1, 0)):
            order = np.argsort(-(pixels.places[chooser] @ normal))
            amount += (pixels.scores[other][order] @ normal).cumsum()
            weight += pixels.size[order].cumsum()
        distance = amount / np.maximum(weight, 1e-300) - origin @ normal
        pure = np.flatnonzero(distance >= LEAST_PURITY * ((corners[k] - origin) @ normal))
        number += int(pure[-1]) + 1 if pure.size else 0
    return number / len(pixels.size)


def _purest(pixels: _Pixels, origin: NDArray[np.float64], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the pixels that lie farthest from a plane through `origin`."""
    halves, size = pixels.scores, pixels.size
    difference = (halves[0] - halves[1]) @ normal
    noise = float(difference @ difference) / 4 / float(size.sum())  # variance of both halves, of unit intensity
    numbers = np.unique(np.clip([1, 2, 3, 5, *(round(part * len(size)) for part in SHARES)], 1, len(size)))
    choices = pixels.choices()
    totals = np.zeros((len(numbers), len(choices), len(normal)))
    weights = np.zeros((len(numbers), len(choices)))
    for k, places in enumerate(choices):
        for chooser, other in ((0, 1), (1, 0)):
            order = np.argsort(-(places[chooser] @ normal))[: numbers[-1]]
            totals[:, k] += halves[other][order].cumsum(axis=0)[numbers - 1]
            weights[:, k] += size[order].cumsum()[numbers - 1]
    # every choice by the fewest pixels first, then by more
    weight = np.maximum(weights.ravel(), 1e-12 * size.sum())
    means = totals.reshape(-1, len(normal)) / weight[:, None]
    distance, error = (means - origin) @ normal, np.sqrt(2 * noise / weight)
    best = int((distance - ERRORS * error).argmax())
    near = distance >= distance[best] - ERRORS * error[best] - 1e-9 * abs(distance[best])
    mean: NDArray[np.float64] = means[np.flatnonzero(near)[-1]]
    return mean


def _normal(corners: NDArray[np.float64], k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return a point of the plane through the other corners and the unit normal from it towards corner `k`."""
    others = np.delete(corners, k, axis=0)
    if not len(others):
        return np.zeros_like(corners[0]), np.zeros_like(corners[0])
    plane = np.linalg.qr((others[1:] - others[0]).T)[0]
    normal = corners[k] - others[0]
    normal = normal - plane @ (plane.T @ normal)
    return others[0], normal / max(float(np.linalg.norm(normal)), 1e-300)
