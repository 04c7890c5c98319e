"""Where the direct beam of each position is: as it is given, or from the disks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.diffraction.descan import Descan

Floats = NDArray[np.float64]


def given_beam(center: ArrayLike | Descan) -> Floats:
    """Return the direct beam (row, column) in px as it is given: for all positions (2,), or for each.

    Raises
    ------
    ParameterError
        If it is neither a `Descan` nor finite numbers of shape (2,), (y, x, 2) or (positions, 2).
    """
    if isinstance(center, str):
        words = "disks do not tell it" if center == "friedel" else "expected (row, column) in px"
        raise ParameterError(f"center is {center!r}; {words}, or what find_descan(..., center='friedel') returns")
    given = checks.array("center", center.center if isinstance(center, Descan) else center)
    expected = (
        "what find_descan returns, or two numbers (row, column) in px for all positions, (2,), or for each, (y, x, 2)"
    )
    if given.dtype.kind not in "iuf":
        raise ParameterError(f"center holds {given.dtype} values, which are no real numbers; expected {expected}")
    if given.shape != (2,) and (given.ndim not in (2, 3) or given.shape[-1] != 2):
        raise ParameterError(f"center has shape {given.shape}; expected {expected}")
    if not np.isfinite(given).all():
        missing = int((~np.isfinite(given)).sum())
        raise ParameterError(f"{missing} of the {given.size} numbers of center are not finite; expected {expected}")
    return np.ascontiguousarray(given, np.float64)


def beam_places(
    center: ArrayLike | Descan, scan_shape: tuple[int, int], frame_shape: tuple[int, int] | None = None
) -> Floats:
    """Return the direct beam of all positions, shape (1, 2), or of each, (positions, 2), as it is given for a scan.

    Raises
    ------
    ParameterError
        If it is not given, or for another scan, or lies beyond frames of a shape that is known.
    """
    given = given_beam(center)
    positions = scan_shape[0] * scan_shape[1]
    if given.shape not in ((2,), (positions, 2), (*scan_shape, 2)):
        raise ParameterError(
            f"center has shape {given.shape}, which is no (row, column) for each position of a scan of "
            f"{scan_shape[0]} x {scan_shape[1]}: {(*scan_shape, 2)}"
        )
    place = given.reshape(-1, 2)
    if frame_shape is not None and ((place < 0).any() or (place > np.array(frame_shape) - 1).any()):
        raise ParameterError(
            f"center reaches from {place.min(axis=0)} to {place.max(axis=0)}, beyond the frames of {frame_shape[0]} x "
            f"{frame_shape[1]} pixels"
        )
    return place


def recorded(center: Any) -> Any:
    """Return a centre as a provenance keeps it: of a `Descan` the plane, anything else as it is."""
    return center.center if isinstance(center, Descan) else center


def origins(
    frame: NDArray[np.int64],
    place: Floats,
    intensity: Floats,
    scan_shape: tuple[int, int],
    center: ArrayLike | Descan | None,
    back: Floats,
) -> Floats:
    """Return roughly where the direct beam of each position is, undistorted; NaN without disks."""
    positions = scan_shape[0] * scan_shape[1]
    if center is not None:
        return np.array(np.broadcast_to(beam_places(center, scan_shape) @ back.T, (positions, 2)))
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
