"""How much maps gain by smoothing, as one half of the channels tells of the other, and whether pixels are pure then."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from esteemcore.spectral.abundances import nonnegative
from esteemcore.spectral.methods._known import shown_in_data
from esteemcore.spectral.methods._points import Points, points
from esteemcore.spectral.methods.problem import Problem
from esteemcore.spectral.methods.spa import purest_corners, share_of_purest

WIDTHS_PX = (0.0, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8)
"""Standard deviations of the Gaussians that are tried."""

ERRORS = 3.0
"""Maps are smoothed where that brings them nearer to the truth by more than so many standard errors of the gain."""

LARGEST_CONDITION = 1e8
"""Of the corners: spectra that are nearly the same have no amounts of their own to be judged by."""


class Suited(NamedTuple):
    """The width in pixels of the Gaussian that suits the maps, and the share of the pixels that are pure."""

    width_px: float
    share: float


def suited(problem: Problem) -> Suited | None:
    r"""Return the width of the smoothing that brings the maps nearest to the truth, or None where none can be told.

    The noise of the even channels and that of the odd ones are independent. So the mean square distance of the maps of
    one half, smoothed and nowhere negative, from those of the other half as they are is the distance from the truth
    plus the noise of the other half [1]_, which is the same for all widths:

    .. math:: E |S(y_1) - y_2|^2 = E |S(y_1) - x|^2 + E |y_2 - x|^2 .

    Each half has twice the noise of both together, so that the width is that for somewhat noisier maps.

    Parameters
    ----------
    problem : Problem
        Of two components or more; its own smoothing is not looked at.

    References
    ----------
    .. [1] B. Efron, J. Am. Stat. Assoc. 99, 619 (2004).
    """
    if problem.n < 2 or (problem.known is not None and not shown_in_data(problem, problem.known).all()):
        return None
    sharp = dataclasses.replace(problem, smoothing_px=0.0, progress=None)
    cloud = points(sharp)
    if np.array_equal(*cloud.halves):
        return None  # half of the channels do not tell the components apart
    corners = purest_corners(sharp, cloud)
    if not np.linalg.cond(corners) < LARGEST_CONDITION:
        return None
    lost = np.array([_distance(sharp, cloud, corners, width) for width in WIDTHS_PX])
    best = int(lost.mean(axis=1).argmin())
    gain = lost[0] - lost[best]
    width = WIDTHS_PX[best] if gain.mean() > ERRORS * gain.std() / np.sqrt(len(gain)) else 0.0
    smooth = dataclasses.replace(sharp, smoothing_px=width)
    return Suited(width, share_of_purest(smooth, cloud))


def _distance(problem: Problem, cloud: Points, corners: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return how far the maps of one half, smoothed, are from those of the other one, squared, of each pixel."""
    problem.steps(1).step(0)
    gram, inverse = corners @ corners.T, np.linalg.inv(corners)
    total = np.zeros(len(cloud.scores))
    for own, other in (cloud.halves, cloud.halves[::-1]):
        projections = problem.smooth(own @ corners.T, width)
        maps = nonnegative(gram, projections, sum_to_one=problem.sum_to_one)
        total += np.square(maps - other @ inverse).sum(axis=1)
    return total
