"""What disks are looked for: everything that the compiled loops need to know about them, prepared once."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

EDGE_PX = 2.0
"""Width of the edge of a disk: a smooth step, as the pixels and the point spread of a camera leave of a sharp one."""
INNER_MARGIN_PX = 0.25
"""By how much the disk whose counts are summed is larger than the radius."""
OUTER_RADII = 1.75
"""Radius of the disk whose outer part tells the background, in radii."""
SPACING_RADII = 1.6
"""Least distance of two disks that are found on their own, in radii."""
SPECKLE = 0.05
"""Relative variation of a diffuse background over the area of a disk that is not noise of counting."""
USUAL_INSIDE = (0.35, 0.35, 0.1)
"""Spread of the shape of disks before anything is known: by how much they are brighter at the lower and at the right
edge than in the middle, relative; and by how much the background grows outward per px, relative."""
MOST_DISKS = 256
"""Disks in a frame at most."""
ITERATIONS = 6
"""Steps of the fit at most."""
PROFILE_PER_PX = 20
"""Steps per px of the profile of a disk, where one is known."""
OVERLAP_PER_PX = 10
"""Steps per px of the overlap of two disks."""
AT_ONCE = 32
"""Pixels of a window are padded to a multiple of this, for the vector instructions of the fit."""
WHOLE_LOGS = 4096
"""Whole numbers whose logarithms are kept."""


class Look(NamedTuple):
    """What the compiled loops need; masks and maps have the shape of a frame (ky, kx).

    Attributes
    ----------
    valid : ndarray of bool
        Pixels that count; ``masked`` is 1 where there are others.
    inner_span, outer_span : ndarray of int64
        Half widths of the columns of the disks that are summed.
    area, share : ndarray of float64
        Valid pixels of the inner disk round each pixel, and their share of those of the outer one; 0 where no disk can
        be found.
    log_share, log_rest : ndarray of float64
        Logarithms of the share and of what it leaves of 1.
    logs : ndarray of float64
        Logarithms of the whole numbers from 0 on (0 for that of 0).
    whole : float
        Pixels of a whole inner disk.
    least, low, spacing, speckle : float
        Least significance, least counts, least distance in radii, relative variation of the background.
    axis : ndarray of float64, shape (1, 2) or (frames, 2)
        The direct beam (row, column) of all frames, or of each; NaN for the brightest disk.
    radius, edge, electrons, reach : float
        Radius and edge in px, electrons of a disk per height, reach of the window of a fit in px.
    to_circle, to_ellipse : ndarray of float64, shape (2, 2)
        From detector to round coordinates (row, column), and back.
    profile : ndarray of float32, shape (2, steps)
        Height of a disk along its radius, and how steeply it falls; no steps for a flat disk with a smooth edge.
    window_places : ndarray of int64
        Where the pixels of the window of a fit lie in a flat frame, relative to its middle, from there outward.
    window : ndarray of float32, shape (2, pixels)
        The same as (y, x); padded with zeros.
    clear : ndarray of bool
        Places whose whole window is on the detector and valid.
    usual_sd : ndarray of float64, shape (3,)
        Spread of the shape where it is not known.
    reflections, inside, inside_sd : ndarray of float64, shapes (k, 2), (k, 3), (k, 3)
        Places from the direct beam at which the shape of a disk is known, the shape, and how well.
    split : int
        1 where a second disk is looked for beside each.
    meet : float
        Distance in px from which on two disks have nothing in common.
    overlap : ndarray of float64
        What a disk of height 1 adds to the sum over a disk, by the distance of the two in steps; empty without `split`.
    pair_pixels : int
        Room for the pixels round two disks.
    """

    valid: NDArray[np.bool_]
    masked: int
    pad: int
    inner_span: NDArray[np.int64]
    outer_span: NDArray[np.int64]
    area: NDArray[np.float64]
    share: NDArray[np.float64]
    log_share: NDArray[np.float64]
    log_rest: NDArray[np.float64]
    logs: NDArray[np.float64]
    whole: float
    least: float
    low: float
    spacing: float
    speckle: float
    axis: NDArray[np.float64]
    radius: float
    edge: float
    electrons: float
    reach: float
    to_circle: NDArray[np.float64]
    to_ellipse: NDArray[np.float64]
    profile: NDArray[np.float32]
    window_places: NDArray[np.int64]
    window: NDArray[np.float32]
    clear: NDArray[np.bool_]
    usual_sd: NDArray[np.float64]
    reflections: NDArray[np.float64]
    inside: NDArray[np.float64]
    inside_sd: NDArray[np.float64]
    iterations: int
    most: int
    split: int
    meet: float
    overlap: NDArray[np.float64]
    pair_pixels: int


def half_widths(radius: float) -> NDArray[np.int64]:
    """Return the half widths of the rows of a disk, from the uppermost to the lowest."""
    reach = math.floor(radius)
    rows = np.arange(-reach, reach + 1)
    return np.floor(np.sqrt(radius**2 - rows**2)).astype(np.int64)


def _pixels(valid: NDArray[np.bool_], span: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how many valid pixels the disk round each pixel has."""
    reach = len(span) // 2
    column = np.arange(-reach, reach + 1)
    disk = (np.abs(column) <= span[:, None]).astype(np.float64)
    counted: NDArray[np.float64] = ndimage.convolve(valid.astype(np.float64), disk, mode="constant")
    return np.round(counted)


