"""Where the direct beam of each position is, from the disks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError

Floats = NDArray[np.float64]


def origins(
    frame: NDArray[np.int64], place: Floats, intensity: Floats, positions: int, center: ArrayLike | None, back: Floats
) -> Floats:
    """Return roughly where the direct beam of each position is, undistorted; NaN without disks."""
    if center is not None:
        given = checks.array("center", center)
        numbers = given.dtype.kind in "iuf" and np.isfinite(given).all()
        if given.shape not in ((2,), (positions, 2)) or not numbers:
            raise ParameterError(
                f"center has shape {given.shape}; expected finite (row, column), (2,) or for each position, "
                f"({positions}, 2)"
            )
        return np.array(np.broadcast_to(given @ back.T, (positions, 2)))
    origin = np.full((positions, 2), np.nan)
    order = np.argsort(intensity, kind="stable")
    origin[frame[order]] = place[order]
    return origin


def along_plane(origin: Floats, shape: tuple[int, int], far: float) -> Floats:
    """Return origins with those that lie far from a robust plane, or nowhere, put onto it."""
    y, x = np.divmod(np.arange(shape[0] * shape[1]), shape[1])
    design = np.stack([np.ones(y.size), y / shape[0], x / shape[1]], axis=1)
    known = np.isfinite(origin).all(axis=1)
    weight = known.astype(float)
    for _ in range(10):
        root = np.sqrt(weight[known])[:, None]
        plane = design @ np.linalg.lstsq(design[known] * root, origin[known] * root, rcond=None)[0]
        distance = np.hypot(*(origin - plane).T)
        weight = np.where(known, 1 / (1 + (distance / far) ** 2) ** 2, 0)
    good = known & (distance < far)
    return np.where(good[:, None], origin, plane)
