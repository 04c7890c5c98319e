"""The ellipse that the direct beams themselves have."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.diffraction.data4d import frame_at, spec_of
from esteemcore.diffraction.look import EDGE_PX, electrons_per_height
from esteemcore.diffraction.probe import brightest_rows
from esteemcore.diffraction.table import DiskTable

MOST_FRAMES = 64
"""Frames whose direct beams are looked at."""
STEPS = 4
"""Steps of Fisher scoring."""
USUAL = (0.1, 0.3, 0.1, 0.1)
"""Spread of what else the beams may have in common: another radius, relative; a bright or dark middle; what is brighter
along one axis than across it, twice."""
MORE = (0.05, 0.05, 0.3, 0.1)
"""Spread of an outline with four corners, twice, relative to the radius; of the width of the edge; of the height."""
LEAST, SURE, MOST = 0.005, 4.0, 0.07
"""An ellipse counts if its axes differ from a circle's by this part at least, by so many standard errors, and by no
more than the last: what is further off is not believed without being asked for."""
SMALLER, LARGER = -0.025, 0.1
"""Beams that are smaller or larger than the radius by this part tell nothing: round ones that are 10 % smaller look
like ellipses."""
LEAST_RADIUS = 0.93
"""Part of the radius that the fits of the beams measure at least; less tells the same where beams are domes."""
CORNERS = 0.4
"""Four corners count for nothing if they are this part of the ellipse at most, and so does what is uneven around it."""
ON_PIXELS_PX = 0.15
"""By how much the edge of a sharp round disk may seem off on pixels if all beams lie at the same place between them."""
SHARP = -0.08
"""Logarithm of the width of the edge, relative to the usual one, below which that happens."""
LEAST_SHARE = 0.4
"""Share of the pixels along the edge that must be free of other disks and of dead pixels."""


def ellipse_of_beams(
    data4d: Any, disks: DiskTable, radius_px: float, valid: NDArray[np.bool_]
) -> NDArray[np.float64] | None:
    """Return the distortion (row, column), shape (2, 2), that the outlines of the direct beams show.

    The outline of a disk is an ellipse where the detector or the lenses make one of a circle, and the direct beams have
    the electrons to tell it. What is fitted to the counts round the brightest disk of some frames, by maximum
    likelihood, is what they have in common: ellipse, radius, what is inside, and by how much place and gradient were
    off because disks were taken for round. All else is that of the table.

    A reflection beside the beam looks like a longer axis. So pixels near any other disk of these frames are left out,
    in all of them. What is left of it makes four corners as well, which an ellipse does not: those are fitted, too, and
    must be small beside the ellipse. Every second beam alone must show the same ellipse.

    Returns
    -------
    ndarray of float64, shape (2, 2), or None
        None where the beams are as round as can be told, where other disks leave too little of their edge, and where
        the ellipse is so long, or the radius so wrong, that it may be something else.
    """
    spec = spec_of(data4d)
    rows = brightest_rows(disks, spec.positions, radius_px, spec.frame_shape, MOST_FRAMES)
    if not len(rows) or disks.measured_radius_px is None:
        return None
    if not np.median(disks.measured_radius_px[rows]) > LEAST_RADIUS * radius_px:
        return None
    beams = _pixels(data4d, disks, rows, radius_px, valid, _beside(disks, rows, radius_px))
    edge = sum(int((np.abs(np.hypot(beam[0], beam[1]) - radius_px) < EDGE_PX / 2).sum()) for beam in beams)
    if edge < LEAST_SHARE * 2 * np.pi * radius_px * EDGE_PX * len(beams):
        return None
    fitted = _fit(beams, radius_px)
    if fitted is None:
        return None
    p, covariance = fitted
    size = math.hypot(p[0], p[1])
    if not LEAST < size < MOST or p[:2] @ np.linalg.solve(covariance[:2, :2], p[:2]) < SURE**2:
        return None
    uneven = EDGE_PX / radius_px * _uneven(beams, p, radius_px)
    if p[12] < SHARP and size * radius_px < ON_PIXELS_PX * _alike(disks, rows):
        return None
    if not SMALLER < p[2] < LARGER or max(math.hypot(p[10], p[11]), uneven) > CORNERS * size:
        return None
    for half in (beams[::2], beams[1::2]):
        again = _fit(half, radius_px) if len(beams) > 1 else fitted
        if again is None or not again[0][:2] @ p[:2] > size**2 / 2:
            return None
    return np.linalg.inv(_shear(p))


def _fit(beams: list[NDArray[np.float64]], radius: float) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return what the beams have in common, (14,), and its covariance, by Fisher scoring; None where that fails.

    The errors are those that the residuals show, summed over the beams at each pixel of the detector: what the model
    does not know about edges on pixels is the same in all beams that lie at the same place, and no number of them makes
    it smaller.
    """
    v, u, counts, height, tilt, under, pixel = np.concatenate(beams, axis=1)
    p, information = np.zeros(14), np.zeros((14, 14))
    certainty = np.diag([0, 0, *(1 / np.array(USUAL) ** 2), 0, 0, 1, 1, *(1 / np.array(MORE) ** 2)])
    for _ in range(STEPS):
        back = _shear(p)
        y, x = v - p[6], u - p[7]
        b, a = back[0, 0] * y + back[0, 1] * x, back[1, 0] * y + back[1, 1] * x
        r = np.sqrt(b**2 + a**2 + 1e-12)
        bowl, along, across = (
            (b**2 + a**2) * 2 / radius**2 - 1,
            (b**2 - a**2) / radius**2,
            2 * a * b / radius**2,
        )
        corners, between = (along**2 - across**2) * (radius / r) ** 4, 2 * along * across * (radius / r) ** 4
        width = EDGE_PX * math.exp(p[12])
        beyond = (r - radius * (1 + p[2] + p[10] * corners + p[11] * between)) / width
        s = np.clip(0.5 - beyond, 0, 1)
        inside = (
            height
            * (1 + p[13])
            * np.maximum(1 + tilt + (p[8] * b + p[9] * a) / radius + p[3] * bowl + p[4] * along + p[5] * across, 0.1)
        )
        soft = s**2 * (3 - 2 * s)
        rate = np.maximum(under + inside * soft, 1e-3)
        falling = inside * 6 * s * (1 - s) / width
        slopes = np.stack(
            [
                falling * along * radius**2 / r,
                falling * across * radius**2 / r,
                falling * radius,
                height * soft * bowl,
                height * soft * along,
                height * soft * across,
                falling * b / r,
                falling * a / r,
                height * soft * b / radius,
                height * soft * a / radius,
                falling * radius * corners,
                falling * radius * between,
                falling * beyond * width,
                inside * soft,
            ]
        )
        information = slopes / rate @ slopes.T + certainty
        if not np.linalg.det(information) > 0:
            return None
        p += np.linalg.solve(information, slopes @ ((counts - rate) / rate) - certainty @ p)
        if not np.abs(p).max() < 0.6:
            return None
    _, which = np.unique(pixel, return_inverse=True)
    pixels = int(which.max()) + 1
    if pixels < 2 * len(p):
        return None
    score = np.stack([np.bincount(which, slope * (counts - rate) / rate) for slope in slopes])
    covariance = np.linalg.inv(information)
    return p, covariance + covariance @ (score @ score.T) @ covariance * pixels / (pixels - len(p))


