"""The pixelated detector: where a scattering angle lands."""

from __future__ import annotations

import dataclasses

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError


@dataclasses.dataclass(frozen=True)
class Detector:
    """A pixelated detector in the diffraction plane.

    Parameters
    ----------
    shape : tuple of int
        Pixels ``(ky, kx)``.
    pixel_mrad : float or tuple of float
        Angle per pixel in mrad, one number or (row, column).
    center : tuple of float, optional
        Pixel (row, column) of the beam axis; pixel centres are at integers. Default ``(ky / 2, kx / 2)``.
    flip : bool
        True for a detector that records the transposed pattern: its rows run along the specimen's columns.

    Examples
    --------
    >>> from esteemcore import simulate
    >>> simulate.Detector((256, 256), pixel_mrad=0.2).center
    (128.0, 128.0)
    """

    shape: tuple[int, int] = (256, 256)
    pixel_mrad: float | tuple[float, float] = 0.2
    center: tuple[float, float] | None = None
    flip: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", checks.shape_2d("detector shape", self.shape))
        pixel = self.pixel_mrad if isinstance(self.pixel_mrad, (tuple, list)) else (self.pixel_mrad,) * 2
        center = (self.shape[0] / 2, self.shape[1] / 2) if self.center is None else tuple(self.center)
        if len(pixel) != 2 or len(center) != 2:
            raise ParameterError("pixel_mrad and center are pairs (row, column)")
        object.__setattr__(self, "pixel_mrad", tuple(checks.positive("pixel_mrad", p, "mrad") for p in pixel))
        object.__setattr__(self, "center", tuple(checks.finite("center", c, "pixels") for c in center))

    @property
    def packed_shape(self) -> tuple[int, int]:
        """Bytes of a packed one-bit frame, ``(ky, ceil(kx / 8))``."""
        return self.shape[0], -(-self.shape[1] // 8)
