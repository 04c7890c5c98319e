"""What is looked for with the image of a probe: everything that the compiled loops need, and matched filters."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from esteemcore.diffraction.look import AT_ONCE, MOST_DISKS, SPACING_RADII, SPECKLE, USUAL_INSIDE, half_widths
from esteemcore.diffraction.template import BEYOND_PX, Template

Floats = NDArray[np.float64]

STEPS = 8
"""Steps per px between which a template is interpolated linearly; within a step it is known from cubic splines."""
LEVELS = 255
"""Whole steps of intensity in the template that is looked for: sums over counts are whole numbers then, the same from
electrons and from Fourier transforms."""
ITERATIONS = 20
"""Steps of a fit at most."""
MOST_EXACT = 2**24 // LEVELS
"""Electrons of a frame up to which sums of single precision are exact."""
ADDED_AT_ONCE = 8
"""Numbers that one of these instructions adds."""
ADDITIONS_PER_PIXEL = 12.0
"""Such instructions that take as long as the transforms of a frame, for each of its pixels."""


class TemplateLook(NamedTuple):
    """What is looked for with a template, prepared once for frames (ky, kx).

    Attributes
    ----------
    valid, clear : ndarray of bool, shape (ky, kx)
        Good pixels; those round which the whole window is good.
    span : ndarray of int64
        Half widths of the rows of the window round a place: the template and what tells its background.
    place : ndarray of float32, shape (2, padded)
        Its pixels (y, x), row by row, from the middle; padded with zeros.
    table : ndarray of float32, shape (STEPS + 1, STEPS + 1, 3, padded)
        The template and its two derivatives in these pixels, for places from -0.5 to 0.5 px off the middle one.
    own : ndarray of float64, shape (pixels,)
        The template in the middle.
    steps : ndarray of float32, shape (rows, columns)
        The same in whole steps, turned by half a turn, padded with columns of zeros.
    size : tuple of int
        Shape of the transforms.
    filter : ndarray of complex128, shape (rows, columns)
        Transform of the template in whole steps.
    share, sure : ndarray of float64, shape (ky, kx)
        Sum of that template over the good pixels of the window, per pixel, and one over its variance there; 0 where too
        little of a disk lies on good pixels.
    area : ndarray of float64, shape (ky, kx)
        Sum of the template over good pixels, 0 where that is too little; `whole` where all are.
    effective : float
        Pixels of the template, the bright ones counting more: (sum)^2 / sum of squares.
    per_step : float
        Counts in so many pixels for each whole step.
    radius, least, spacing, speckle, meet : float
        Radius in px, least significance, least distance in radii, relative variation of the background, distance in px
        from which on disks have nothing in common.
    axis : ndarray of float64, shape (1, 2) or (frames, 2)
        The direct beam, of all frames or of each; NaN for the brightest disk.
    to_circle, to_ellipse : ndarray of float64, shape (2, 2)
    usual_sd, reflections, inside, inside_sd : ndarray of float64
        What is known about the inside of disks, as for plain ones.
    """

    valid: NDArray[np.bool_]
    clear: NDArray[np.bool_]
    pad: int
    span: NDArray[np.int64]
    place: NDArray[np.float32]
    table: NDArray[np.float32]
    own: Floats
    steps: NDArray[np.float32]
    size: tuple[int, int]
    filter: NDArray[np.complex128]
    share: Floats
    sure: Floats
    area: Floats
    whole: float
    effective: float
    per_step: float
    radius: float
    least: float
    spacing: float
    speckle: float
    meet: float
    axis: Floats
    to_circle: Floats
    to_ellipse: Floats
    usual_sd: Floats
    reflections: Floats
    inside: Floats
    inside_sd: Floats
    iterations: int
    most: int

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Where enough of a disk lies on good pixels."""
        return self.area > 0