def _shear(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix that makes circles of ellipses, without a change of area."""
    back = np.eye(2) - np.array([[p[0], p[1]], [p[1], -p[0]]])
    return np.asarray(back / math.sqrt(np.linalg.det(back)), np.float64)


def _alike(disks: DiskTable, rows: NDArray[np.int64]) -> float:
    """Return whether the beams lie all over the pixels along both axes, 0, or always at the same place of them, 1."""
    place = np.stack([disks.y[rows], disks.x[rows]]).astype(np.float64)
    return float(np.abs(np.exp(2j * np.pi * place).mean(axis=1)).max())


def _uneven(beams: list[NDArray[np.float64]], p: NDArray[np.float64], radius: float) -> float:
    """Return by how much the surroundings are brighter along one axis than across it, in heights of the beams."""
    v, u, counts, height, _, under, _ = np.concatenate(beams, axis=1)
    b, a = _shear(p) @ np.stack([v - p[6], u - p[7]])
    outside = np.hypot(b, a) > radius * (1 + p[2]) + EDGE_PX / 2 * math.exp(max(p[12], 0))
    if outside.sum() < len(p):
        return math.inf
    turn = 2 * np.arctan2(b, a)[outside]
    wave = np.stack([np.ones(len(turn)), np.cos(turn), np.sin(turn)], axis=1)
    wave *= height[outside, None]
    return float(np.hypot(*np.linalg.lstsq(wave, (counts - under)[outside])[0][1:]))


def _beside(disks: DiskTable, rows: NDArray[np.int64], radius: float) -> NDArray[np.float64]:
    """Return where other disks of these frames lie beside their beams, (n, 2); where one lies, one lies opposite."""
    beam = np.full(int(disks.frame.max()) + 1, -1)
    beam[disks.frame[rows]] = rows
    mine = beam[disks.frame]
    other = np.flatnonzero((mine >= 0) & (mine != np.arange(len(disks))))
    place = np.stack([disks.y, disks.x], axis=1).astype(np.float64)
    apart = place[other] - place[mine[other]]
    apart = apart[np.hypot(*apart.T) < 2 * (radius + EDGE_PX)]
    return np.concatenate([apart, -apart])


def _towards(
    v: NDArray[np.float64], u: NDArray[np.float64], beside: NDArray[np.float64], reach: float
) -> NDArray[np.bool_]:
    """Return which pixels lie in the directions in which the surroundings of the beam and of another disk meet."""
    far = np.hypot(*beside.T)
    half = np.arccos(np.minimum(far / (2 * reach), 1))
    turn = np.arctan2(v, u)[..., None] - np.arctan2(beside[:, 0], beside[:, 1])
    return np.asarray((np.cos(turn) >= np.cos(half)).any(axis=2), np.bool_)


def _pixels(
    data4d: Any,
    disks: DiskTable,
    rows: NDArray[np.int64],
    radius: float,
    valid: NDArray[np.bool_],
    beside: NDArray[np.float64],
) -> list[NDArray[np.float64]]:
    """Return the pixels round each disk, (7, pixels): place, counts, what the fits say lies there, and number."""
    assert disks.background is not None
    assert disks.tilt_y is not None
    assert disks.tilt_x is not None
    width = math.ceil(radius + EDGE_PX)
    offset = np.arange(-width, width + 1)
    parts = []
    for row in rows:
        place = float(disks.y[row]), float(disks.x[row])
        frame = frame_at(data4d, int(disks.frame[row]))
        window = np.ix_(*(np.clip(round(c) + offset, 0, n - 1) for c, n in zip(place, frame.shape, strict=True)))
        v, u = np.meshgrid(*(round(c) + offset - c for c in place), indexing="ij")
        counts = np.asarray(frame[window], np.float64)
        inside = [(round(c) + offset >= 0) & (round(c) + offset < n) for c, n in zip(place, frame.shape, strict=True)]
        good = valid[window] & inside[0][:, None] & inside[1] & (np.hypot(v, u) < radius + EDGE_PX)
        if len(beside):
            good &= (np.hypot(v, u) < radius - EDGE_PX) | ~_towards(v, u, beside, radius + EDGE_PX)
        high = float(disks.intensity[row]) / electrons_per_height(radius)
        tilt = (float(disks.tilt_y[row]) * v + float(disks.tilt_x[row]) * u) / radius
        under = np.full(v.shape, float(disks.background[row]))
        pixel = window[0] * float(frame.shape[1]) + window[1]
        parts.append(np.stack([v, u, counts, np.full(v.shape, high), tilt, under, pixel])[:, good])
    return parts
