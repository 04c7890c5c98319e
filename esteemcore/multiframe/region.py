"""The region of a series: from its size and the required pixel size follows the number of pixels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError

Pair = tuple[float, float]

_ROUNDING = 1e-6
"""Part of a pixel by which a region may be too large for the next smaller number of pixels."""

MOST_PIXELS = 2**26
"""Pixels of a region: 8192 x 8192."""


@dataclasses.dataclass(frozen=True)
class Region:
    """A rectangle on the specimen with a grid of square pixels.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns.
    pixel_size_nm : float
        Side of a pixel in nm.
    center_nm : (float, float)
        Centre (row, column) in nm.
    rotation_deg : float
        Offsets (row, column) from the centre are multiplied by [[cos, -sin], [sin, cos]].
    """

    shape: tuple[int, int]
    pixel_size_nm: float
    center_nm: Pair = (0.0, 0.0)
    rotation_deg: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", checks.shape_2d("shape", self.shape))
        object.__setattr__(self, "pixel_size_nm", checks.positive("pixel_size_nm", self.pixel_size_nm, "nm"))
        object.__setattr__(self, "center_nm", _pair("center_nm", self.center_nm))
        object.__setattr__(self, "rotation_deg", checks.finite("rotation_deg", self.rotation_deg, "degrees"))
        if self.shape[0] * self.shape[1] > MOST_PIXELS:
            raise ParameterError(
                f"the region has {self.shape[0]:,} x {self.shape[1]:,} pixels, at most {MOST_PIXELS:,} can be "
                "acquired; choose larger pixels or a smaller region"
            )

    @property
    def fov_nm(self) -> Pair:
        """Height and width in nm."""
        return self.shape[0] * self.pixel_size_nm, self.shape[1] * self.pixel_size_nm

    def moved(self, offset_nm: Sequence[float]) -> Region:
        """Return the region moved by (rows, columns) in nm along its own, turned axes."""
        down, right = _pair("offset_nm", offset_nm)
        cos, sin = math.cos(math.radians(self.rotation_deg)), math.sin(math.radians(self.rotation_deg))
        y, x = self.center_nm
        return dataclasses.replace(self, center_nm=(y + cos * down - sin * right, x + sin * down + cos * right))


def fit_region(
    size_nm: Sequence[float],
    pixel_size_nm: float,
    center_nm: Sequence[float] = (0.0, 0.0),
    rotation_deg: float = 0.0,
) -> Region:
    """Return the region that has exactly the required pixel size and grows for it by less than a pixel.

    Parameters
    ----------
    size_nm : (float, float)
        Height and width that were drawn, in nm.
    pixel_size_nm : float
        Side of a pixel in nm.
    center_nm, rotation_deg
        See `Region`; the centre stays.

    Raises
    ------
    ParameterError
        If the region is smaller than a pixel, or a number is impossible.

    References
    ----------
    L. Jones et al., Managing dose-, damage- and data-rates in multi-frame spectrum-imaging, Microscopy 67 (2018) i98.

    Examples
    --------
    >>> region = fit_region((3.21, 6.4), 0.1)
    >>> region.shape, region.pixel_size_nm
    ((33, 64), 0.1)
    """
    height, width = _pair("size_nm", size_nm)
    pixel = checks.positive("pixel_size_nm", pixel_size_nm, "nm")
    if min(height, width) < pixel * (1 - _ROUNDING):
        raise ParameterError(
            f"the region of {height:.4g} x {width:.4g} nm is smaller than a pixel of {pixel:.4g} nm; draw a larger "
            "region or choose smaller pixels"
        )
    rows, columns = (max(1, math.ceil(side / pixel - _ROUNDING)) for side in (height, width))
    return Region((rows, columns), pixel, _pair("center_nm", center_nm), rotation_deg)


def virgin_areas(region: Region, count: int, gap_nm: float) -> tuple[Region, ...]:
    """Return areas side by side that have not seen the beam of each other: sets of frames of one experiment.

    Parameters
    ----------
    region : Region
        The first area.
    count : int
        Number of areas, the first one included.
    gap_nm : float
        Distance between neighbours in nm.

    Returns
    -------
    tuple of Region
        In a block that is as square as it can be, row by row to and fro, along the axes of the region.

    Examples
    --------
    >>> [area.center_nm for area in virgin_areas(Region((10, 10), 1.0), 4, 5.0)]
    [(0.0, 0.0), (0.0, 15.0), (15.0, 15.0), (15.0, 0.0)]
    """
    count = checks.integer("count", count, minimum=1)
    gap = checks.not_negative("gap_nm", gap_nm, "nm")
    columns = math.ceil(math.sqrt(count))
    height, width = region.fov_nm
    areas = []
    for number in range(count):
        row, column = divmod(number, columns)
        column = columns - 1 - column if row % 2 else column
        areas.append(region.moved((row * (height + gap), column * (width + gap))))
    return tuple(areas)


def _pair(name: str, value: Sequence[float]) -> Pair:
    try:
        first, second = value
    except (TypeError, ValueError):
        raise ParameterError(f"{name} is {value!r}; expected two numbers (row, column) in nm") from None
    return checks.finite(name, first, "nm"), checks.finite(name, second, "nm")
