"""The direct beam of every frame, found from the beam itself, and the plane that it follows over the scan."""

from __future__ import annotations

import dataclasses
import math
import threading
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from esteemcore._core import checks
from esteemcore._core.errors import CalibrationError, ParameterError
from esteemcore._core.progress import Progress, ProgressFunction
from esteemcore._core.provenance import Provenance, digest, record
from esteemcore.diffraction.beam_radius import first_radius, largest_at, radius_of_sum, sums_around
from esteemcore.diffraction.counts import Counts
from esteemcore.diffraction.data4d import spec_of
from esteemcore.diffraction.look import half_widths

EDGE_PX = 1.6
"""Width of the edge of the beam: what the pixels and a small ellipse leave of a sharp one."""

LEAST_RADIUS = 1.5
"""Radius in px below which a disk has too few pixels."""

LEAST_HOLE = 1.5
"""Half width in px that an area without counts has at least where it is no dead line."""

LEAST_EXCESS = 1.5
"""A direct beam has at least this many times the counts of the ring round it, on average over the scan."""

OPPOSITE = 0.5
"""Part of the counts of the brightest disk from which the opposite one may be its Friedel mate."""

SATURATED = 0.05
"""Share of the pixels of the beam at the largest value from which it is clipped: noise leaves one here and there."""

TIES = 8
"""As many of them at least, or they are few."""

