"""A field on the specimen: a turned rectangle, and the cells of a map that it meets."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError

Pair = tuple[float, float]

_PARTS = 8


class Field:
    """A turned rectangle, and the cells of the map that it meets.

    Parameters
    ----------
    center_nm, fov_nm, rotation_deg
        See `DoseMap.deposit`.
    """

    def __init__(self, center_nm: Sequence[float], fov_nm: Sequence[float], rotation_deg: float) -> None:
        self.center_nm, self.fov_nm = pair("center_nm", center_nm), extent("fov_nm", fov_nm)
        angle = math.radians(checks.finite("rotation_deg", rotation_deg, "degrees"))
        self._cos, self._sin = math.cos(angle), math.sin(angle)

    def touches(self, row: int, column: int, cell_nm: float, size: int) -> NDArray[np.bool_]:
        """Return which of size x size cells from this row and column on share some area with the field."""
        y, x = self._offsets(row, column, cell_nm, size)
        reach = cell_nm * (abs(self._cos) + abs(self._sin)) / 2
        along, across = self._along(y, x)
        meets = (along < self.fov_nm[0] / 2 + reach) & (across < self.fov_nm[1] / 2 + reach)
        # two rectangles are apart if they are so along a side of either
        height = self.fov_nm[0] * abs(self._cos) + self.fov_nm[1] * abs(self._sin)
        width = self.fov_nm[0] * abs(self._sin) + self.fov_nm[1] * abs(self._cos)
        meets &= (np.abs(y) < (height + cell_nm) / 2) & (np.abs(x) < (width + cell_nm) / 2)
        return meets

    def share(self, row: int, column: int, cell_nm: float, size: int) -> NDArray[np.float64]:
        """Return the part, to 1/64, of each of size x size cells from this row and column on that lies in the field."""
        share = np.zeros((size, size))
        i, j = np.nonzero(self.touches(row, column, cell_nm, size))
        if i.size:
            y, x = self._offsets(row, column, cell_nm, size)
            fine = ((np.arange(_PARTS) + 0.5) / _PARTS - 0.5) * cell_nm
            points = self._along(y[i, 0][:, None, None] + fine[:, None], x[0, j][:, None, None] + fine)
            inside = (points[0] < self.fov_nm[0] / 2) & (points[1] < self.fov_nm[1] / 2)
            share[i, j] = inside.mean(axis=(1, 2))
        return share

    def _offsets(
        self, row: int, column: int, cell_nm: float, size: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the offsets of the middles of the cells from the field's centre, (size, 1) and (1, size), in nm."""
        steps: NDArray[np.float64] = np.arange(size, dtype=np.float64) + 0.5
        return (
            ((row + steps) * cell_nm - self.center_nm[0])[:, None],
            ((column + steps) * cell_nm - self.center_nm[1])[None, :],
        )

    def _along(self, y: NDArray[np.float64], x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the distances from the centre along the field's own height and width, in nm."""
        along: NDArray[np.float64] = np.abs(self._cos * y + self._sin * x)
        across: NDArray[np.float64] = np.abs(self._cos * x - self._sin * y)
        return along, across


def pair(name: str, value: Sequence[float]) -> Pair:
    """Return ``value`` as two finite floats (row, column)."""
    try:
        row, column = value
    except (TypeError, ValueError):
        raise ParameterError(f"{name} is {value!r}; expected two numbers (row, column) in nm") from None
    return checks.finite(name, row, "nm"), checks.finite(name, column, "nm")


def extent(name: str, value: Sequence[float]) -> Pair:
    """Return ``value`` as two positive floats (height, width)."""
    height, width = pair(name, value)
    return checks.positive(name, height, "nm"), checks.positive(name, width, "nm")
