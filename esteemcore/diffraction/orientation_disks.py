"""Disks as the matching of templates wants them: from the direct beam, undistorted, in the axes of the scan."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import CalibrationError, ParameterError
from esteemcore.diffraction.descan import Descan
from esteemcore.diffraction.distortion import distortion_matrix
from esteemcore.diffraction.ellipse import Ellipse
from esteemcore.diffraction.origins import along_plane, origins
from esteemcore.diffraction.table import DiskTable

Floats = NDArray[np.float64]

STANDS_OUT = 1.5
"""How many times brighter than the next disk a direct beam is, in the median, where nothing stops it."""


class Offsets(NamedTuple):
    """Position, place (row, column) from the direct beam in px, and electrons of disks; and what is to be told."""

    frame: NDArray[np.int64]
    place: Floats
    bright: Floats
    notes: tuple[str, ...]


def offsets(
    disks: DiskTable,
    shape: tuple[int, int],
    far: float,
    center: ArrayLike | Descan | None,
    distortion: ArrayLike | Ellipse | None,
    rotation_deg: float,
    flip: bool,
) -> Offsets:
    """Return the disks from the direct beam, which lies within ``far`` px of a robust plane over the scan."""
    if not isinstance(disks, DiskTable):
        raise ParameterError(f"disks is a {type(disks).__name__}; expected a DiskTable, e.g. of find_disks")
    positions = shape[0] * shape[1]
    frame = checks.flat_indices("disks.frame", disks.frame, positions)
    if disks.visits is not None and disks.visits.max(initial=0) > 1:
        raise ParameterError(
            "the disks are of several frames at a position; add these frames up before, and find disks in the sums"
        )
    place = np.stack([disks.y, disks.x], axis=1).astype(np.float64)
    bright = disks.intensity.astype(np.float64)
    known = np.isfinite(place).all(axis=1) & np.isfinite(bright)
    back = np.linalg.inv(distortion_matrix(distortion))
    frame, place, bright = frame[known], place[known] @ back.T, bright[known]
    origin = origins(frame, place, bright, shape, center, back)
    notes: tuple[str, ...] = ()
    if center is None and frame.size:
        plane = along_plane(origin, shape, far)
        notes = _doubts(frame, bright, origin, plane, positions)
        origin = plane
    offset = place - origin[frame]
    if flip:
        offset = offset[:, ::-1]
    turn = math.radians(checks.finite("rotation_deg", rotation_deg, "degrees"))
    offset = offset @ np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    return Offsets(frame, np.ascontiguousarray(offset), bright, notes)


def _doubts(frame: NDArray[np.int64], bright: Floats, origin: Floats, plane: Floats, positions: int) -> tuple[str, ...]:
    """Return why the brightest disks may not be the direct beam.

    Raises
    ------
    CalibrationError
        If they are nowhere near a plane: most are reflections.
    """
    there = np.isfinite(origin).all(axis=1)
    moved = int((there & (np.hypot(*(origin - plane).T) > 1e-6)).sum())
    if 2 * moved > there.sum():
        raise CalibrationError(
            f"at {moved} of {int(there.sum())} positions the brightest disk lies elsewhere than a direct beam would: "
            "is it stopped? Give its place as center"
        )
    notes = []
    if moved:
        notes.append(
            f"at {moved} positions a reflection is the brightest disk: there the direct beam is taken to lie where the "
            "others tell"
        )
    order = np.lexsort((-bright, frame))
    first = np.flatnonzero(np.diff(frame[order], prepend=-1))
    two = first[np.bincount(frame, minlength=positions)[frame[order][first]] > 1]
    ratio = bright[order][two] / np.maximum(bright[order][two + 1], 1e-12)
    if two.size and np.median(ratio) < STANDS_OUT:
        notes.append(
            f"the brightest disks are only {np.median(ratio):.1f} times brighter than the next: if they are not the "
            "direct beam, all orientations are wrong; give its place as center"
        )
    return tuple(notes)
