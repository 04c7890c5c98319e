"""Where on the specimen the positions of a scan lie."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from nion.instrumentation import scan_base
from nion.utils import Geometry
from numpy.typing import ArrayLike, NDArray

from esteemcore import simulate
from esteemcore.errors import ParameterError
from nionswift_plugin.esteem_scan.scan_plan import ScanPlan

Pair = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class ScanField:
    """A turned rectangle on the specimen with a grid of positions.

    Attributes
    ----------
    shape : (int, int)
        Rows and columns of positions.
    fov_nm : (float, float)
        Height and width in nm.
    center_nm : (float, float)
        Centre (row, column) on the specimen in nm, stage and beam shift included.
    rotation_deg : float
        Offsets (row, column) from the centre are multiplied by [[cos, -sin], [sin, cos]]. Nion's scan rotation has
        the opposite sign.
    """

    shape: tuple[int, int]
    fov_nm: Pair
    center_nm: Pair
    rotation_deg: float = 0.0

    @property
    def step_nm(self) -> Pair:
        """Distance of positions along rows and columns in nm."""
        return self.fov_nm[0] / self.shape[0], self.fov_nm[1] / self.shape[1]

    def on_specimen(self, positions_px: ArrayLike) -> NDArray[np.float64]:
        """Return positions (n, 2) in px, pixel centres at integers, as places on the specimen in nm."""
        center = (np.array(self.shape) - 1) / 2
        offsets = (np.asarray(positions_px, np.float64) - center) * self.step_nm
        return simulate.scan_to_specimen(offsets, self.rotation_deg, self.center_nm)

    def place(self, fraction: Geometry.FloatPoint) -> Pair:
        """Return the place of a point given as a fraction of height and width."""
        offset = [[(fraction.y - 0.5) * self.fov_nm[0], (fraction.x - 0.5) * self.fov_nm[1]]]
        row, column = simulate.scan_to_specimen(offset, self.rotation_deg, self.center_nm)[0]
        return float(row), float(column)


def context_field(
    size: Geometry.IntSize, fov_nm: float, center_nm: Geometry.FloatPoint, rotation_rad: float, origin_nm: Pair
) -> ScanField:
    """Return the field of a whole scan; Nion's field of view is the longer side.

    Parameters
    ----------
    size, fov_nm, center_nm, rotation_rad
        As in Nion's scan parameters.
    origin_nm : (float, float)
        Place on the specimen of an undeflected beam.
    """
    longest = max(size.height, size.width)
    return ScanField(
        (size.height, size.width),
        (fov_nm * size.height / longest, fov_nm * size.width / longest),
        (center_nm.y + origin_nm[0], center_nm.x + origin_nm[1]),
        -math.degrees(rotation_rad),
    )


def field_of(parameters: scan_base.ScanFrameParameters, origin_nm: Pair) -> ScanField:
    """Return the field of scan parameters: the whole scan, a subscan, a line scan or a section.

    Parameters
    ----------
    parameters : ScanFrameParameters
    origin_nm : (float, float)
        Place on the specimen of an undeflected beam.
    """
    grid = ScanPlan.of(parameters).grid
    context_size = parameters.pixel_size
    part, center = parameters.subscan_fractional_size, parameters.subscan_fractional_center
    is_section = parameters.subscan_type_partial
    if grid is not None and (is_section or parameters.subscan_pixel_size is None):
        if is_section and parameters.subscan_pixel_size != parameters.pixel_size:
            raise ParameterError("a scan that leaves positions out cannot be cut into sections; acquire it in one go")
        context_size = Geometry.IntSize(*grid)
    whole = context_field(context_size, parameters.fov_nm, parameters.center_nm, parameters.rotation_rad, origin_nm)
    size = parameters.scan_size
    shape = grid if grid is not None else (size.height, size.width)
    if part is None or center is None:
        return dataclasses.replace(whole, shape=shape)
    return ScanField(
        shape,
        (part.height * whole.fov_nm[0], part.width * whole.fov_nm[1]),
        whole.place(center),
        whole.rotation_deg + math.degrees(parameters.subscan_rotation),
    )
