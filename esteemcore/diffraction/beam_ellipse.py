"""The ellipse that the direct beams themselves have."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.diffraction.data4d import spec_of
from esteemcore.diffraction.look import EDGE_PX, electrons_per_height
from esteemcore.diffraction.probe import brightest_rows
from esteemcore.diffraction.table import DiskTable

MOST_FRAMES = 64
"""Frames whose direct beams are looked at."""
STEPS = 3
"""Steps of Fisher scoring."""
USUAL = (0.1, 0.3, 0.1, 0.1)
"""Spread of what else the beams may have in common: another radius, relative; a bright or dark middle; what is brighter
along one axis than across it, twice."""
LEAST, SURE, MOST = 0.005, 4.0, 0.6
"""An ellipse counts if its axes differ from a circle's by this part at least, by so many standard errors, and nothing
is further off than the last: that is no disk of this radius."""


def ellipse_of_beams(
    data4d: Any, disks: DiskTable, radius_px: float, valid: NDArray[np.bool_]
) -> NDArray[np.float64] | None:
    """Return the distortion (row, column), shape (2, 2), that the outlines of the direct beams show.

    The outline of a disk is an ellipse where the detector or the lenses make one of a circle, and the direct beams have
    the electrons to tell it. What is fitted to the counts round the brightest disk of some frames, by maximum
    likelihood, is what they have in common: ellipse, radius, what is inside, and by how much place and gradient were
    off because disks were taken for round. All else is that of the table.

    Returns
    -------
    ndarray of float64, shape (2, 2), or None
        None where the beams are as round as can be told.
    """
    spec = spec_of(data4d)
    rows = brightest_rows(disks, spec.positions, radius_px, spec.frame_shape, MOST_FRAMES)
    if not len(rows):
        return None
    v, u, counts, height, tilt, under = _pixels(data4d, disks, rows, radius_px, valid)
    p, information = np.zeros(10), np.zeros((10, 10))
    certainty = np.diag([0, 0, *(1 / np.array(USUAL) ** 2), 0, 0, 1, 1])
    for _ in range(STEPS):
        back = _shear(p)
        y, x = v - p[6], u - p[7]
        b, a = back[0, 0] * y + back[0, 1] * x, back[1, 0] * y + back[1, 1] * x
        r = np.sqrt(b**2 + a**2 + 1e-12)
        bowl, along, across = (
            (b**2 + a**2) * 2 / radius_px**2 - 1,
            (b**2 - a**2) / radius_px**2,
            2 * a * b / radius_px**2,
        )
        s = np.clip(0.5 - (r - radius_px * (1 + p[2])) / EDGE_PX, 0, 1)
        inside = height * np.maximum(
            1 + tilt + (p[8] * b + p[9] * a) / radius_px + p[3] * bowl + p[4] * along + p[5] * across, 0.1
        )
        soft = s**2 * (3 - 2 * s)
        rate = np.maximum(under + inside * soft, 1e-3)
        falling = inside * 6 * s * (1 - s) / EDGE_PX
        slopes = np.stack(
            [
                falling * along * radius_px**2 / r,
                falling * across * radius_px**2 / r,
                falling * radius_px,
                height * soft * bowl,
                height * soft * along,
                height * soft * across,
                falling * b / r,
                falling * a / r,
                height * soft * b / radius_px,
                height * soft * a / radius_px,
            ]
        )
        information = slopes / rate @ slopes.T + certainty
        if not np.linalg.det(information) > 0:
            return None
        p += np.linalg.solve(information, slopes @ ((counts - rate) / rate) - certainty @ p)
        if not np.abs(p).max() < MOST:
            return None
    covariance = np.linalg.inv(information)[:2, :2]
    if np.hypot(p[0], p[1]) < LEAST or p[:2] @ np.linalg.solve(covariance, p[:2]) < SURE**2:
        return None
    return np.linalg.inv(_shear(p))


def _shear(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the matrix that makes circles of ellipses, without a change of area."""
    back = np.eye(2) - np.array([[p[0], p[1]], [p[1], -p[0]]])
    return np.asarray(back / math.sqrt(np.linalg.det(back)), np.float64)


def _pixels(
    data4d: Any, disks: DiskTable, rows: NDArray[np.int64], radius: float, valid: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], ...]:
    """Return the pixels round the disks, one after the other: place, counts, and what the fits say lies there."""
    assert disks.background is not None
    assert disks.tilt_y is not None
    assert disks.tilt_x is not None
    columns, width = spec_of(data4d).scan_shape[1], math.ceil(radius + 2 * EDGE_PX)
    offset = np.arange(-width, width + 1)
    parts = []
    for row in rows:
        place = float(disks.y[row]), float(disks.x[row])
        frame = np.asarray(data4d[divmod(int(disks.frame[row]), columns)])
        window = np.ix_(*(np.clip(round(c) + offset, 0, n - 1) for c, n in zip(place, frame.shape, strict=True)))
        v, u = np.meshgrid(*(round(c) + offset - c for c in place), indexing="ij")
        counts = np.asarray(frame[window], np.float64)
        inside = [(round(c) + offset >= 0) & (round(c) + offset < n) for c, n in zip(place, frame.shape, strict=True)]
        good = valid[window] & inside[0][:, None] & inside[1] & (np.hypot(v, u) < radius + 2 * EDGE_PX)
        high = float(disks.intensity[row]) / electrons_per_height(radius)
        tilt = (float(disks.tilt_y[row]) * v + float(disks.tilt_x[row]) * u) / radius
        under = np.full(v.shape, float(disks.background[row]))
        parts.append(np.stack([v, u, counts, np.full(v.shape, high), tilt, under])[:, good])
    together = np.concatenate(parts, axis=1)
    return tuple(together)