SETTLED = 0.03
"""Relative change of a measured radius that is none."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Descan:
    """Where the direct beam lies in every frame.

    Attributes
    ----------
    center : ndarray of float64, shape (y, x, 2)
        The plane, (row, column) in detector px; pixel centres are integers.
    residual : ndarray of float64, shape (y, x, 2)
        What was measured less the plane; NaN where the beam was not measured: too few counts, or not asked for.
    sigma_px : ndarray of float64, shape (y, x)
        Standard error of the measured place along one axis, from the Fisher information of the counts.
    reference : ndarray of float64, shape (2,)
        Mean of the plane: where the beam lies in patterns that are corrected for descan.
    span_px : float
        How far the beam moves over the scan.
    residual_px : float
        Robust spread (1.48 times the median distance, per axis) of the residuals.
    radius_px : float
        Radius of the even disk with the counts of the beam, summed over the scan, and the height of its middle. Too
        large where the beam is saturated; up to 7 % too small behind a bullseye aperture, whose rim is dark.
    notes : tuple of str
        What is wrong with the beam or the detector, in words.
    provenance : Provenance
    """

    center: NDArray[np.float64]
    residual: NDArray[np.float64]
    sigma_px: NDArray[np.float64]
    reference: NDArray[np.float64]
    span_px: float
    residual_px: float
    radius_px: float
    notes: tuple[str, ...]
    provenance: Provenance


def find_descan(
    data4d: Any,
    radius_px: float | None = None,
    *,
    mask: ArrayLike | None = None,
    center: str | ArrayLike | Descan | None = None,
    everywhere: bool = True,
    progress: ProgressFunction | None = None,
    cancel: threading.Event | None = None,
) -> Descan:
    """Find the direct beam of every frame, or of a sample of them, and fit a plane to its places.

    A disk that is soft at the edge and brighter on one side, as the beam behind a crystal is, is fitted to the counts
    of each frame. The plane is fitted to the places by their standard errors; places that do not follow it, because the
    fit went to a reflection or the inner structure of the beam is strong, lose their weight (Tukey).

    Parameters
    ----------
    data4d : array, shape (y, x, ky, kx)
        Whole counts; memory maps, Zarr, HDF5 and Dask arrays are read piece by piece.
    radius_px : float, optional
        Radius of the beam in detector px. Default: measured, see `Descan.radius_px`; the aperture must leave disks, not
        points, and nothing brighter than the beam may be on the detector.
    mask : array_like of bool, shape (ky, kx), optional
        True where a pixel is good; the others are filled from the nearest. Dead rows and hot pixels are found without
        it.
    center : str, Descan, or array_like, shape (2,) or (y, x, 2), optional
        Where a beam stop hides the direct beam: its place (row, column), everywhere or at each position, or
        ``"friedel"`` for the centre of symmetry of the patterns, where reflections g and -g and rings meet. It is found
        for parts of the scan, and a plane is laid through. The radius must be given.
    everywhere : bool
        Measure the beam of every frame. False: in rows with 4,096 frames all over the scan; they tell plane and radius.
    progress : callable, optional
        Called with the fraction done, 0 to 1.
    cancel : threading.Event, optional
        When set, the work stops with `esteemcore.errors.CancelledError`.

    Returns
    -------
    Descan

    Raises
    ------
    ParameterError
        If the data are no whole counts (y, x, ky, kx), are empty, or the disk does not fit on the detector.
    CalibrationError
        If no frame shows a direct beam of about this radius, a beam stop hides it, or its radius cannot be measured; if
        the patterns do not tell their centre of symmetry.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import diffraction
    >>> y, x = np.mgrid[:32, :32]
    >>> moving = [[40 * (np.hypot(y - 15, x - 15 - j) < 4) + 1 for j in range(3)] for i in range(4)]
    >>> diffraction.find_descan(np.array(moving), radius_px=4).center[0].round(1).tolist()
    [[15.0, 15.0], [15.0, 16.0], [15.0, 17.0]]
    """
    radius = None if radius_px is None else checked_radius(data4d, radius_px)
    steps = Progress(2, progress, cancel)
    counts = Counts(data4d, lambda: steps.step(0), checked_mask(data4d, mask))
    steps.step()
    if center is not None:
        from esteemcore.diffraction.hidden_beam import hidden_descan

        if radius is None:
            raise ParameterError("the radius of a beam behind a stop cannot be measured; give radius_px with center")
        found = hidden_descan(counts, radius, center)
        steps.step()
        return found
    found = descan_of(counts, _measured_radius(counts) if radius is None else radius, everywhere=everywhere)
    steps.step()
    return found


def checked_mask(data4d: Any, mask: ArrayLike | None) -> NDArray[np.bool_] | None:
    """Return the good pixels of the detector, None for all of them."""
    return None if mask is None else checks.boolean_mask("mask", mask, spec_of(data4d).frame_shape)


def checked_radius(data4d: Any, radius_px: float) -> float:
    """Return the radius, if disks of it fit on the detector."""
    radius = checks.positive("radius_px", radius_px, "px")
    shape = getattr(data4d, "shape", None)
    if shape is not None and len(shape) == 4 and not LEAST_RADIUS <= radius <= min(shape[2:]) / 6:
        raise ParameterError(
            f"radius_px is {radius:g}; disks of {LEAST_RADIUS} px to a sixth of the detector "
            f"(here {min(shape[2:]) / 6:g} px) can be told apart"
        )
    return radius


def descan_of(counts: Counts, radius: float, *, everywhere: bool) -> Descan:
    """Return the descan of checked counts; ``everywhere=False`` measures a sample of the rows only."""
    from esteemcore.diffraction import _beam_kernels as kernels

    ny, nx = counts.spec.scan_shape
    y0, x0 = _beam_in_mean(counts, radius)
    rows = counts.sample_rows()
    plane = _first_plane(counts, radius, y0, x0)
    measured = np.full((ny * nx, 4), np.nan)
    every = everywhere and len(rows) < ny
    for chosen in (rows, rows, None) if every else (rows, rows):
        for index, frames in counts.pieces(chosen):
            kernels.fit_beams(frames, plane[index], radius, EDGE_PX, max(3.0, 0.6 * radius), measured[index])
        if chosen is not None:
            with np.errstate(invalid="ignore"):
                weight = np.nan_to_num(1 / (measured[:, 2:4] + 0.03**2))  # 0.03 px: what inner structure does
            if (weight > 0).sum() < 2:
                raise CalibrationError(
                    f"no frame has enough counts for its direct beam to be found near (row, column) = ({y0}, {x0}) px"
                )
            plane = robust_plane((ny, nx), measured[:, :2], weight)
    return _result(counts, radius, plane, measured, _opposite(counts, radius, y0, x0))


def _first_plane(counts: Counts, radius: float, y0: int, x0: int) -> NDArray[np.float64]:
    """Return the plane through the brightest disks near a place, from a sample of the rows."""
    from esteemcore.diffraction import _beam_kernels as kernels

    ny, nx = counts.spec.scan_shape
    place = np.full((ny * nx, 2), np.nan)
    span = half_widths(radius)
    search = math.ceil(max(2 * radius, 8))
    for index, frames in counts.pieces(counts.sample_rows()):
        kernels.brightest_disks(frames, y0, x0, search, span, place[index])
    return robust_plane((ny, nx), place, np.where(np.isfinite(place), 1.0, 0.0))


def _measured_radius(counts: Counts) -> float:
    """Return the radius of the even disk that is like the beam, moved back by its descan."""
    _refuse_empty(counts)
    radius, largest = first_radius(counts), min(counts.spec.frame_shape) / 6
    for _ in range(6):
        seen = radius_of_sum(counts, _first_plane(counts, radius, *_beam_in_mean(counts, radius)), radius)
        seen, before = min(max(seen, LEAST_RADIUS), largest), radius
        radius = seen
        if abs(seen - before) < SETTLED * seen:
            break
    return radius


def _refuse_empty(counts: Counts) -> None:
    if not counts.sample.any():
        raise ParameterError("data4d has no counts at all: every frame of a sample of the scan is empty")


def area_in_middle(mean: NDArray[np.float64], radius: float) -> NDArray[np.bool_] | None:
    """Return the area without counts in the middle of the pattern.

    It is as large as half a disk and wide enough to hide one: dead rows and columns are not.
    """
    width = max(0.6 * radius, LEAST_HOLE)
    wide = ndimage.distance_transform_edt(mean == 0) > width
    area, n = ndimage.label((ndimage.distance_transform_edt(~wide) <= width) & (mean == 0))
    middle = np.array(ndimage.center_of_mass(mean))
    for k in range(1, n + 1):
        hole = np.argwhere(area == k)
        if len(hole) > 0.5 * np.pi * radius**2 and np.hypot(*(hole - middle).T).min() < 0.5 * radius:
            return np.asarray(area == k)
    return None


def _refuse_beam_stop(mean: NDArray[np.float64], radius: float) -> None:
    """Raise an error if the middle of the counts lies in an area, as large as half a disk, that never has any."""
    hole = area_in_middle(mean, radius)
    if hole is not None:
        y, x = np.argwhere(hole).mean(axis=0)
        raise CalibrationError(
            f"{hole.sum()} detector pixels round (row, column) = ({y:.0f}, {x:.0f}), in the middle of the "
            "pattern, never have counts: behind a beam stop the direct beam cannot be found; give its place as "
            "center=(row, column), or center='friedel' for the centre of symmetry of the patterns"
        )


def _narrow_lines(masked: NDArray[np.bool_], width: float) -> NDArray[np.bool_]:
    """Return the rows and columns that are masked from edge to edge, fewer than `width` side by side."""
    narrow = np.zeros(masked.shape, np.bool_)
    for axis in (0, 1):
        runs, _ = ndimage.label(masked.all(axis=1 - axis))
        thin = (runs > 0) & (np.bincount(runs)[runs] < width)
        narrow |= thin[:, None] if axis == 0 else thin[None, :]
    return narrow


def _beam_in_mean(counts: Counts, radius: float) -> tuple[int, int]:
    """Return the middle of the brightest disk of the mean frame; refuse a frame without one."""
    _refuse_empty(counts)
    mean = counts.sample
    n = math.ceil(2 * radius)
    _refuse_beam_stop(np.where(counts.masked & ~_narrow_lines(counts.masked, 2 * radius), 0, mean), radius)
    far = np.hypot(*np.mgrid[-n : n + 1, -n : n + 1])
    disk, ring = (far <= radius).astype(float), ((far > 1.5 * radius) & (far <= 2 * radius)).astype(float)
    inner = sums_around(mean, disk / disk.sum(), "constant")
    y0, x0 = largest_at(inner)
    outer = (np.pad(mean, n, mode="edge")[y0 : y0 + 2 * n + 1, x0 : x0 + 2 * n + 1] * ring).sum() / ring.sum()
    if inner[y0, x0] < LEAST_EXCESS * outer:
        raise CalibrationError(
            f"no direct beam of radius {radius:g} px was found: the brightest disk of the mean frame, at (row, column) "
            f"= ({y0}, {x0}), has {inner[y0, x0] / max(outer, 1e-9):.2f} times the counts of the ring round it; check "
            "radius_px and whether a beam stop covers the beam"
        )
    return y0, x0


def _opposite(counts: Counts, radius: float, y0: int, x0: int) -> list[str]:
    """Return a note if what was taken for the beam may be a reflection: as bright as its opposite, far off."""
    mean = counts.sample
    far = np.hypot(*np.mgrid[: mean.shape[0], : mean.shape[1]] - np.array([y0, x0])[:, None, None])
    around = np.median(mean[(far > 1.5 * radius) & (far <= 2.5 * radius)])
    excess = np.maximum(mean - around, 0)
    middle = np.array(ndimage.center_of_mass(excess))
    if np.hypot(*(middle - (y0, x0))) < 2 * radius:
        return []
    y, x = np.mgrid[: mean.shape[0], : mean.shape[1]]
    own = excess[far <= radius].sum()
    mirrored = np.hypot(y - 2 * middle[0] + y0, x - 2 * middle[1] + x0) <= radius
    if excess[mirrored].sum() < OPPOSITE * own:
        return []
    return [
        f"the brightest disk, at (row, column) = ({y0}, {x0}), lies off the middle of the pattern, and the opposite "
        "one is as bright: they may be reflections, and the direct beam behind a stop"
    ]


def robust_plane(
    shape: tuple[int, int], place: NDArray[Any], weight: NDArray[Any], fewest: int = 2
) -> NDArray[np.float64]:
    """Return the robust plane through places (n, 2) with weights (n, 2), at every position.

    It is level along an axis with less than `fewest` positions.
    """
    y, x = np.divmod(np.arange(shape[0] * shape[1]), shape[1])
    columns = [np.ones(y.size)] + [
        (c - c.mean()) / size for c, size in ((y, shape[0]), (x, shape[1])) if size >= fewest
    ]
    design = np.stack(columns, axis=1)
    plane = np.empty((y.size, 2))
    for axis in (0, 1):
        known = weight[:, axis] > 0
        a, b, w = design[known], place[known, axis], weight[known, axis]
        robust = w
        for _ in range(12):
            root = np.sqrt(robust)
            found = np.linalg.lstsq(a * root[:, None], b * root, rcond=None)[0]
            off = b - a @ found
            spread = 1.4826 * float(np.median(np.abs(off))) + 1e-3
            robust = w * np.clip(1 - (off / (4 * spread)) ** 2, 0, None) ** 2
        plane[:, axis] = design @ found
    return plane


def _result(
    counts: Counts, radius: float, plane: NDArray[np.float64], measured: NDArray[np.float64], doubts: list[str]
) -> Descan:
    ny, nx = counts.spec.scan_shape
    residual = measured[:, :2] - plane
    spread = 1.4826 * float(np.nanmedian(np.abs(residual)))
    seen = radius_of_sum(counts, plane, radius)
    reference = plane.mean(axis=0)
    notes = [*counts.notes, *doubts]
    if not 0.6 < seen / radius < 1.7:
        raise CalibrationError(
            f"the direct beam looks like a disk of radius {seen:.1f} px, not {radius:g} px; check radius_px"
        )
    if not 0.8 < seen / radius < 1.25:
        notes.append(f"the direct beam looks like a disk of radius {seen:.1f} px, not {radius:g} px: check radius_px")
    if spread > 0.5 + 2 * float(np.nanmedian(np.sqrt(measured[:, 2:4]))):
        notes.append(f"the beam leaves the plane of its descan by {spread:.2f} px: patterns are blurred by that")
    notes += saturation(counts, reference, radius)
    corners = plane.reshape(ny, nx, 2)[[0, 0, -1, -1], [0, -1, 0, -1]]
    return Descan(
        plane.reshape(ny, nx, 2),
        residual.reshape(ny, nx, 2),
        np.sqrt(measured[:, 2:4].mean(axis=1)).reshape(ny, nx),
        reference,
        float(max(np.hypot(*(a - b)) for a in corners for b in corners)),
        spread,
        seen,
        tuple(notes),
        record(
            "diffraction.find_descan",
            {"radius_px": radius, "mask": ~counts.masked if counts.masked.any() else None},
            input_digest=digest(counts.sample),
        ),
    )


def saturation(counts: Counts, reference: NDArray[np.float64], radius: float) -> list[str]:
    """Return a note if the beam at a place is saturated."""
    share = _saturated(counts, reference, radius)
    if share <= SATURATED:
        return []
    return [
        f"{share:.0%} of the pixels in the direct beam are at the largest value of the data: saturated, so that it "
        "looks larger than it is"
    ]


def _saturated(counts: Counts, reference: NDArray[np.float64], radius: float) -> float:
    """Return the share of pixels in the middle of the beam at the largest value, which counts hardly ever have."""
    ky, kx = counts.spec.frame_shape
    y, x = np.mgrid[:ky, :kx]
    middle = np.hypot(y - reference[0], x - reference[1]) < 0.6 * radius
    for _, frames in counts.pieces(counts.sample_rows()[::8]):
        inside = frames[:, middle]
        largest = inside.max(initial=0)
        equal = int((inside == largest).sum())
        if largest >= 3 and equal > max(SATURATED * inside.size, TIES):
            return equal / inside.size
    return 0.0
