"""Disks as a table, one row each."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.provenance import Provenance

COLUMNS = ("y", "x", "intensity", "sigma_px", "score", "background", "tilt_y", "tilt_x", "slope",
           "tilt_sd", "slope_sd", "measured_radius_px")  # fmt: skip
"""The columns of real numbers, in the order of the rows of the compiled loops."""


@dataclasses.dataclass(frozen=True, eq=False)
class DiskTable:
    """Disks of many frames, one row each; the disks of a position follow each other, the most significant first.

    Attributes
    ----------
    frame : ndarray of int64, shape (n,)
        Flat scan position ``y * nx + x`` of the frame.
    y, x : ndarray of float32, shape (n,)
        Place on the detector in px; pixel centres are integers.
    intensity : ndarray of float32, shape (n,)
        Electrons in the disk above the background.
    sigma_px : ndarray of float32, shape (n,)
        Standard error of the place along one axis, from the Fisher information of the counts; NaN where the fit
        failed and the place is the centre of the counts.
    score : ndarray of float32, shape (n,)
        Significance in standard deviations.
    background : ndarray of float32, shape (n,), optional
        Counts per pixel under the disk.
    tilt_y, tilt_x : ndarray of float32, shape (n,), optional
        Inner structure: by how much the disk is brighter at its lower (right) edge than in the middle, relative.
    slope : ndarray of float32, shape (n,), optional
        By how much the background grows per px away from the direct beam, relative.
    tilt_sd, slope_sd : ndarray of float32, shape (n,), optional
        Their standard deviations, what was known before included.
    measured_radius_px : ndarray of float32, shape (n,), optional
        The radius that the counts of the disk ask for, to first order; NaN where two disks were fitted together, and
        where a disk was found by a lattice.
    visits : ndarray of uint32, shape (y, x), optional
        Frames at each position: the rows of all of them are in the table.
    notes : tuple of str
        What is wrong with the data or with the parameters, and what was fitted without being asked for, in words.
    provenance : Provenance, optional
    """

    frame: NDArray[np.int64]
    y: NDArray[np.float32]
    x: NDArray[np.float32]
    intensity: NDArray[np.float32]
    sigma_px: NDArray[np.float32]
    score: NDArray[np.float32]
    background: NDArray[np.float32] | None = None
    tilt_y: NDArray[np.float32] | None = None
    tilt_x: NDArray[np.float32] | None = None
    slope: NDArray[np.float32] | None = None
    tilt_sd: NDArray[np.float32] | None = None
    slope_sd: NDArray[np.float32] | None = None
    measured_radius_px: NDArray[np.float32] | None = None
    visits: NDArray[np.uint32] | None = None
    notes: tuple[str, ...] = ()
    provenance: Provenance | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self) -> None:
        frame = np.asarray(self.frame)
        if frame.ndim != 1 or (frame.size and frame.dtype.kind not in "iu"):
            raise ParameterError(
                f"frame has shape {frame.shape} and dtype {frame.dtype}; expected the flat integer scan position of "
                "each disk"
            )
        object.__setattr__(self, "frame", np.ascontiguousarray(frame, np.int64))
        for name in COLUMNS:
            value = getattr(self, name)
            if value is None:
                continue
            column = np.ascontiguousarray(value, np.float32)
            if column.shape != frame.shape:
                raise ParameterError(f"{name} has shape {column.shape}, but there are {frame.size} disks")
            object.__setattr__(self, name, column)

    def __len__(self) -> int:
        """Return the number of disks."""
        return len(self.frame)

    def select(self, rows: ArrayLike) -> DiskTable:
        """Return some of the disks.

        Parameters
        ----------
        rows : array_like of bool or int
            Which; e.g. ``table.score > 8``.
        """
        chosen = np.asarray(rows)
        columns: dict[str, Any] = {"frame": self.frame[chosen]}
        for name in COLUMNS:
            value = getattr(self, name)
            columns[name] = None if value is None else value[chosen]
        return dataclasses.replace(self, **columns)

    def per_position(self, scan_shape: tuple[int, int]) -> NDArray[np.int64]:
        """Return how many disks each position has, (y, x)."""
        shape = checks.shape_2d("scan_shape", scan_shape)
        positions = checks.flat_indices("frame", self.frame, shape[0] * shape[1])
        return np.bincount(positions, minlength=shape[0] * shape[1]).reshape(shape)

    def brightest(self, positions: int) -> NDArray[np.float64]:
        """Return the place (row, column) of the brightest disk of each position, (positions, 2); NaN without any.

        It is the direct beam, unless something stops it.
        """
        place = np.full((positions, 2), np.nan)
        order = np.argsort(self.intensity, kind="stable")
        place[self.frame[order]] = np.stack([self.y, self.x], axis=1)[order]
        return place


def carried_notes(disks: Any, own: tuple[str, ...]) -> tuple[str, ...]:
    """Return the notes of a result that was made from a table: first what is wrong with its data, nothing twice."""
    return tuple(dict.fromkeys([*getattr(disks, "notes", ()), *own]))


def bragg_vector_map(
    disks: DiskTable,
    frame_shape: tuple[int, int],
    *,
    oversampling: int = 2,
    origin: ArrayLike | None = None,
    weighted: bool = False,
) -> NDArray[np.float64]:
    """Return the histogram of the places of all disks: sharp peaks where the specimen has reflections.

    Parameters
    ----------
    disks : DiskTable
    frame_shape : tuple of int
        ``(ky, kx)`` of the detector.
    oversampling : int
        Bins per pixel along each axis.
    origin : array_like, shape (positions, 2), optional
        Place (row, column) of the direct beam at each position, e.g. `DescanPlane.at` or `DiskTable.brightest`; disks
        are moved so that it falls on the middle, pixel (ky // 2, kx // 2). Default: as they lie on the detector.
    weighted : bool
        Count electrons instead of disks.

    Returns
    -------
    ndarray of float64, shape (ky * oversampling, kx * oversampling)
        Each disk is shared bilinearly between the four bins next to it. The centre of bin i is at
        ``(i + 0.5) / oversampling - 0.5`` px.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import diffraction
    >>> one = np.ones(2)
    >>> table = diffraction.DiskTable(np.array([0, 1]), 3 * one, 5 * one, 90 * one, 0.1 * one, 9 * one)
    >>> found = diffraction.bragg_vector_map(table, (8, 8), oversampling=1)
    >>> float(found[3, 5]), float(found.sum())
    (2.0, 2.0)
    """
    ky, kx = checks.shape_2d("frame_shape", frame_shape)
    fine = checks.integer("oversampling", oversampling, minimum=1, maximum=16)
    y, x = disks.y.astype(np.float64), disks.x.astype(np.float64)
    if origin is not None:
        places = np.asarray(origin, np.float64).reshape(-1, 2)
        if len(disks) and disks.frame.max() >= len(places):
            raise ParameterError(
                f"origin has {len(places)} places, but a disk lies at position {disks.frame.max()}; give one for each"
            )
        y = y - places[disks.frame, 0] + ky // 2
        x = x - places[disks.frame, 1] + kx // 2
    weight = disks.intensity.astype(np.float64) if weighted else np.ones(len(disks))
    v, u = (y + 0.5) * fine - 0.5, (x + 0.5) * fine - 0.5
    known = np.isfinite(v) & np.isfinite(u)
    v, u, weight = v[known], u[known], weight[known]
    i, j = np.floor(v).astype(np.int64), np.floor(u).astype(np.int64)
    result = np.zeros((ky * fine + 2, kx * fine + 2))
    for di in (0, 1):
        for dj in (0, 1):
            share = weight * np.abs(1 - di - (v - i)) * np.abs(1 - dj - (u - j))
            row, column = i + di + 1, j + dj + 1
            inside = (row >= 0) & (row < result.shape[0]) & (column >= 0) & (column < result.shape[1])
            np.add.at(result, (row[inside], column[inside]), share[inside])
    return np.ascontiguousarray(result[1:-1, 1:-1])
