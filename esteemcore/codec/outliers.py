"""Voxels that no spectrum explains: cosmic rays and X-rays on the detector."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

WINDOW = 5
"""Channels of the median that a voxel is compared with."""
SMOOTH = 15
"""Channels over which the noise is taken together: one channel of a small image has too few pixels to tell."""


def channel_noise(rows: NDArray[Any]) -> NDArray[np.float64]:
    """Return the noise of each channel of spectra (pixels, channels), robust against spikes.

    From the second differences along the energy, whose variance is six times that of a voxel.
    """
    if rows.shape[1] < 3:
        return np.full(rows.shape[1], float(rows.std()))
    second = rows[:, 2:] + rows[:, :-2] - 2 * rows[:, 1:-1]
    square = np.square(second, dtype=np.float64)
    for _ in range(3):
        np.minimum(square, 25 * square.mean(axis=0), out=square)
    variance = np.pad(square.mean(axis=0) / 6, 1, mode="edge")
    noise: NDArray[np.float64] = np.sqrt(ndimage.median_filter(variance, SMOOTH, mode="nearest"))
    return noise


def find_outliers(rows: NDArray[Any], sigma: float) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """Return where outliers are, and the medians of their neighbours to put in their places.

    Parameters
    ----------
    rows : ndarray of floats, shape (pixels, channels)
        Finite spectra.
    sigma : float
        A voxel is an outlier when it is further than this many standard deviations from the median of the five channels
        around it, and from the values of both pixels beside it: an edge or a sharp peak is in the neighbours too.

    Returns
    -------
    outliers : ndarray of bool, shape (pixels, channels)
    medians : ndarray, shape (number of outliers,)
    """
    noise = np.maximum(channel_noise(rows), np.finfo(np.float32).tiny).astype(rows.dtype)
    suspects = np.abs(rows - (np.roll(rows, 1, axis=1) + np.roll(rows, -1, axis=1)) / 2) > sigma * noise
    if rows.shape[1] < WINDOW:
        suspects[:] = False
    row, channel = np.nonzero(suspects)
    around = np.clip(channel[:, None] + np.arange(-(WINDOW // 2), WINDOW // 2 + 1), 0, rows.shape[1] - 1)
    median = np.median(rows[row[:, None], around], axis=1)
    value = rows[row, channel]
    threshold = sigma * noise[channel]
    real = np.abs(value - median) > threshold
    for step in (-1, 1):
        there = (row + step >= 0) & (row + step < len(rows))
        beside = rows[np.where(there, row + step, row), channel]
        real &= (np.abs(value - beside) > threshold) | ~there
    outliers = np.zeros(rows.shape, np.bool_)
    outliers[row[real], channel[real]] = True
    return outliers, median[real].astype(rows.dtype)
