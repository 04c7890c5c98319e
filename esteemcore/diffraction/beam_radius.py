"""How large the direct beam is, from the beam itself."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import CalibrationError
from esteemcore.diffraction.counts import Counts

CLEAR = 0.7
"""Part of the clearest contrast from which a smaller disk is the direct beam."""

STEP = 1.2
"""Ratio of radii that are tried one after the other."""

ROUNDING = 1e-9
"""Part of sums and of the brightest pixel that may be what rounding leaves."""

INSIDE_PX, OUTSIDE_PX = 1.2, 1.5
"""Distances from the edge within which a beam is as bright as in its middle, and beyond which none of it is left."""


def sums_around(image: NDArray[np.float64], weights: NDArray[np.float64], outside: str) -> NDArray[np.float64]:
    """Return the sum round each pixel with weights (2 n + 1, 2 n + 1) of point symmetry, by Fourier transforms.

    The image goes on beyond its edge with zeros (``"constant"``) or the value of the edge (``"edge"``). Disks grow with
    the detector, so that sums pixel by pixel would take time with the fourth power of its side.
    """
    from scipy import signal

    n = len(weights) // 2
    padded = np.pad(image, n, mode=outside)  # type: ignore[call-overload]
    return np.asarray(signal.fftconvolve(padded, weights, mode="valid"))


def largest_at(sums: NDArray[np.float64]) -> tuple[int, int]:
    """Return the first pixel with the largest sum, of those that only rounding tells apart."""
    most = sums.max()
    y, x = np.unravel_index(int(np.argmax(sums >= most - ROUNDING * abs(most))), sums.shape)
    return int(y), int(x)


def first_radius(counts: Counts) -> float:
    """Return roughly the radius of the beam in the mean frame, its descan included.

    Among disks of all sizes it is the smallest that stands out of the ring round it nearly as clearly as any does.

    Raises
    ------
    CalibrationError
        If no disk stands out.
    """
    mean = counts.sample
    largest = min(mean.shape) / 6
    radii = 1.5 * STEP ** np.arange(max(1, 1 + math.floor(math.log(max(largest / 1.5, 1)) / math.log(STEP))))
    clear = np.zeros(len(radii))
    for k, radius in enumerate(radii):
        counts.check()
        n = math.ceil(2 * radius)
        far = np.hypot(*np.mgrid[-n : n + 1, -n : n + 1])
        disk, ring = far <= radius, (far > 1.5 * radius) & (far <= 2 * radius)
        kernel = disk / disk.sum() - ring / ring.sum()
        clear[k] = radius * sums_around(mean, kernel, "edge").max()
    if not clear.max() > ROUNDING * mean.max():
        raise CalibrationError("no direct beam stands out of the mean frame; type the radius of a disk in px")
    return float(radii[np.flatnonzero(clear >= CLEAR * clear.max())[0]])


def radius_of_sum(counts: Counts, plane: NDArray[np.float64], radius: float) -> float:
    """Return the radius of the beam in the sum of a sample, whatever radius was asked for.

    Where the place is that of a larger disk, the beam lies anywhere in it. So it is looked for with a smaller one, and
    its middle is followed. The radius is that of the even disk with the counts of the beam and the height of its
    middle, which pixels and descan that blur the edge leave as they are.
    """
    from esteemcore.diffraction import _pattern_kernels as kernels

    shape = counts.spec.frame_shape
    middle = plane.mean(axis=0)
    shift = np.rint(plane - middle).astype(np.int64)
    total, covered = np.zeros((1, *shape)), np.zeros((1, *shape))
    for index, frames in counts.pieces(counts.sample_rows()[::4]):
        kernels.add_frames(frames, shift[index], np.zeros(len(frames), np.int64), total, covered)
    y, x = np.mgrid[: shape[0], : shape[1]].astype(float)
    n = min(math.ceil(4 * radius), min(shape) // 2)
    small = max(1.5, radius / 3)
    reach = math.ceil(small)
    disk = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1]) <= small
    smooth = sums_around(total[0] / np.maximum(covered[0], 1), disk.astype(float), "constant")
    smooth[np.hypot(y - middle[0], x - middle[1]) > radius] = 0
    middle = np.array(largest_at(smooth), np.float64)
    for _ in range(4):
        r = np.hypot(y - middle[0], x - middle[1])
        ring = np.minimum(np.rint(r).astype(np.int64), n + 1).ravel()
        found, around = _radius(*(np.bincount(ring, each.ravel(), n + 2)[: n + 1] for each in (total, covered)))
        bright = np.where(r < found + 2, np.maximum(total[0] - around * covered[0], 0), 0)
        if not bright.any():
            break
        middle = np.array([(y * bright).sum(), (x * bright).sum()]) / bright.sum()
    return _of_area(total[0] / np.maximum(covered[0], 1) - around, covered[0] > 0, r, found)


def _of_area(excess: NDArray[np.float64], known: NDArray[np.bool_], r: NDArray[np.float64], radius: float) -> float:
    """Return the radius of the even disk with the sum of a beam of about a radius, and with the height of its middle.

    It is the radius at hand if nothing is known there, or there is no beam.
    """
    inside = known & (r <= max(radius - INSIDE_PX, 0.75))
    height = excess[inside].mean() if inside.any() else 0.0
    area = excess[known & (r < radius + OUTSIDE_PX)].sum() / height if height > 0 else 0.0
    return math.sqrt(area / math.pi) if area > 0 else radius


def _radius(profile: NDArray[np.float64], pixels: NDArray[np.float64]) -> tuple[float, float]:
    """Return where counts round a beam, in rings of 1 px, fall half way from inside to outside, and those outside.

    The beam is as large as the disk that stands out most clearly of the ring round it: the smallest of those that
    nearly do, since a disk that takes in reflections may do so too.
    """
    mean = profile / np.maximum(pixels, 1)
    sizes = np.arange(1, max(2, int((len(mean) - 2) / 1.5)))
    inside, around, clear = np.empty(len(sizes)), np.empty(len(sizes)), np.empty(len(sizes))
    for i, size in enumerate(sizes):
        near, ring = slice(0, size + 1), slice(math.ceil(1.2 * size) + 1, math.ceil(1.5 * size) + 2)
        inside[i] = profile[near].sum() / max(pixels[near].sum(), 1)
        around[i] = profile[ring].sum() / max(pixels[ring].sum(), 1)
        clear[i] = (inside[i] - around[i]) * size
    first = int(np.flatnonzero(clear >= CLEAR * clear.max())[0])
    best = first + int(np.argmax(clear[first : first + 1 + sizes[first] // 2]))
    half = 0.5 * (inside[best] + around[best])
    falls = np.flatnonzero((mean[:-1] >= half) & (mean[1:] < half))
    if not len(falls):
        return float(len(mean) - 1), float(around[best])
    k = int(falls[np.argmin(np.abs(falls + 0.5 - sizes[best]))])
    return float(k + (mean[k] - half) / max(mean[k] - mean[k + 1], 1e-9)), float(around[best])