def template_look(
    template: Template,
    valid: NDArray[np.bool_],
    significance: float,
    axis: Floats,
    to_ellipse: Floats,
    known: tuple[Floats, Floats, Floats],
) -> TemplateLook:
    """Return what is looked for, from checked parameters."""
    radius = template.radius_px
    reach = math.ceil(radius + BEYOND_PX + max(1.5, 0.25 * radius))
    span = half_widths(float(reach))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    inside = np.abs(x) <= span[:, None]
    offset = np.stack([y, x])[:, inside]
    padding = ((0, 0), (0, -offset.shape[1] % AT_ONCE))
    table = _table(template, offset)
    own = table[STEPS // 2, STEPS // 2, 0]
    image = np.zeros((2 * reach + 1, 2 * reach + 1))
    image[inside] = np.rint(own * (LEVELS / own.max()))
    size = tuple(fft.next_fast_len(n + 2 * reach, real=True) for n in valid.shape)
    kernels = np.zeros((3, *size))
    kernels[:, offset[0], offset[1]] = image[inside], np.ones(len(own)), image[inside] ** 2  # negative ones wrap round
    filters = np.conj(fft.rfft2(kernels, axes=(1, 2)))
    held, pixels, squares = (_filtered(valid.astype(np.float64), f, (size[0], size[1])) for f in filters)
    spread = squares - held**2 / np.maximum(pixels, 1)
    whole = float((image[inside] ** 2).sum() - image.sum() ** 2 / len(own))
    usable = (held > 0.75 * image.sum()) & (pixels > 0.6 * len(own)) & (spread > 0.5 * whole) & valid
    share, sure = np.zeros(valid.shape), np.zeros(valid.shape)
    np.divide(held, pixels, out=share, where=usable)
    np.divide(pixels, spread, out=sure, where=usable)
    effective = float(own.sum() ** 2 / (own**2).sum())
    rows = np.flatnonzero(image.any(axis=1))
    near = max(int(np.abs(rows - reach).max()), int(np.abs(np.flatnonzero(image.any(axis=0)) - reach).max()))
    steps = image[reach - near : reach + near + 1, reach - near : reach + near + 1][::-1, ::-1]
    return TemplateLook(
        valid,
        pixels == len(own),
        reach + 1,
        span,
        np.pad(offset, padding).astype(np.float32),
        np.pad(table, ((0, 0), (0, 0), *padding)).astype(np.float32),
        own,
        np.pad(steps, ((0, 0), (0, -steps.shape[1] % ADDED_AT_ONCE))).astype(np.float32),
        (size[0], size[1]),
        filters[0],
        share,
        sure,
        np.where(usable, held, 0),
        float(image.sum()),
        effective,
        effective / float(image.sum()),
        radius,
        significance,
        SPACING_RADII,
        SPECKLE,
        reach + radius + BEYOND_PX,
        axis,
        np.linalg.inv(to_ellipse),
        to_ellipse,
        np.array(USUAL_INSIDE),
        *known,
        ITERATIONS,
        MOST_DISKS,
    )


def correlations(frames: Floats, look: TemplateLook, wanted: NDArray[np.bool_], sums: Floats) -> NDArray[np.uint8]:
    """Write how much of the template lies on the counts round every pixel; return which frames are left to be added up.

    Those are the frames of few electrons, for which that is quicker than Fourier transforms; nothing is done for frames
    that are not wanted. One frame is transformed at a time: that is quick as long as it stays in the cache, and its
    sums do not depend on the frames beside it.
    """
    direct = np.zeros(len(frames), np.uint8)
    most = ADDITIONS_PER_PIXEL * look.valid.size * ADDED_AT_ONCE / look.steps.size
    for i in np.flatnonzero(wanted):
        if np.count_nonzero(frames[i]) <= most and frames[i].sum() <= MOST_EXACT:
            direct[i] = 1
        else:
            sums[i] = _filtered(frames[i], look.filter, look.size)
    return direct


def _filtered(frame: Floats, transform: NDArray[np.complex128], size: tuple[int, int]) -> Floats:
    """Return the correlation (ky, kx) of a frame of whole counts with a filter of whole numbers."""
    spectrum = fft.rfft2(frame, s=size)
    spectrum *= transform
    ky, kx = frame.shape
    return np.asarray(np.rint(fft.irfft2(spectrum, s=size, overwrite_x=True)[:ky, :kx]))


def _table(template: Template, offset: NDArray[np.int64]) -> Floats:
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
