"""Places of a frame that may be disks of any pattern: matched filters by Fourier transforms, local significance."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from esteemcore.diffraction.look import MOST_DISKS, SPACING_RADII, SPECKLE
from esteemcore.diffraction.template import BEYOND_PX, Template

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

STEPS = 8
"""Steps per px between which a template is interpolated linearly; within a step it is known from cubic splines."""
ROUNDED = 6
"""Decimals of a filtered frame: places that are equally good are so whatever the rounding of a transform."""
RING = 64
"""Places along the ring round the direct beam that a disk is compared with."""
ROUNDS = 12
"""Steps of Newton's method to the likeliest share of a disk in the counts."""


class TemplateLook(NamedTuple):
    """What is looked for with a template, prepared once for frames (ky, kx).

    Attributes
    ----------
    valid : ndarray of bool, shape (ky, kx)
    offset : ndarray of int64, shape (2, pixels)
        Pixels of the window round a place: the template and what tells its background.
    table : ndarray of float64, shape (STEPS + 1, STEPS + 1, 3, pixels)
        The template and its two derivatives in these pixels, for places from -0.5 to 0.5 px off the middle one.
    size : tuple of int
        Shape of the transforms.
    filters : ndarray of complex128, shape (2, rows, columns)
        Transforms of template and window.
    held, pixels, spread : ndarray of float64, shape (ky, kx)
        Sum of the template, number of pixels, and sum of the squares of the template less its mean, over the good ones
        of the window round each pixel.
    usable : ndarray of bool, shape (ky, kx)
        Where enough of a disk lies on good pixels.
    effective : float
        Pixels of the template, the bright ones counting more: (sum)^2 / sum of squares.
    radius, significance : float
    axis : ndarray of float64, shape (2,)
        The direct beam; NaN for the brightest disk.
    to_circle : ndarray of float64, shape (2, 2)
    """

    valid: NDArray[np.bool_]
    offset: Numbers
    table: Floats
    size: tuple[int, int]
    filters: NDArray[np.complex128]
    held: Floats
    pixels: Floats
    spread: Floats
    usable: NDArray[np.bool_]
    effective: float
    radius: float
    significance: float
    axis: Floats
    to_circle: Floats


class Candidates(NamedTuple):
    """Places that may be disks: frame, row and column in px, significance, height, background; shape (n,) each."""

    frame: Numbers
    y: Numbers
    x: Numbers
    score: Floats
    height: Floats
    background: Floats

    def rows(self, which: Any) -> Candidates:
        """Return some of them."""
        return Candidates(*(column[which] for column in self))


