"""Values at true positions, put on a regular grid."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError


def regrid(
    values: ArrayLike, positions: ArrayLike, shape: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Spread values at any positions over the four nearest pixels each (bilinear scatter).

    Parameters
    ----------
    values : array_like, shape (n, ...)
        Real numbers, one or more per visit.
    positions : array_like of float, shape (n, 2)
        Where they were taken, (row, column) in px of the grid, pixel centres at integers; e.g.
        ``pattern.positions + drift``.
    shape : (int, int)
        Rows and columns of the grid.

    Returns
    -------
    grid : ndarray of float64, shape (y, x, ...)
        Weighted mean of the values around each pixel; NaN where nothing fell.
    weights : ndarray of float64, shape (y, x)
        Number of visits that fell on each pixel, in fractions.

    Notes
    -----
    Nothing is lost or made: ``nansum(grid * weights)`` is the sum of the values, and ``sum(weights)`` the number of
    visits, of all samples within the outermost pixel centres. A sample beyond them contributes the part that falls on
    the grid, and nothing if it is a pixel or more outside.

    Raises
    ------
    ParameterError
        If shapes do not belong together, or a position is not finite.

    Examples
    --------
    >>> grid, weights = regrid([8.0], [[0.0, 0.25]], (1, 2))
    >>> (grid * weights).tolist()
    [[6.0, 2.0]]
    """
    from scipy import sparse

    ny, nx = checks.shape_2d("shape", shape)
    place, value = np.asarray(positions), np.asarray(values)
    if place.ndim != 2 or place.shape[1] != 2 or place.dtype.kind not in "iuf":
        raise ParameterError(f"positions have shape {place.shape} and dtype {place.dtype}; expected (n, 2) numbers")
    if value.ndim < 1 or value.shape[0] != place.shape[0] or value.dtype.kind not in "biuf":
        raise ParameterError(
            f"values have shape {value.shape} and dtype {value.dtype} for {place.shape[0]} positions; expected "
            "real numbers, one or more per position"
        )
    if not np.isfinite(place).all():
        raise ParameterError("positions hold values that are not finite; leave those visits out")
    place = place.astype(np.float64)
    sample = np.flatnonzero(((place > -1) & (place < (ny, nx))).all(axis=1))
    place = place[sample]
    corner = np.floor(place)
    part = place - corner
    corner = corner.astype(np.int64)
    rows, columns, shares = [], [], []
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        y, x = corner[:, 0] + dy, corner[:, 1] + dx
        share = np.abs(1 - dy - part[:, 0]) * np.abs(1 - dx - part[:, 1])
        kept = (y >= 0) & (y < ny) & (x >= 0) & (x < nx) & (share > 0)
        rows.append((y * nx + x)[kept])
        columns.append(sample[kept])
        shares.append(share[kept])
    row, column, share = np.concatenate(rows), np.concatenate(columns), np.concatenate(shares)
    weights = np.bincount(row, weights=share, minlength=ny * nx).astype(np.float64, copy=False)
    if value.ndim == 1:
        total = np.bincount(row, weights=share * value[column], minlength=ny * nx)[:, None]
    else:
        scatter = sparse.csr_array((share, (row, column)), shape=(ny * nx, len(value)))
        total = scatter @ value.reshape(len(value), -1).astype(np.float64, copy=False)
    hit = weights > 0
    grid = np.full(total.shape, np.nan)
    np.divide(total, weights[:, None], out=grid, where=hit[:, None])
    return grid.reshape(ny, nx, *value.shape[1:]), weights.reshape(ny, nx)
