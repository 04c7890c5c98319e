"""The sum of frames on a common direct beam, with as few Bragg disks as the scan offers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from esteemcore._core.errors import CalibrationError
from esteemcore.diffraction.counts import Counts
from esteemcore.diffraction.descan import Descan, descan_of
from esteemcore.diffraction.disks import LEAST_RADIUS, Disks
from esteemcore.diffraction.hidden_beam import hidden_area, hidden_descan
from esteemcore.diffraction.look import half_widths
from esteemcore.diffraction.table import DiskTable
from esteemcore.stream import Chunk, Spec

Floats = NDArray[np.float64]

LEAST_FRAMES = 0.2
"""Share of the frames of a sample that is summed: those with the fewest electrons in Bragg disks."""
AMORPHOUS = 0.02
"""Share of the electrons in Bragg disks up to which a frame counts as amorphous."""
ROUGH_RADIUS = 3.0
"""Radius in px of the disk with which the direct beam is first looked for."""
FOR_RADIUS = 256
"""Frames, about, from which the radius of the direct beam is measured."""


@dataclasses.dataclass(frozen=True)
class Rings:
    """A sum of frames, each moved so that its direct beam falls on the mean place.

    Attributes
    ----------
    pattern, weight : ndarray of float64, shape (ky, kx)
        Counts, and frames that saw each pixel.
    center : (float, float)
        The mean place (row, column) of the direct beam in the frames of the sum, in px.
    mean_beam : (float, float)
        The same over the scan.
    radius : float
        Radius of the direct beam in px.
    frames : int
        Frames in the sum.
    crystalline : bool
        Whether they show crystals, because hardly any do not.
    notes : tuple of str
        What is wrong with beam or detector.
    """

    pattern: Floats
    weight: Floats
    center: tuple[float, float]
    mean_beam: tuple[float, float]
    radius: float
    frames: int
    crystalline: bool
    notes: tuple[str, ...]


def sum_rings(counts: Counts, radius: float | None = None, center: Any = None) -> Rings:
    """Sum the frames of a sample that show the least of crystals; with a centre, see `hidden_descan`, behind a stop.

    Raises
    ------
    CalibrationError
        If there is no direct beam.
    """
    if not counts.sample.any():
        raise CalibrationError("all frames of a sample of the scan are empty")
    valid, rows, axis = ~counts.broken, counts.sample_rows(), None
    if radius is None or center is None:
        radius = _beam_radius(counts)
        descan = descan_of(counts, radius, everywhere=False)
        beam, known = _beams(descan)
    else:
        descan = hidden_descan(counts, radius, center)
        beam, known = descan.center.reshape(-1, 2), np.ones(counts.spec.positions, np.bool_)
        valid &= ~ndimage.binary_dilation(hidden_area(counts, radius), iterations=2)
        axis = (float(descan.reference[0]), float(descan.reference[1]))
    reducer = Disks(radius, significance=5.0, mask=valid, center=axis)
    texture, tables = np.full(len(beam), np.inf), []
    for index, frames in counts.pieces(rows):
        spec = Spec((1, len(frames)), counts.spec.frame_shape, frames.dtype)
        state = reducer.init(spec)
        reducer.update(state, Chunk(np.arange(len(frames)), frames))
        table = reducer.result(state)
        total = frames.reshape(len(frames), -1).sum(axis=1, dtype=np.float64)
        texture[index] = _in_disks(table, beam[index], radius) / np.maximum(total, 1.0)
        tables.append(table)
    texture[~known] = np.inf
    most = max(1, int(np.ceil(LEAST_FRAMES * known.sum())))
    limit = max(float(np.partition(texture, most - 1)[most - 1]), 0.003)
    crystalline = limit > AMORPHOUS
    if crystalline:  # then the more crystals, the better do their faintest disks average out
        limit = float(texture[known].max())
    chosen = texture <= limit
    center = beam[chosen].mean(axis=0)
    pattern, weight = np.zeros(counts.spec.frame_shape), np.zeros(counts.spec.frame_shape)
    for (index, frames), table in zip(counts.pieces(rows), tables, strict=True):
        for i in np.flatnonzero(chosen[index]):
            at = beam[index][i]
            seen = valid & ~_under_disks(table, int(i), at, radius, counts.spec.frame_shape)
            add_moved(np.where(seen, frames[i], 0).astype(np.float64), seen, center - at, pattern, weight)
    return Rings(
        pattern,
        weight,
        (float(center[0]), float(center[1])),
        (float(descan.reference[0]), float(descan.reference[1])),
        radius,
        int(chosen.sum()),
        crystalline,
        descan.notes,
    )


def _beam_radius(counts: Counts) -> float:
    """Return the radius of the brightest disk of the frames, laid on each other by it."""
    from esteemcore.diffraction import _beam_kernels as kernels

    shape = counts.spec.frame_shape
    radius, size = ROUGH_RADIUS, min(shape)
    rows = counts.sample_rows()
    every = max(1, len(rows) * counts.spec.scan_shape[1] // FOR_RADIUS)
    some = np.concatenate([frames[::every] for _, frames in counts.pieces(rows)])
    for _ in range(4):
        reach = min(int(2.5 * radius + 4), size // 2 - 1)
        place = np.empty((len(some), 2))
        kernels.brightest_disks(some, shape[0] // 2, shape[1] // 2, max(shape), half_widths(radius), place)
        total = np.zeros((2 * reach + 1, 2 * reach + 1))
        for frame, at in zip(some, np.rint(place).astype(np.int64), strict=True):
            padded = np.pad(frame, reach)
            total += padded[at[0] : at[0] + 2 * reach + 1, at[1] : at[1] + 2 * reach + 1]
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        smooth = ndimage.uniform_filter(total, 3)
        around = np.median(smooth[np.hypot(y, x) > reach - 1.5])
        middle = np.median(smooth[np.hypot(y, x) <= max(1.5, 0.5 * radius)])
        inside, _ = ndimage.label(smooth > 0.5 * (middle + around))
        area = (inside == inside[reach, reach]).sum() if inside[reach, reach] else 0
        radius = float(np.clip(np.sqrt(area / np.pi), LEAST_RADIUS, size / 6))
    return radius


def _beams(descan: Descan) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the direct beam of each frame, and whether it was measured.

    What was measured and the plane are averaged by their variances, so that noise is not taken for movement.
    """
    residual, variance = descan.residual.reshape(-1, 2), descan.sigma_px.reshape(-1, 1) ** 2
    known = np.isfinite(residual).all(axis=1)
    true = max(descan.residual_px**2 - float(np.median(variance[known])), 0.0) if known.any() else 0.0
    share = np.divide(true, true + variance, out=np.zeros_like(variance), where=known[:, None])
    near = np.abs(residual) < 4 * descan.residual_px + 1  # else the fit went to a reflection
    return descan.center.reshape(-1, 2) + np.where(near, np.nan_to_num(residual) * share, 0.0), known


