"""The scale and the ellipse under which reflections lie on rings of known radius."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]

FINE = 2
"""Bins per px of the map in which reflections are looked for."""
TOGETHER_PX = 1.5
"""Distance from the middle of a reflection within which disks belong to it."""
OFTEN = 3
"""Disks that a reflection of a scan has at least."""
WIDE = 0.02
"""Relative width of rings while the ellipse is not known."""
SMOOTH = 0.2
"""Width over which lengths are alike where there are no rings, in logarithms."""
STRAY = 0.2
"""Share of reflections that may lie anywhere."""
FLOOR_PX = 0.03
"""What the mean place of a reflection may be off beside its counting error: the inner structure of its disks."""
ELLIPSE_SD = 0.05
"""Usual size of the two shears of an ellipse."""
ORIGIN_SD_PX = 0.3
"""What the direct beam may be off: its own inner structure."""
TRIED = 8
"""Scales that are looked at more closely."""
LIKELY = 2
"""The likeliest of them, which are fitted from several ellipses."""
SHEARS = ((0.04, 0.0), (-0.04, 0.0), (0.0, 0.04), (0.0, -0.04))
"""Shears of these ellipses."""
ROUNDS = 12
"""Fits in which reflections may change their ring."""
OFF = 0.015
"""Relative distance from a ring beyond which a reflection is not on it, whatever the others scatter."""
CUT = 4.0
"""Standard deviations from its ring beyond which a reflection has no weight."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """One way in which reflections lie on rings.

    Attributes
    ----------
    per_nm, per_nm_sigma : float
        1/nm per px, and its standard error.
    form : ndarray of float64, shape (2, 2)
        A of :math:`g^2 = x^T A x`, (row, column).
    shear_sigma : float
        Standard error of the larger shear, relative.
    ring : ndarray of int64, shape (m,)
        Ring of each reflection, -1 for none.
    residual_px : float
        Root mean square distance of reflections from their rings.
    explained : float
        Share of the reflections within reach of the rings that lie on them.
    gain : float
        Logarithm of the odds of this scale against reflections at any distance from the beam.
    possible : int
        Number of rings up to the longest reflection.
    excess : float
        By how much the residuals are larger than the errors say.
    """

    per_nm: float
    per_nm_sigma: float
    form: Floats
    shear_sigma: float
    ring: NDArray[np.int64]
    residual_px: float
    explained: float
    gain: float
    possible: int
    excess: float

    def lead(self, other: Scale) -> float:
        """Return by how much it is likelier than another one, if a length that many reflections have in common is one.

        Where a crystal shows a reflection, it shows those that are equivalent: that so few of the possible rings are
        there is no further evidence with each of them. How near they are to their rings is.
        """
        on = self.ring >= 0
        again = int(on.sum()) - len(np.unique(self.ring[on]))
        return self.gain - other.gain - again * float(np.log(other.possible / self.possible))


def gathered(vectors: Floats, sigma: Floats, positions: int) -> tuple[Floats, Floats, float]:
    """Return the places (m, 2) of reflections, their standard errors (m,), and the share of the disks that make them.

    A reflection is the mean of disks that several positions have in common.

    Parameters
    ----------
    vectors : ndarray, shape (n, 2)
        Disks from the direct beam in px.
    sigma : ndarray, shape (n,)
        Standard errors of their places.
    positions : int
        Positions that they come from.
    """
    low = np.floor(vectors.min(axis=0)) - 3
    shape = tuple((np.ceil(vectors.max(axis=0)) + 4 - low).astype(int) * FINE)
    at = np.round((vectors - low) * FINE).astype(int)
    counts = np.zeros(shape)
    np.add.at(counts, tuple(at.T), 1.0)
    smooth = ndimage.gaussian_filter(counts, FINE)
    highest = (smooth == ndimage.maximum_filter(smooth, 4 * FINE + 1)) & (smooth > 0)
    near, number = ndimage.label(ndimage.maximum_filter(highest, 2 * FINE - 1))  # a few disks may make two equal ones
    top = np.array(ndimage.center_of_mass(highest, near, np.arange(1, number + 1))).reshape(-1, 2)
    far, which = cKDTree(top / FINE + low).query(vectors)
    far = np.where(far < TOGETHER_PX, far, np.inf)
    place, error, belong = [], [], 0
    least = 1 if positions < 4 * OFTEN else OFTEN
    order = np.argsort(which, kind="stable")
    for own in np.split(order, np.cumsum(np.bincount(which, minlength=len(top)))[:-1]):
        own = own[np.isfinite(far[own])]
        if len(own) < least:
            continue
        middle = np.median(vectors[own], axis=0)
        own = own[np.hypot(*(vectors[own] - middle).T) < TOGETHER_PX]
        if len(own) < least:
            continue
        weight = 1 / sigma[own] ** 2
        mean = weight @ vectors[own] / weight.sum()
        spread = weight @ ((vectors[own] - mean) ** 2).sum(axis=1) / (2 * max(len(own) - 1, 1))
        place.append(mean)
        error.append(np.sqrt(max(1.0, spread) / weight.sum()))
        belong += len(own)
    return np.array(place).reshape(-1, 2), np.array(error), belong / len(vectors)


def scales(place: Floats, sigma: Floats, rings: Floats, low: float, high: float, elliptic: bool) -> list[Scale]:
    """Return the ways in which reflections lie on rings, the likeliest first.

    Parameters
    ----------
    place, sigma : ndarray, shapes (m, 2) and (m,)
        Reflections from the direct beam in px, and their errors.
    rings : ndarray, shape (k,)
        Radii of the rings in 1/nm, rising.
    low, high : float
        Range of the scale in 1/nm per px.
    elliptic : bool
        Whether an ellipse is fitted.
    """
    steps = np.exp(np.arange(np.log(low), np.log(high) + WIDE / 4, WIDE / 2))
    length = np.hypot(*place.T)
    smooth = _smooth_density(np.log(length))
    room = 2 * float(np.log(high / low)) / np.sqrt(2 * np.pi)  # a Gaussian as high as what is even between them
    coarse = np.array([_gain(p * length, rings, np.full(len(place), WIDE), smooth) for p in steps])
    peak = np.flatnonzero(
        (coarse >= np.append(coarse[1:], -np.inf)) & (coarse >= np.append(-np.inf, coarse[:-1])) & (coarse > 0)
    )
    best = peak[np.argsort(-coarse[peak], kind="stable")][:TRIED]
    found: list[Scale] = []

    def fit(start: float, shear: tuple[float, float]) -> None:
        first = start**2 * np.array([1.0, *shear, 0.0, 0.0])
        each = _fitted(place, sigma, rings, first, elliptic, smooth, room)
        if each is not None and low <= each.per_nm <= high:
            found.append(each)

    for start in steps[best]:
        fit(float(start), (0.0, 0.0))
    if elliptic:
        for likely in sorted(found, key=lambda s: -s.gain)[:LIKELY]:
            for shear in SHEARS:
                fit(likely.per_nm, shear)
    return sorted(found, key=lambda s: -s.gain)


def _smooth_density(x: Floats) -> Floats:
    """Return the density of logarithms of lengths without rings: that of their neighbourhood, or an even one.

    The larger of both is taken, so that a single ring, which any scale explains, and lengths that crowd at the edge of
    the detector say little.
    """
    kernel = np.exp(-0.5 * ((x[:, None] - x[None]) / SMOOTH) ** 2)
    near = kernel.mean(axis=1) / (np.sqrt(2 * np.pi) * SMOOTH)
    return np.asarray(np.maximum(near, 1 / (float(np.ptp(x)) + 2 * WIDE)))


def _possible(length: Floats, rings: Floats) -> NDArray[np.bool_]:
    """Return which rings (k,) lengths in 1/nm may lie on: all up to the longest."""
    return np.asarray(rings < length.max() * (1 + 3 * WIDE))


def _gain(length: Floats, rings: Floats, width: Floats, smooth: Floats) -> float:
    """Return how much likelier lengths in 1/nm are on rings than by a smooth density of their logarithms.

    They are those of a mixture, in equal parts, of all rings up to the longest length, with a share of that density.
    Lengths beyond the last ring say nothing.
    """
    covered = length < rings[-1] * (1 + 3 * WIDE)
    line = np.log(rings[_possible(length, rings)])
    if covered.sum() < 3 or not len(line):
        return -np.inf
    x, relative = np.log(length[covered]), width[covered]
    off = (x[:, None] - line[None]) / relative[:, None]
    density = np.exp(-0.5 * off**2).sum(axis=1) / (np.sqrt(2 * np.pi) * relative * len(line))
    return float(np.log((1 - STRAY) * density / smooth[covered] + STRAY).sum())


def _fitted(
    place: Floats, sigma: Floats, rings: Floats, first: Floats, elliptic: bool, smooth: Floats, room: float
) -> Scale | None:
    r"""Fit scale, ellipse and place of the beam to reflections, each on the ring that is nearest; None without any.

    The square of the length, :math:`g^2 = a (r^2 + s_1 (x^2 - y^2) + 2 s_2 x y - 2 o \cdot x)`, is linear in all of
    them. Shears s and origin o have Gaussian priors.
    """
    y, x = place.T
    size = np.hypot(y, x)
    design = np.stack([size**2, x**2 - y**2, 2 * x * y, -2 * y, -2 * x], axis=1)
    usual = np.array([room, *(2 * (ELLIPSE_SD if elliptic else 1e-6,)), *(2 * (ORIGIN_SD_PX,))])
    middle = np.array([first[0], 0, 0, 0, 0])
    theta = first
    scatter = WIDE * float(np.median(size)) / 2
    for _ in range(ROUNDS):
        squared = design @ theta
        length = np.sqrt(np.maximum(squared, 1e-12))
        near = _nearest(length, rings)
        slope = 2 * theta[0] * size  # of the squared length along the radius
        off = (squared - rings[near] ** 2) / slope
        variance = sigma**2 + scatter**2
        relative = np.abs(off) / np.sqrt(variance)
        inside = (relative < CUT) & (length < rings[-1] * (1 + WIDE))
        if inside.sum() < 3:
            return None
        weight = inside * np.clip(1 - (relative / CUT) ** 2, 0, None) ** 2 / (variance * slope**2)
        scatter = max(FLOOR_PX, min(0.7 * scatter, 2.0 * float(np.median(np.abs(off[inside])))))
        prior = np.diag(1 / (usual * theta[0]) ** 2)
        normal = design.T @ (weight[:, None] * design) + prior
        target, _ = _soft(squared, rings, slope**2 * variance)
        theta = np.linalg.solve(normal, design.T @ (weight * target) + prior @ middle)
        if not 0.25 * first[0] < theta[0] < 4 * first[0] or np.hypot(theta[1], theta[2]) > 0.5 * theta[0]:
            return None
    return _judged(place, sigma, rings, theta, design, usual, smooth)


def _judged(
    place: Floats, sigma: Floats, rings: Floats, theta: Floats, design: Floats, usual: Floats, smooth: Floats
) -> Scale | None:
    """Return a fit with its errors: those of the reflections, enlarged by what they scatter more.

    The gain is that of the best fit, less what its freedom is worth: the logarithm of the volume of parameters that fit
    over that of those that are usual (Laplace).
    """
    size = np.hypot(*place.T)
    squared = design @ theta
    length = np.sqrt(np.maximum(squared, 1e-12))
    near = _nearest(length, rings)
    slope = 2 * theta[0] * size
    off = (squared - rings[near] ** 2) / slope
    error = np.hypot(sigma, FLOOR_PX)
    covered = length < rings[-1] * (1 + WIDE)
    excess, fitted = 1.0, int((usual > 1e-3).sum())
    for _ in range(5):  # the spread of those that are not cut off, which depends on it
        used = covered & (np.abs(off) < np.maximum(CUT * error, np.minimum(CUT * excess * error, OFF * size)))
        if used.sum() < 3:
            return None
        free = max(int(used.sum()) - fitted, 1)
        excess = max(1.0, float(np.sqrt(((off[used] / error[used]) ** 2).sum() / free)))
    variance = (excess * error * slope) ** 2
    weight = used * _soft(squared, rings, variance)[1] / variance
    normal = design.T @ (weight[:, None] * design)
    scale = usual * theta[0]
    covariance = np.linalg.inv(normal + np.diag(1 / scale**2))
    freedom = (
        0.5 * np.linalg.slogdet(covariance / np.outer(scale, scale))[1] - 0.5 * ((theta[1:] / scale[1:]) ** 2).sum()
    )
    form = np.array([[theta[0] - theta[1], theta[2]], [theta[2], theta[0] + theta[1]]])
    root = float(np.linalg.det(form)) ** 0.25
    gradient = np.array([theta[0], -theta[1], -theta[2], 0, 0]) / (2 * root**3)  # of the fourth root
    shear = float(np.sqrt(max(covariance[1, 1], covariance[2, 2]))) / theta[0]
    return Scale(
        root,
        float(np.sqrt(gradient @ covariance @ gradient)),
        form,
        shear,
        np.where(used, near, -1),
        float(np.sqrt(np.mean(off[used] ** 2))),
        float((used & covered).sum() / max(covered.sum(), 1)),
        _gain(length, rings, np.minimum(excess * error / size, WIDE), smooth) + float(freedom),
        int(_possible(length, rings).sum()),
        excess,
    )


def _soft(squared: Floats, rings: Floats, variance: Floats) -> tuple[Floats, Floats]:
    """Return the mean square of the rings that each squared length may belong to, and what is left of its information.

    Both are those of expectation and maximisation: where two rings are nearer than errors are, a length tells less.
    """
    off = (squared[:, None] - rings[None] ** 2) ** 2 / variance[:, None]
    share = np.exp(-0.5 * (off - off.min(axis=1, keepdims=True)))
    share /= share.sum(axis=1, keepdims=True)
    mean = share @ rings**2
    spread = (share * (rings[None] ** 2 - mean[:, None]) ** 2).sum(axis=1)
    return mean, np.maximum(1 - spread / variance, 0)


def _nearest(length: Floats, rings: Floats) -> NDArray[np.int64]:
    """Return the ring next to each length."""
    upper = np.clip(np.searchsorted(rings, length), 1, len(rings) - 1) if len(rings) > 1 else np.zeros(len(length), int)
    lower = np.maximum(upper - 1, 0)
    return np.where(length - rings[lower] < rings[upper] - length, lower, upper).astype(np.int64)
