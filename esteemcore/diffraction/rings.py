"""The sum of frames on a common direct beam, with as few Bragg disks as the scan offers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from esteemcore._core.errors import CalibrationError
from esteemcore.diffraction.data4d import spec_of
from esteemcore.diffraction.disks import LEAST_RADIUS, Disks
from esteemcore.diffraction.table import DiskTable
from esteemcore.stream import Chunk, Spec

Floats = NDArray[np.float64]

SAMPLE = 4096
"""Frames, in whole rows spread over the scan, that are looked at."""
LEAST_FRAMES = 0.2
"""Share of them that is summed: those with the fewest electrons in Bragg disks."""
AMORPHOUS = 0.02
"""Share of the electrons in Bragg disks up to which a frame counts as amorphous."""


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
        The same in all frames of the sample.
    radius : float
        Radius of the direct beam in px.
    frames : int
        Frames in the sum.
    crystalline : bool
        Whether they show crystals, because hardly any do not.
    """

    pattern: Floats
    weight: Floats
    center: tuple[float, float]
    mean_beam: tuple[float, float]
    radius: float
    frames: int
    crystalline: bool


def sum_rings(data4d: Any, valid: NDArray[np.bool_]) -> Rings:
    """Sum the frames of a sample that show the least of crystals.

    Raises
    ------
    CalibrationError
        If there is no direct beam.
    """
    spec = spec_of(data4d)
    chunk = _sample(data4d, spec, valid)
    radius = _beam_radius(chunk.frames)  # type: ignore[arg-type]
    part = Spec((1, len(chunk)), spec.frame_shape, chunk.frames.dtype)  # type: ignore[union-attr]
    reducer = Disks(radius, significance=5.0, mask=valid)
    state = reducer.init(part)
    reducer.update(state, chunk)
    table = reducer.result(state)
    beam = _beams(table, len(chunk))
    known = np.isfinite(beam).all(axis=1)
    if not known.any():
        raise CalibrationError("no frame shows a direct beam: there is nothing to lay the frames on each other by")
    total = chunk.frames.reshape(len(chunk), -1).sum(axis=1, dtype=np.float64)  # type: ignore[union-attr]
    texture = _in_disks(table, beam, radius, len(chunk)) / np.maximum(total, 1.0)
    texture[~known] = np.inf
    most = max(1, int(np.ceil(LEAST_FRAMES * known.sum())))
    limit = max(float(np.partition(texture, most - 1)[most - 1]), 0.003)
    crystalline = limit > AMORPHOUS
    if crystalline:  # then the more crystals, the better do their faintest disks average out
        limit = float(texture[known].max())
    chosen = np.flatnonzero(texture <= limit)
    center = beam[chosen].mean(axis=0)
    pattern, weight = np.zeros(spec.frame_shape), np.zeros(spec.frame_shape)
    for i in map(int, chosen):
        seen = valid & ~_under_disks(table, i, beam[i], radius, spec.frame_shape)
        frame = np.where(seen, chunk.frames[i], 0).astype(np.float64)  # type: ignore[index]
        add_moved(frame, seen, center - beam[i], pattern, weight)
    mean = beam[known].mean(axis=0)
    return Rings(
        pattern,
        weight,
        (float(center[0]), float(center[1])),
        (float(mean[0]), float(mean[1])),
        radius,
        len(chosen),
        crystalline,
    )


def _sample(data4d: Any, spec: Spec, valid: NDArray[np.bool_]) -> Chunk:
    """Return some rows of the scan, spread evenly."""
    ny, nx = spec.scan_shape
    rows = np.unique(np.linspace(0, ny - 1, min(ny, max(1, SAMPLE // nx))).round().astype(int))
    columns = slice(0, min(nx, SAMPLE))
    frames = np.concatenate([np.asarray(data4d[y : y + 1, columns]).reshape(-1, *spec.frame_shape) for y in rows])
    if frames.dtype.kind == "f":
        frames = np.where(valid, frames, 0)
    return Chunk(np.arange(len(frames)), frames)


def _beam_radius(frames: NDArray[Any]) -> float:
    """Return the radius of the brightest disk of the frames, laid on each other by it."""
    some = frames[:: max(1, len(frames) // 256)].astype(np.float64)
    radius, size = 3.0, min(some.shape[1:])
    for _ in range(4):
        reach = min(int(2.5 * radius + 4), size // 2 - 1)
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        disk = (np.hypot(y, x) <= radius).astype(np.float64)
        total = np.zeros((2 * reach + 1, 2 * reach + 1))
        for frame in some:
            soft = ndimage.uniform_filter(frame, 3) if radius == 3.0 else _convolved(frame, disk)
            at = np.unravel_index(int(soft.argmax()), soft.shape)
            padded = np.pad(frame, reach)
            total += padded[at[0] : at[0] + 2 * reach + 1, at[1] : at[1] + 2 * reach + 1]
        if not total.any():
            raise CalibrationError("all frames of a sample of the scan are empty")
        smooth = ndimage.uniform_filter(total, 3)
        around = np.median(smooth[np.hypot(y, x) > reach - 1.5])
        middle = np.median(smooth[np.hypot(y, x) <= max(1.5, 0.5 * radius)])
        inside, _ = ndimage.label(smooth > 0.5 * (middle + around))
        area = (inside == inside[reach, reach]).sum() if inside[reach, reach] else 0
        radius = float(np.clip(np.sqrt(area / np.pi), LEAST_RADIUS, size / 6))
    return radius


def _convolved(frame: Floats, disk: Floats) -> Floats:
    from scipy.signal import fftconvolve

    return np.asarray(fftconvolve(frame, disk, mode="same"))


def _beams(table: DiskTable, frames: int) -> Floats:
    """Return the direct beam of each frame, NaN where there is none or it is not near those of the others."""
    beam = table.brightest(frames)
    middle = np.nanmedian(beam, axis=0) if np.isfinite(beam).any() else np.zeros(2)
    distance = np.hypot(*(beam - middle).T)
    usual = np.nanmedian(distance) if np.isfinite(distance).any() else 0.0
    beam[~(distance <= 4 * usual + 3)] = np.nan
    return beam


def _in_disks(table: DiskTable, beam: Floats, radius: float, frames: int) -> Floats:
    """Return the electrons of each frame in disks beside the direct beam."""
    distance = np.hypot(table.y - beam[table.frame, 0], table.x - beam[table.frame, 1])
    beside = (distance > radius) & (table.intensity > 0)
    return np.bincount(table.frame[beside], table.intensity[beside], minlength=frames)


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
