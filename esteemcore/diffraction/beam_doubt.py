"""Whether the brightest disks of a scan are a direct beam: that stays in place, or moves evenly as descan moves it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from esteemcore.diffraction.origins import along_plane
from esteemcore.diffraction.table import DiskTable

FAR = 3.0
"""Radii that a direct beam moves at most between neighbouring positions, and lies from a plane over the scan."""

FAINT = 0.1
"""Part of the electrons of the bright beams below which a frame is nearly blanked, and does not count."""

JUMPS, AWAY = 0.2, 0.15
"""Shares of neighbours between which the brightest disk jumps, and of frames without any disk where it should be."""

LEAST = 10
"""Pairs of neighbours that can tell."""


def beam_notes(table: DiskTable, scan_shape: tuple[int, int], radius: float) -> tuple[str, ...]:
    """Return that the brightest disks are no direct beam, in words, where they are hardly anywhere in one place.

    A reflection may be brighter than the beam in some frames, but then a disk is still where the beam is. Where nothing
    is there, and the brightest disk jumps between neighbours, something hides the beam, or it is weaker than most.
    """
    positions = scan_shape[0] * scan_shape[1]
    order = np.argsort(table.intensity, kind="stable")
    electrons = np.zeros(positions)
    electrons[table.frame[order]] = table.intensity[order]
    place = table.brightest(positions)
    there = np.isfinite(place).all(axis=1) & (electrons > 0)
    if not there.any():
        return ()
    there &= electrons > FAINT * np.quantile(electrons[there], 0.9)
    jumps = np.concatenate([_jumps(place, there, scan_shape, axis) for axis in (0, 1)])
    if len(jumps) < LEAST or np.mean(jumps > FAR * radius) < JUMPS:
        return ()
    plane = along_plane(np.where(there[:, None], place, np.nan), scan_shape, FAR * radius)
    near = np.hypot(table.y - plane[table.frame, 0], table.x - plane[table.frame, 1]) < radius
    away = there & (np.bincount(table.frame[near], minlength=positions) == 0)
    if away.sum() < AWAY * there.sum():
        return ()
    share = 100 * np.mean(jumps > FAR * radius)
    return (
        f"the brightest disks are no direct beam: between {share:.0f} % of the neighbouring positions they jump by "
        f"more than {FAR:g} radii; give the place of the beam as center, and mask what stops it",
    )


def _jumps(
    place: NDArray[np.float64], there: NDArray[np.bool_], scan_shape: tuple[int, int], axis: int
) -> NDArray[np.float64]:
    """Return how far the places of neighbours along an axis are apart in px, where both are there."""
    apart = np.hypot(*np.moveaxis(np.diff(place.reshape(*scan_shape, 2), axis=axis), -1, 0))
    known = np.moveaxis(there.reshape(scan_shape), axis, 0)
    both: NDArray[np.bool_] = known[1:] & known[:-1]
    far: NDArray[np.float64] = np.moveaxis(apart, axis, 0)[both]
    return far