def electrons_per_height(radius: float, edge: float = EDGE_PX) -> float:
    """Return the integral over a disk of height 1 with a smooth edge."""
    r = (np.arange(4096) + 0.5) * (radius + edge) / 4096
    s = np.clip(0.5 - (r - radius) / edge, 0, 1)
    return float((2 * np.pi * r * s**2 * (3 - 2 * s)).sum() * (radius + edge) / 4096)


def overlaps(radius: float, profile: NDArray[np.float32] | None = None) -> NDArray[np.float64]:
    """Return how much of a disk of height 1 lies in the disk that is summed, by their distance in steps."""
    v, u = np.mgrid[-1:1:121j, -1:1:121j] * (radius + INNER_MARGIN_PX)
    inside = np.hypot(v, u) < radius + INNER_MARGIN_PX
    distance = np.arange(math.ceil((2 * radius + 2 * EDGE_PX) * OVERLAP_PER_PX)) / OVERLAP_PER_PX
    r = np.hypot(v[inside], u[inside] - distance[:, None])
    if profile is None:
        s = np.clip(0.5 - (r - radius) / EDGE_PX, 0, 1)
        height = s**2 * (3 - 2 * s)
    else:
        height = profile[0, np.minimum((r * PROFILE_PER_PX + 0.5).astype(int), profile.shape[1] - 1)]
    held: NDArray[np.float64] = np.pi * (radius + INNER_MARGIN_PX) ** 2 * height.mean(axis=1)
    return held


def make_look(
    valid: NDArray[np.bool_],
    radius: float,
    significance: float,
    to_ellipse: NDArray[np.float64],
    center: NDArray[np.float64],
    known: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
    profile: NDArray[np.float32] | None = None,
    split: bool = False,
) -> Look:
    """Return what is looked for, from checked parameters."""
    inner_span, outer_span = half_widths(radius + INNER_MARGIN_PX), half_widths(radius * OUTER_RADII)
    if len(outer_span) < len(inner_span) + 2:  # tiny disks: the ring must have pixels
        outer_span = half_widths(len(inner_span) // 2 + 1.5)
    area, all_of_it = _pixels(valid, inner_span), _pixels(valid, outer_span)
    whole = float((2 * inner_span + 1).sum())
    around = float((2 * outer_span + 1).sum()) - whole
    usable = (area >= 0.75 * whole) & (all_of_it - area >= 0.3 * around) & valid
    share = np.zeros(valid.shape)
    np.divide(area, all_of_it, out=share, where=usable)
    least_share = share[usable].min() if usable.any() else 1.0
    reach = 1.1 * radius + 2.8
    span = half_widths(reach)
    y = np.repeat(np.arange(len(span)) - len(span) // 2, 2 * span + 1)
    x = np.concatenate([np.arange(-half, half + 1) for half in span])
    from_middle = np.argsort(y**2 + x**2, kind="stable")
    y, x = y[from_middle], x[from_middle]
    window = np.zeros((2, len(span) ** 2 + AT_ONCE), np.float32)
    window[:, : len(y)] = y, x
    low = significance**2 / (2 * -math.log(least_share)) if least_share < 1 else np.inf
    return Look(
        valid,
        int(not valid.all()),
        len(outer_span) // 2 + 1,
        inner_span,
        outer_span,
        area,
        share,
        np.log(np.where(usable, share, 1)),
        np.log1p(-share),
        np.log(np.maximum(np.arange(WHOLE_LOGS), 1)),
        whole,
        significance,
        low,
        SPACING_RADII,
        SPECKLE,
        np.atleast_2d(center),
        radius,
        EDGE_PX,
        electrons_per_height(radius) if profile is None else np.pi * radius**2,
        reach,
        np.linalg.inv(to_ellipse),
        to_ellipse,
        np.zeros((2, 0), np.float32) if profile is None else profile,
        y * valid.shape[1] + x,
        window,
        _pixels(valid, span) == len(y),
        np.array(USUAL_INSIDE),
        *known,
        ITERATIONS,
        MOST_DISKS,
        int(split),
        2 * radius + EDGE_PX,
        overlaps(radius, profile) if split else np.zeros(0),
        2 * len(window[0]),
    )