def _in_disks(table: DiskTable, beam: Floats, radius: float) -> Floats:
    """Return the electrons of each frame in disks beside the direct beam."""
    distance = np.hypot(table.y - beam[table.frame, 0], table.x - beam[table.frame, 1])
    beside = (distance > radius) & (table.intensity > 0)
    return np.bincount(table.frame[beside], table.intensity[beside], minlength=len(beam))


def _under_disks(
    table: DiskTable, frame: int, beam: Floats, radius: float, shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Return the pixels of a frame that its Bragg disks cover."""
    covered = np.zeros(shape, np.bool_)
    first, last = np.searchsorted(table.frame, (frame, frame + 1))
    reach = 1.2 * radius + 2
    r = int(np.ceil(reach))
    for y, x in zip(table.y[first:last].astype(float), table.x[first:last].astype(float), strict=True):
        if np.hypot(y - beam[0], x - beam[1]) > radius:
            top, left = max(0, round(y) - r), max(0, round(x) - r)
            part = covered[top : round(y) + r + 1, left : round(x) + r + 1]
            v, u = np.ogrid[top : top + part.shape[0], left : left + part.shape[1]]
            part |= np.hypot(v - y, u - x) <= reach
    return covered


def add_moved(frame: Floats, valid: NDArray[np.bool_], by: Floats, pattern: Floats, weight: Floats) -> None:
    """Add a frame, moved by (rows, columns) and shared between pixels, to a pattern, and its pixels to the weight."""
    ky, kx = frame.shape
    whole = np.floor(by).astype(int)
    part = by - whole
    for i in (0, 1):
        for j in (0, 1):
            share = abs(1 - i - part[0]) * abs(1 - j - part[1])
            dy, dx = whole[0] + i, whole[1] + j
            to = slice(max(0, dy), min(ky, ky + dy)), slice(max(0, dx), min(kx, kx + dx))
            source = slice(max(0, -dy), min(ky, ky - dy)), slice(max(0, -dx), min(kx, kx - dx))
            pattern[to] += share * frame[source]
            weight[to] += share * valid[source]
