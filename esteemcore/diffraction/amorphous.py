"""Patterns without reflections: azimuthal texture tells them, their radial profiles tell them apart."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

SECTORS = 24
"""Sectors of a ring whose counts are compared."""

TEXTURE = 0.05
"""Squared relative variation round the beam from which a pattern has reflections; halos have 0.003 and less."""

SAME_PROFILE = 0.05
"""Relative difference (RMS) of two radial profiles up to which they are those of one phase."""


def texture(total: NDArray[np.float64], reference: NDArray[np.float64], radius: float) -> tuple[float, float]:
    r"""Return the squared relative variation of counts round the beam beyond that of noise, and its standard error.

    Rings of 1.6 disk radii are cut into 24 sectors. The harmonics 0 to 2 of their counts are those of rings that an
    ellipse or a wrong centre leaves; the power in the others, less the power that Poisson noise has, is added up over
    the rings and divided by the squared mean counts.
    """
    ky, kx = total.shape
    y, x = np.mgrid[:ky, :kx]
    r = np.hypot(y - reference[0], x - reference[1])
    first, width = 1.5 * radius + 1, 1.6 * radius
    rings = max(1, int((min(ky, kx) / 2 - 1 - first) // width))
    ring = np.floor((r - first) / width).astype(np.int64)
    sector = np.floor((np.arctan2(y - reference[0], x - reference[1]) / (2 * np.pi) + 0.5) * SECTORS).astype(np.int64)
    cell = ring * SECTORS + np.minimum(sector, SECTORS - 1)
    used = (ring >= 0) & (ring < rings)
    pixels = np.bincount(cell[used], minlength=rings * SECTORS).reshape(rings, SECTORS)
    counts = np.bincount(cell[used], total[used], rings * SECTORS).reshape(rings, SECTORS)
    counts = counts / np.maximum(pixels, 1) * pixels.mean(axis=1, keepdims=True)
    waves = np.fft.rfft(counts, axis=1) / SECTORS
    mean = waves[:, 0].real
    power = 2 * (np.abs(waves[:, 3:-1]) ** 2).sum(axis=1) + np.abs(waves[:, -1]) ** 2
    free = SECTORS - 5
    scale = (mean**2).sum()
    if scale == 0:
        return 0.0, math.inf
    excess = (power - mean * free / SECTORS).sum() / scale
    return float(excess), float(np.sqrt((mean**2).sum() * 2 * free) / SECTORS / scale)


def radial_profile(
    pattern: NDArray[np.float64],
    covered: NDArray[np.float64],
    reference: NDArray[np.float64],
    to_circle: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return counts per frame and pixel against the distance from the beam in steps of 1 px.

    Parameters
    ----------
    pattern, covered : ndarray, shape (ky, kx)
        Counts of a sum of frames, and how many frames have each pixel; those of none are left out.
    reference : ndarray, shape (2,)
        Direct beam (row, column) in px.
    to_circle : ndarray, shape (2, 2), optional
        Takes places on the detector, relative to the beam, to where they would be without its elliptical distortion.

    Returns
    -------
    profile : ndarray of float64, shape (n,)
        NaN where no pixel is.
    counts : ndarray of float64, shape (n,)
        Counts behind each value.
    """
    ky, kx = pattern.shape
    at = np.mgrid[:ky, :kx].reshape(2, -1) - np.asarray(reference)[:, None]
    r = np.hypot(*(at if to_circle is None else to_circle @ at))
    n = int(min(ky, kx) / 2)
    ring = np.rint(r).astype(np.int64)
    inside = ring < n
    counts = np.bincount(ring[inside], pattern.ravel()[inside], n)
    seen = np.bincount(ring[inside], covered.ravel()[inside], n)
    return np.divide(counts, seen, out=np.full(n, np.nan), where=seen > 0), counts


def profile_likeness(profiles: NDArray[Any], counts: NDArray[Any], from_px: float) -> NDArray[np.float64]:
    """Return how alike radial profiles (k, n) are whatever their thickness: 1 within the noise, 0.6 at `SAME_PROFILE`.

    The profiles are scaled to the same sum; what noise makes of their relative RMS difference is taken off.
    """
    first = math.ceil(from_px)
    shape, noise = [], []
    for profile, behind in zip(profiles, counts, strict=True):
        values = np.nan_to_num(profile[first:])
        r = np.arange(first, first + len(values))
        scale = (values * r).sum() or 1.0
        shape.append(values / scale)
        noise.append((values / scale) ** 2 / np.maximum(behind[first:], 1.0))
    k = len(profiles)
    result = np.eye(k)
    for a in range(k):
        for b in range(a):
            r = np.arange(first, first + len(shape[a]))
            mean = 0.5 * (shape[a] + shape[b])
            off = (r * ((shape[a] - shape[b]) ** 2 - noise[a] - noise[b])).sum() / max((r * mean**2).sum(), 1e-30)
            result[a, b] = result[b, a] = np.clip(1 - 0.4 * math.sqrt(max(off, 0.0)) / SAME_PROFILE, 0, 1)
    return result
