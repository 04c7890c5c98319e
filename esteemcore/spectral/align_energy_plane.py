"""The plane that imperfect de-scan leaves in the energies of a scanned image, and what each frame is off."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ROUNDS = 20
HUBER = 1.345
"""Deviations beyond so many times their usual size count less."""


def fit_plane(shift: Floats, sigma: Floats, y: Floats, x: Floats, frame: NDArray[np.int64]) -> tuple[Floats, Floats]:
    r"""Fit :math:`s = o_k + g_y y + g_x x` to measured shifts, robustly.

    Weighted least squares with Huber's weights; the usual size of a deviation, in standard deviations, is learnt from
    their median and is one at least. To each variance the median variance is added, so that a bright spectrum that lies
    elsewhere does not outweigh the others.

    Parameters
    ----------
    shift, sigma : ndarray of float64, shape (n,)
        Measured; finite.
    y, x : ndarray of float64, shape (n,)
        Places.
    frame : ndarray of int64, shape (n,)
        Frame k of each, from 0.

    Returns
    -------
    offset : ndarray of float64, shape (frames,)
        Of each frame, at y = x = 0; NaN where nothing was measured.
    gradient : ndarray of float64, shape (2,)
        Along y and x; 0 along an axis where all lie at one place.
    """
    frames = int(frame.max(initial=-1)) + 1
    values = np.stack([y, x, shift], axis=1)
    gradient = np.zeros(2)
    robust = np.ones(len(shift))
    spread = np.hypot(sigma, np.median(sigma))
    for _ in range(ROUNDS):
        weight = robust / spread**2
        total = np.bincount(frame, weight, frames)
        sums = np.stack([np.bincount(frame, weight * v, frames) for v in values.T], axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            means = sums / total[:, None]
        away = values - means[frame]
        root = np.sqrt(weight)
        before, gradient = gradient, np.linalg.lstsq(away[:, :2] * root[:, None], away[:, 2] * root, rcond=1e-9)[0]
        deviation = np.abs(away[:, 2] - away[:, :2] @ gradient) / spread
        usual = max(1.0, 1.4826 * float(np.median(deviation)))
        robust = np.minimum(1.0, HUBER * usual / np.maximum(deviation, 1e-12))
        if np.abs(gradient - before).max() < 1e-9:
            break
    return means[:, 2] - means[:, :2] @ gradient, gradient


@dataclasses.dataclass(frozen=True, eq=False)
class Shifts:
    """Shift and standard deviation of all pixels (frame, y, x), offset of each frame, gradient of the plane."""

    shift: Floats
    sigma: Floats
    measured: NDArray[np.bool_]
    offset: Floats
    gradient: Floats


def modelled(found: Floats, shape: tuple[int, ...], known: Floats, model: str, size: int) -> Shifts:
    """Return the shifts of all pixels from those that were measured, (frame, 2, rows, columns)."""
    ny, nx = shape
    n, _, rows, columns = found.shape
    shift, sigma = found[:, 0], found[:, 1]
    seen = np.isfinite(shift)

    def each(values: NDArray[Any]) -> NDArray[Any]:
        return values.repeat(size, axis=1)[:, :ny].repeat(size, axis=2)[:, :, :nx]

    middle = [
        np.minimum(np.arange(m) * size + (size - 1) / 2, (np.arange(m) * size + s - 1) / 2) - (s - 1) / 2
        for m, s in ((rows, ny), (columns, nx))
    ]  # of squares, that at the end may be smaller
    frame, row, column = np.nonzero(seen)
    gradient, offset = np.full(2, np.nan), np.full(n, np.nan)
    if model == "frame":
        offset = shift[:, 0, 0].copy()
        plane = np.broadcast_to(np.where(np.isfinite(offset), offset, known)[:, None, None], (n, ny, nx))
    else:
        if frame.size:
            offset = np.full(n, np.nan)
            away, gradient = fit_plane(
                shift[seen] - known[frame], sigma[seen], middle[0][row], middle[1][column], frame
            )
            offset[: len(away)] = away + known[: len(away)]
        stand_in = np.where(
            np.isfinite(offset), offset, known + np.nan_to_num(np.nanmean(offset - known) if frame.size else 0.0)
        )
        y, x = np.arange(ny) - (ny - 1) / 2, np.arange(nx) - (nx - 1) / 2
        slope = np.nan_to_num(gradient)
        plane = stand_in[:, None, None] + slope[0] * y[:, None] + slope[1] * x
    whole = each(seen)
    applied = np.where(whole, each(np.nan_to_num(shift)), plane) if model == "pixel" else plane.copy()
    return Shifts(applied, each(sigma), whole, offset, gradient)
