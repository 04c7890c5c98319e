"""Charge on the specimen, on maps that are fine where the scan was small and coarse where it was large."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import FormatError, ParameterError
from esteemcore.scan.field import Field, Pair, extent, pair

TILE = 64
"""Cells along a side of a tile."""
CELLS_PER_FIELD = 256
"""A field is kept in the finest cells of which no more than this cover its longer side."""
ANGSTROM2_PER_NM2 = 100.0


class DoseMap:
    """Where on the specimen how much charge has fallen; the map grows as the specimen is explored.

    Cells of level l are ``cell_nm * 2**l`` wide, and those of all levels lie inside each other. A field goes to the
    level at which up to 256 cells cover it, so that memory depends on the number of fields and not on their size; the
    dose at a point is the sum over the levels. Doses are means over cells: the single positions of a sparse scan are
    not resolved where they are smaller than a cell.

    Parameters
    ----------
    cell_nm : float
        Width of the finest cells in nm; about how well the place on the specimen is known.

    Examples
    --------
    >>> specimen = DoseMap(cell_nm=1.0)
    >>> specimen.deposit(6.4e5, center_nm=(0, 0), fov_nm=(8, 8))
    >>> specimen.mean((0, 0), (8, 8)), specimen.maximum((2, 2), (2, 2)), specimen.mean((50, 0), (8, 8))
    (100.0, 100.0, 0.0)
    """

    def __init__(self, cell_nm: float = 0.25) -> None:
        self.cell_nm = checks.positive("cell_nm", cell_nm, "nm")
        self._tiles: dict[tuple[int, int, int], NDArray[np.float64]] = {}

    @property
    def total_charge_e(self) -> float:
        """Charge on the whole map, in electrons."""
        return float(sum(tile.sum() for tile in self._tiles.values()))

    def deposit(
        self, charge_e: ArrayLike, center_nm: Sequence[float], fov_nm: Sequence[float], rotation_deg: float = 0.0
    ) -> None:
        """Add the charge of a field; all of it is found on the map again.

        Parameters
        ----------
        charge_e : float or array_like, shape (y, x)
            Electrons, spread evenly over the field or given per position of a regular grid on it.
        center_nm : (float, float)
            Centre of the field on the specimen, (row, column) in nm.
        fov_nm : (float, float)
            Height and width of the field in nm.
        rotation_deg : float
            Turns the field about its centre: offsets (row, column) are multiplied by [[cos, -sin], [sin, cos]].

        Raises
        ------
        ParameterError
            If the charge is negative or not finite, or the field is empty.
        """
        charge = np.atleast_2d(np.asarray(charge_e, dtype=np.float64))
        if charge.ndim != 2 or charge.size == 0 or not np.isfinite(charge).all() or charge.min() < 0:
            raise ParameterError("charge_e must be finite electrons, zero or more: one number or an array (y, x)")
        center, fov = pair("center_nm", center_nm), extent("fov_nm", fov_nm)
        angle = math.radians(checks.finite("rotation_deg", rotation_deg, "degrees"))
        level = max(0, math.ceil(math.log2(max(fov) / (CELLS_PER_FIELD * self.cell_nm))))
        cell = self.cell_nm * 2.0**level
        if angle == 0:
            block, row, column = _aligned(charge, center, fov, cell)
        else:
            block, row, column = _rotated(charge, center, fov, cell, angle)
        for key, inside, part in _tiled(level, row, column, block.shape):
            tile = self._tiles.setdefault(key, np.zeros((TILE, TILE)))
            tile[inside] += block[part]

    def mean(self, center_nm: Sequence[float], fov_nm: Sequence[float], rotation_deg: float = 0.0) -> float:
        """Return the mean dose of a field in e/Å².

        Parameters
        ----------
        center_nm, fov_nm, rotation_deg
            The field, see `deposit`. The part of a cell that lies in a turned field is found to 1/64 of its area.
        """
        if not rotation_deg:
            return float(self.image(center_nm, fov_nm, (1, 1))[0, 0])
        field = Field(center_nm, fov_nm, rotation_deg)
        charge = 0.0
        for (level, *place), tile in self._tiles.items():
            cell = self.cell_nm * 2.0**level
            charge += float((tile * field.share(place[0] * TILE, place[1] * TILE, cell, TILE)).sum())
        return charge / (field.fov_nm[0] * field.fov_nm[1] * ANGSTROM2_PER_NM2)

    def image(self, center_nm: Sequence[float], fov_nm: Sequence[float], shape: Sequence[int]) -> NDArray[np.float64]:
        """Return the dose of a field in e/Å², float64 (y, x): in each pixel the mean over its area."""
        center, fov = pair("center_nm", center_nm), extent("fov_nm", fov_nm)
        size = checks.shape_2d("shape", shape)
        charge = np.zeros(size)
        for (level, *place), tile in self._tiles.items():
            cell = self.cell_nm * 2.0**level
            middle = [(index + 0.5) * TILE * cell for index in place]
            if any(2 * abs(middle[axis] - center[axis]) >= fov[axis] + TILE * cell for axis in (0, 1)):
                continue
            for axis in (0, 1):
                edges = center[axis] + fov[axis] * (np.arange(size[axis] + 1) / size[axis] - 0.5)
                tile = _resample(tile, edges / cell - place[axis] * TILE, axis)
            charge += tile
        return charge / (fov[0] * fov[1] / charge.size * ANGSTROM2_PER_NM2)

    def maximum(self, center_nm: Sequence[float], fov_nm: Sequence[float], rotation_deg: float = 0.0) -> float:
        """Return the largest dose of any cell that touches a field, in e/Å².

        Parameters
        ----------
        center_nm, fov_nm, rotation_deg
            The field, see `deposit`.
        """
        field = Field(center_nm, fov_nm, rotation_deg)
        largest = 0.0
        levels = sorted({key[0] for key in self._tiles})
        for level, *place in self._tiles:
            rows, columns = (np.arange(index * TILE, (index + 1) * TILE) for index in place)
            touched = field.touches(int(rows[0]), int(columns[0]), self.cell_nm * 2.0**level, TILE)
            if touched.any():
                largest = max(largest, float(self._dose(levels, level, rows, columns)[touched].max()))
        return largest

    def _dose(
        self, levels: list[int], level: int, rows: NDArray[np.int64], columns: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the dose of cells of one tile, with that of the coarser cells around them."""
        dose = np.zeros((rows.size, columns.size))
        for coarse in levels[levels.index(level) :]:
            y, x = rows >> (coarse - level), columns >> (coarse - level)
            tile = self._tiles.get((coarse, int(y[0]) // TILE, int(x[0]) // TILE))
            if tile is not None:
                area = (self.cell_nm * 2.0**coarse) ** 2 * ANGSTROM2_PER_NM2
                dose += tile[np.ix_(y % TILE, x % TILE)] / area
        return dose

    def dump(self) -> dict[str, Any]:
        """Return the map as a JSON-ready dictionary."""
        tiles = [
            [*key, base64.b64encode(zlib.compress(tile.astype("<f8").tobytes())).decode("ascii")]
            for key, tile in self._tiles.items()
        ]
        return {"cell_nm": self.cell_nm, "tiles": tiles}

    @classmethod
    def load(cls, data: dict[str, Any]) -> DoseMap:
        """Restore a map from what `dump` returned.

        Raises
        ------
        FormatError
            If the data are damaged.
        """
        try:
            restored = cls(data["cell_nm"])
            for level, row, column, text in data["tiles"]:
                values = np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype="<f8")
                restored._tiles[int(level), int(row), int(column)] = values.reshape(TILE, TILE).astype(np.float64)
        except (KeyError, TypeError, ValueError, zlib.error) as error:
            raise FormatError(f"the stored dose map is damaged ({error!r})") from error
        return restored


def _resample(charge: NDArray[np.float64], edges: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return the charge between consecutive edges, given in pixels of ``charge`` along ``axis``; 0 outside."""
    n = charge.shape[axis]
    running = np.zeros((n + 1, charge.shape[1 - axis]))
    np.cumsum(np.moveaxis(charge, axis, 0), axis=0, out=running[1:])
    place = np.clip(edges, 0, n)
    below = np.minimum(place.astype(np.int64), n - 1)
    until = running[below] + (running[below + 1] - running[below]) * (place - below)[:, None]
    return np.moveaxis(np.diff(until, axis=0), 0, axis)


def _aligned(charge: NDArray[np.float64], center: Pair, fov: Pair, cell: float) -> tuple[NDArray[np.float64], int, int]:
    """Return the charge per cell by overlap of areas, and the first row and column of cells."""
    first = []
    for axis in (0, 1):
        top = center[axis] - fov[axis] / 2
        start, stop = math.floor(top / cell), math.ceil((top + fov[axis]) / cell)
        edges = (np.arange(start, stop + 1) * cell - top) * (charge.shape[axis] / fov[axis])
        edges[0], edges[-1] = 0, charge.shape[axis]
        charge = _resample(charge, edges, axis)
        first.append(start)
    return charge, first[0], first[1]


def _rotated(
    charge: NDArray[np.float64], center: Pair, fov: Pair, cell: float, angle: float
) -> tuple[NDArray[np.float64], int, int]:
    """Return the charge per cell by bilinear scatter of points a third of a cell apart, and the first row and column.

    The dose of an even field is even to 2 % at any angle; with points half a cell apart it would be to 4.4 %.
    """
    offsets = []
    for axis in (0, 1):
        n = math.ceil(3 * fov[axis] / cell)
        charge = _resample(charge, np.linspace(0, charge.shape[axis], n + 1), axis)
        offsets.append(((np.arange(n) + 0.5) / n - 0.5) * fov[axis])
    y, x = offsets[0][:, None], offsets[1][None, :]
    row = (center[0] + math.cos(angle) * y - math.sin(angle) * x).ravel() / cell - 0.5
    column = (center[1] + math.sin(angle) * y + math.cos(angle) * x).ravel() / cell - 0.5
    top, left = math.floor(row.min()), math.floor(column.min())
    height, width = math.floor(row.max()) + 2 - top, math.floor(column.max()) + 2 - left
    row, column = row - top, column - left
    i, j = row.astype(np.int64), column.astype(np.int64)
    block = np.zeros(height * width)
    for di, dj in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share = np.abs(1 - di - (row - i)) * np.abs(1 - dj - (column - j))
        block += np.bincount((i + di) * width + j + dj, weights=share * charge.ravel(), minlength=block.size)
    return block.reshape(height, width), top, left


def _tiled(
    level: int, row: int, column: int, shape: tuple[int, ...]
) -> Iterator[tuple[tuple[int, int, int], tuple[slice, slice], tuple[slice, slice]]]:
    """Yield the tiles that a block of cells meets: key, cells within the tile, cells within the block."""

    def pieces(start: int, size: int) -> Iterator[tuple[int, slice, slice]]:
        for tile in range(start // TILE, (start + size - 1) // TILE + 1):
            low, high = max(start, tile * TILE), min(start + size, (tile + 1) * TILE)
            yield tile, slice(low - tile * TILE, high - tile * TILE), slice(low - start, high - start)

    for tile_row, rows, from_rows in pieces(row, shape[0]):
        for tile_column, columns, from_columns in pieces(column, shape[1]):
            yield (level, tile_row, tile_column), (rows, columns), (from_rows, from_columns)