def template_look(
    template: Template, valid: NDArray[np.bool_], significance: float, axis: Floats, to_ellipse: Floats
) -> TemplateLook:
    """Return what is looked for, from checked parameters."""
    radius = template.radius_px
    reach = math.ceil(radius + BEYOND_PX + max(1.5, 0.25 * radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    offset = np.stack([y, x])[:, np.hypot(y, x) <= reach]
    table = _table(template, offset)
    size = tuple(fft.next_fast_len(n + 2 * reach, real=True) for n in valid.shape)
    kernels = np.zeros((3, *size))
    own = table[STEPS // 2, STEPS // 2, 0]
    kernels[:, offset[0], offset[1]] = own, np.ones(len(own)), own**2  # negative offsets wrap round
    transforms = np.conj(fft.rfft2(kernels, axes=(1, 2)))
    held, pixels, squares = _filtered(valid[None].astype(np.float64), transforms, size)[0]
    pixels = np.maximum(pixels, 1e-9)
    spread = np.maximum(squares - held**2 / pixels, 0)
    whole = float((own**2).sum() - own.sum() ** 2 / len(own))
    usable = (held > 0.75 * own.sum()) & (pixels > 0.6 * len(own)) & (spread > 0.5 * whole) & valid
    effective = float(own.sum() ** 2 / (own**2).sum())
    return TemplateLook(
        valid, offset, table, (size[0], size[1]), transforms[:2], held, pixels, spread, usable, effective, radius,
        significance, axis, np.linalg.inv(to_ellipse),
    )  # fmt: skip


def candidates(frames: Floats, look: TemplateLook) -> Candidates:
    r"""Return the places of frames (n, ky, kx), masked pixels zero, at which the counts look like the template.

    Notes
    -----
    A template of sum S in a window of P pixels that holds N counts is looked for with the zero-mean kernel
    :math:`T - S/P`, whose sum over the counts has the variance :math:`N/P \sum (T - S/P)^2` without a disk. What stands
    out by enough is judged by the likelihood: with the share a of the counts in the disk,

    .. math:: z^2 = 2 \max_a \sum_k n_k \log\left(1 + a\,(P T_k / S - 1)\right)

    which is right for ten counts as well as for ten thousand.
    """
    template, counted = np.moveaxis(_filtered(frames, look.filters, look.size), 1, 0)
    excess = np.round(template - counted * (look.held / look.pixels), ROUNDED)
    variance = np.maximum(np.round(counted), 0) / look.pixels * look.spread
    square = np.where(look.usable & (excess > 0), excess**2, 0)
    square = np.round(np.divide(square, variance, out=np.zeros_like(square), where=variance > 0), ROUNDED)
    peak = (square == ndimage.maximum_filter(square, (0, 3, 3))) & (square >= 0.5 * look.significance**2)
    frame, y, x = np.nonzero(peak)
    counts, good = windows(frames, look.valid, frame, y, x, look.offset)
    score, share = _significance(counts, good, look.table[STEPS // 2, STEPS // 2, 0], look.effective)
    n = np.round(counted[frame, y, x])
    height, background = share * n / look.held[y, x], (1 - share) * n / look.pixels[y, x]
    found = Candidates(frame, y, x, score, height, background)
    kept = np.flatnonzero(score >= look.significance)
    kept = kept[np.lexsort((x[kept], y[kept], -score[kept], frame[kept]))]
    kept = _apart(frame[kept], y[kept], x[kept], SPACING_RADII * look.radius, kept)
    found = found.rows(kept)
    level = template / np.maximum(look.held, 1e-9)
    stands = _stands_out(level, found, centers(found, len(frames), look.axis), look)
    score = np.minimum(found.score, stands)
    return found._replace(score=score).rows(score >= look.significance)


def centers(found: Candidates, n: int, axis: Floats) -> Floats:
    """Return the direct beam of each frame (n, 2): what is known, or the brightest place."""
    result = np.array(np.broadcast_to(axis, (n, 2)))
    if np.isnan(axis).any():
        order = np.lexsort((-found.x, -found.y, found.height))
        result[found.frame[order]] = np.stack([found.y, found.x], axis=1)[order]
    return result


def windows(
    frames: Floats, valid: NDArray[np.bool_], frame: Numbers, y: Numbers, x: Numbers, offset: Numbers
) -> tuple[Floats, Floats]:
    """Return the counts (m, pixels) round places, and 1 where a pixel is good; beyond the edge none is."""
    rows, columns = y[:, None] + offset[0], x[:, None] + offset[1]
    inside = (rows >= 0) & (rows < valid.shape[0]) & (columns >= 0) & (columns < valid.shape[1])
    rows, columns = np.where(inside, rows, 0), np.where(inside, columns, 0)
    good = inside & valid[rows, columns]
    return np.where(good, frames[frame[:, None], rows, columns], 0.0), good.astype(np.float64)


def _table(template: Template, offset: Numbers) -> Floats:
    """Return the template and its derivatives in the pixels of a window, for places all over the middle one."""
    small = 0.01
    steps = (np.arange(STEPS + 1) / STEPS) - 0.5
    fine = ndimage.spline_filter(np.pad(template.values, 4), order=3, mode="mirror")
    table = np.empty((STEPS + 1, STEPS + 1, 3, offset.shape[1]))

    def at(y: Floats, x: Floats) -> Floats:
        place = [y + template.center[0] + 4, x + template.center[1] + 4]
        return np.asarray(ndimage.map_coordinates(fine, place, order=3, prefilter=False, mode="constant"))

    for i, v in enumerate(steps):
        for j, u in enumerate(steps):
            y, x = offset[0] - v, offset[1] - u
            table[i, j, 0] = at(y, x)
            table[i, j, 1] = (at(y + small, x) - at(y - small, x)) / (2 * small)
            table[i, j, 2] = (at(y, x + small) - at(y, x - small)) / (2 * small)
            table[i, j, :, table[i, j, 0] <= 0] = 0  # splines overshoot beside steep edges; no rate is negative
    return table


def _filtered(frames: Floats, transforms: NDArray[np.complex128], size: tuple[int, int]) -> Floats:
    """Return the correlations (n, filters, ky, kx) of frames with filters."""
    ky, kx = frames.shape[1:]
    spectrum = fft.rfft2(frames, s=size, axes=(1, 2))
    both = fft.irfft2(spectrum[:, None] * transforms[None], s=size, axes=(2, 3))
    return np.asarray(both[:, :, :ky, :kx])


def _significance(counts: Floats, good: Floats, template: Floats, effective: float) -> tuple[Floats, Floats]:
    """Return the significance of a disk in each window, and the likeliest share of the counts that it holds."""
    pixels, held = good.sum(axis=1), (good * template).sum(axis=1)
    shape = pixels[:, None] * template / np.maximum(held, 1e-9)[:, None] - 1
    share = np.full(len(counts), 0.1)
    for _ in range(ROUNDS):
        part = shape / (1 + share[:, None] * shape)
        slope, curve = (counts * part).sum(axis=1), (counts * part**2).sum(axis=1)
        share = np.clip(share + slope / np.maximum(curve, 1e-9), 0.5 * share, 0.5 * (share + 0.999))
    gain = (counts * np.log1p(share[:, None] * shape)).sum(axis=1)
    under = effective * (1 - share) * counts.sum(axis=1) / np.maximum(pixels, 1)
    return np.sqrt(np.maximum(2 * gain, 0) / (1 + SPECKLE**2 * under)), share


def _apart(frame: Numbers, y: Numbers, x: Numbers, spacing: float, numbers: Numbers) -> Numbers:
    """Return those of sorted places that are not too near to a better one of their frame."""
    kept: list[int] = []
    first = np.searchsorted(frame, np.arange(int(frame.max(initial=-1)) + 2))
    for start, stop in itertools.pairwise(first):
        left = np.arange(start, stop)
        n = 0
        while len(left) and n < MOST_DISKS:
            best, n = left[0], n + 1
            kept.append(int(best))
            left = left[np.hypot(y[left] - y[best], x[left] - x[best]) >= spacing]
    return numbers[np.array(kept, np.int64)]


def _stands_out(level: Floats, found: Candidates, center: Floats, look: TemplateLook) -> Floats:
    """Return the significance of each place against what else lies on its ring round the direct beam.

    The ring of a halo is bright all along; the lower third of it is what is usual. Infinite near the beam, and where
    too little of the ring is on the detector.
    """
    away = np.stack([found.y, found.x], axis=1) - center[found.frame]
    v, u = look.to_circle @ away.T
    distance = np.hypot(v, u)
    angle = np.arctan2(v, u)[:, None] + 2 * np.pi * np.arange(RING) / RING
    back = np.linalg.inv(look.to_circle)
    ring = np.stack([distance[:, None] * np.sin(angle), distance[:, None] * np.cos(angle)])
    rows, columns = np.einsum("ij,jmk->imk", back, ring) + center[found.frame].T[:, :, None]
    i, j = np.floor(rows + 0.5).astype(np.int64), np.floor(columns + 0.5).astype(np.int64)
    ky, kx = look.valid.shape
    on = (i >= 0) & (i < ky) & (j >= 0) & (j < kx)
    i, j = np.where(on, i, 0), np.where(on, j, 0)
    on &= look.usable[i, j] & (np.hypot(i - found.y[:, None], j - found.x[:, None]) > 2 * look.radius)
    held = np.sort(np.where(on, np.maximum(level[found.frame[:, None], i, j], 0) * look.effective, np.inf), axis=1)
    number = on.sum(axis=1)
    low = held[np.arange(len(held)), (0.3 * number).astype(np.int64)]
    low = np.where(np.isfinite(low), low, 0)
    usual = low + 0.5 * np.sqrt(low) + 0.25
    here = np.maximum(level[found.frame, found.y, found.x] * look.effective, usual)
    gain = here * np.log(here / usual) - (here - usual)
    result = np.sqrt(2 * gain / (1 + SPECKLE**2 * usual))
    return np.where((distance < 2.5 * look.radius) | (number < 8), np.inf, result)
