"""What a first pass over the disks teaches about the inside of each reflection."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from esteemcore._core.errors import ParameterError
from esteemcore.diffraction.look import USUAL_INSIDE
from esteemcore.diffraction.table import DiskTable, bragg_vector_map

LEAST_DISKS = 12
"""Disks that a reflection must have before its inside is learnt."""
LEAST_SPREAD = 0.02
"""Nothing about the inside is taken as known better than this."""


@dataclasses.dataclass(frozen=True, eq=False)
class InnerStructure:
    """What the disks of each reflection look like, as mean and spread over the positions that have them.

    Attributes
    ----------
    place : ndarray of float64, shape (k, 2)
        Places (row, column) of the reflections from the direct beam in px.
    inside : ndarray of float64, shape (k, 3)
        By how much they are brighter at the lower and at the right edge than in the middle, relative, and by how much
        the background grows per px away from the direct beam, relative.
    sd : ndarray of float64, shape (k, 3)
        The true spread of that from position to position, without the noise of counting.
    """

    place: NDArray[np.float64]
    inside: NDArray[np.float64]
    sd: NDArray[np.float64]

    @property
    def known(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Place, structure and spread, as the compiled loops take them."""
        place, inside, sd = (np.ascontiguousarray(a, np.float64) for a in (self.place, self.inside, self.sd))
        return place, inside, sd


def learn_structure(disks: DiskTable, frame_shape: tuple[int, int], radius_px: float) -> InnerStructure:
    """Learn what the disks of each reflection look like inside from the table of a first pass.

    A gradient across a disk and a shift of it look alike in few counts, so what all positions together say about the
    gradient makes the place of each disk surer. The reflections are the peaks of the Bragg-vector map. The spread from
    position to position, beyond the errors, is learnt as well, so that what varies is not taken as fixed.

    Parameters
    ----------
    disks : DiskTable
        Of `Disks` without a structure.
    frame_shape : tuple of int
        ``(ky, kx)`` of the detector.
    radius_px : float
        Radius of a disk in px.

    Returns
    -------
    InnerStructure
        Without reflections where there are too few disks to learn from.
    """
    columns = (disks.tilt_y, disks.tilt_x, disks.slope, disks.tilt_sd, disks.slope_sd)
    if any(column is None for column in columns):
        raise ParameterError("the table does not say what its disks look like inside; take one that Disks has made")
    values = np.stack(columns).astype(np.float64)  # type: ignore[arg-type]
    nothing = InnerStructure(np.zeros((0, 2)), np.zeros((0, 3)), np.zeros((0, 3)))
    known = np.isfinite(values).all(axis=0)
    if known.sum() < LEAST_DISKS:
        return nothing
    origin = disks.brightest(int(disks.frame.max()) + 1)
    middle = np.array(frame_shape) // 2
    place = reflections(disks, frame_shape, radius_px, origin)
    if not len(place):
        return nothing
    from_beam = np.stack([disks.y, disks.x], axis=1) - origin[disks.frame]
    distance, which = cKDTree(place - middle).query(from_beam)
    near = known & (distance < 0.5 * radius_px)
    which, values = which[near], values[:, near]
    learnt = [
        _mean_and_spread(found, sd, which, len(place), usual)
        for found, sd, usual in zip(values[:3], values[[3, 3, 4]], USUAL_INSIDE, strict=True)
    ]
    enough = np.bincount(which, minlength=len(place)) >= LEAST_DISKS
    inside, sd = (np.stack([part[i] for part in learnt], axis=1)[enough] for i in (0, 1))
    return InnerStructure((place - middle)[enough], inside, sd)


def _mean_and_spread(
    found: NDArray[np.float64], sd: NDArray[np.float64], which: NDArray[np.int64], k: int, usual: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and true spread of a number for each of k reflections, from what a prior of spread `usual` shrank."""
    shrunk = np.clip(1 - sd**2 / usual**2, 0.02, 1)
    found, variance = found / shrunk, sd**2 / shrunk
    spread = np.full(k, usual**2)
    for _ in range(8):
        weight = 1 / (variance + spread[which])
        total = np.maximum(np.bincount(which, weight, k), 1e-9)
        mean = np.bincount(which, weight * found, k) / total
        excess = np.bincount(which, weight**2 * ((found - mean[which]) ** 2 - variance), k)
        spread = excess / np.maximum(np.bincount(which, weight**2, k), 1e-9)
        spread = np.clip(spread, LEAST_SPREAD**2, usual**2)
    return np.clip(mean, -1.5, 1.5), np.sqrt(spread + 1 / total)


def reflections(
    disks: DiskTable, frame_shape: tuple[int, int], radius_px: float, origin: ArrayLike
) -> NDArray[np.float64]:
    """Return the peaks (row, column) of the Bragg-vector map with the direct beam moved to the middle, in px."""
    fine = 2
    found = ndimage.gaussian_filter(bragg_vector_map(disks, frame_shape, oversampling=fine, origin=origin), 1.5)
    reach = 2 * max(1, round(0.5 * radius_px * fine)) + 1
    least = LEAST_DISKS / (2 * np.pi * 8 * 1.5**2)
    peak = (found == ndimage.maximum_filter(found, reach)) & (found > least)
    place: NDArray[np.float64] = (np.argwhere(peak) + 0.5) / fine - 0.5
    return place
