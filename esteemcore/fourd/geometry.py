"""How scan and detector lie to each other and what the probe is."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core import checks
from esteemcore._core.errors import CalibrationError, ParameterError
from esteemcore.optics import parse_aberrations, wavelength_nm

HIGHEST_KEV = 3000.0
"""No microscope goes beyond: a higher number was given in eV or V."""


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Calibrations that turn counts on a detector into a picture of the specimen.

    A scan direction v is seen on the detector as R v, with R = [[cos, -sin], [sin, cos]] of ``rotation_deg`` on
    (row, column); a ``flip`` transposes the detector before that.

    Parameters
    ----------
    scan_step_nm : float or pair of float
        Distance of scan positions in nm, or (row, column).
    beam_energy_kev : float
        Beam energy in keV.
    semiangle_mrad : float
        Convergence semi-angle in mrad.
    pixel_mrad : float or pair of float
        Size of a detector pixel in mrad, or (row, column).
    center : pair of float, optional
        Optical axis on the detector, (row, column) in pixels with pixel centres at integers. Default: (ky/2, kx/2).
    rotation_deg : float
        Angle from the scan to the detector in degrees. 180 degrees too much inverts the contrast of a phase image.
    flip : bool
        True when the detector is transposed.
    aberrations : mapping, optional
        ``{"C10": nm, "C12": (nm, rad), "C30": nm, ...}``, see `esteemcore.optics.parse_aberrations`; C10 = -defocus.
        Azimuths run on the detector, its transposition undone, from columns towards rows; they do not turn with the
        scan.

    Raises
    ------
    CalibrationError
        If a calibration is missing (None), not a number, or impossible.
    """

    scan_step_nm: float | tuple[float, float]
    beam_energy_kev: float
    semiangle_mrad: float
    pixel_mrad: float | tuple[float, float]
    center: tuple[float, float] | None = None
    rotation_deg: float = 0.0
    flip: bool = False
    aberrations: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        for name, unit in (
            ("scan_step_nm", "nm"),
            ("beam_energy_kev", "keV"),
            ("semiangle_mrad", "mrad"),
            ("pixel_mrad", "mrad"),
            ("rotation_deg", "degrees"),
        ):
            if getattr(self, name) is None:
                raise CalibrationError(f"{name} is missing; set it from the instrument or type it in {unit}")
        try:
            for name, unit in (("scan_step_nm", "nm"), ("pixel_mrad", "mrad")):
                pair = _pair(name, getattr(self, name), unit)
                object.__setattr__(self, name, pair[0] if pair[0] == pair[1] else pair)
            energy = checks.positive("beam_energy_kev", self.beam_energy_kev, "keV")
            if energy > HIGHEST_KEV:
                raise ParameterError(
                    f"beam_energy_kev is {energy:g} keV; expected at most {HIGHEST_KEV:g} keV (keV, not eV or V)"
                )
            object.__setattr__(self, "beam_energy_kev", energy)
            object.__setattr__(self, "semiangle_mrad", checks.positive("semiangle_mrad", self.semiangle_mrad, "mrad"))
            object.__setattr__(self, "rotation_deg", checks.finite("rotation_deg", self.rotation_deg, "degrees"))
            if self.flip not in (False, True):
                raise ParameterError(f"flip is {self.flip!r}; expected True (the detector is transposed) or False")
            object.__setattr__(self, "flip", bool(self.flip))
            if self.center is not None:
                if np.shape(self.center) != (2,):
                    raise ParameterError(f"center is {self.center!r}; expected (row, column) in pixels")
                object.__setattr__(self, "center", tuple(checks.finite("center", c, "pixels") for c in self.center))
            parse_aberrations(self.aberrations)
        except (ParameterError, TypeError) as error:
            raise CalibrationError(str(error)) from None
        object.__setattr__(
            self,
            "aberrations",
            {
                name: tuple(map(float, value)) if np.ndim(value) else float(value)
                for name, value in (self.aberrations or {}).items()
            },
        )

    def __hash__(self) -> int:
        """Hash by value, so that what follows from a geometry can be kept."""
        values = [getattr(self, field.name) for field in dataclasses.fields(self) if field.name != "aberrations"]
        return hash((*values, repr(sorted((self.aberrations or {}).items()))))

    @property
    def wavelength_nm(self) -> float:
        """Electron wavelength in nm."""
        return wavelength_nm(self.beam_energy_kev)

    @property
    def step_nm(self) -> tuple[float, float]:
        """Scan step (row, column) in nm."""
        return _pair("scan_step_nm", self.scan_step_nm, "nm")

    @property
    def pixel_pair_mrad(self) -> tuple[float, float]:
        """Detector pixel (row, column) in mrad."""
        return _pair("pixel_mrad", self.pixel_mrad, "mrad")

    @property
    def disk_px(self) -> tuple[float, float]:
        """Half axes (row, column) of the bright-field disk in detector pixels."""
        row, column = self.pixel_pair_mrad
        return self.semiangle_mrad / row, self.semiangle_mrad / column

    def center_px(self, frame_shape: tuple[int, int]) -> tuple[float, float]:
        """Return the optical axis (row, column) on the detector in pixels."""
        return self.center if self.center is not None else (frame_shape[0] / 2, frame_shape[1] / 2)

    def detector_mrad(self, frame_shape: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the angles (along rows, along columns) in mrad of every pixel, each (ky, kx), with the flip undone."""
        row0, column0 = self.center_px(frame_shape)
        pitch_row, pitch_column = self.pixel_pair_mrad
        row = (np.arange(frame_shape[0]) - row0)[:, None] * pitch_row + np.zeros(frame_shape)
        column = (np.arange(frame_shape[1]) - column0)[None, :] * pitch_column + np.zeros(frame_shape)
        return (column, row) if self.flip else (row, column)

    def to_detector(
        self, row: NDArray[np.float64], column: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Turn vectors (row, column) from scan to detector axes."""
        cos, sin = self._cos_sin
        return cos * row - sin * column, sin * row + cos * column

    def to_scan(
        self, row: NDArray[np.float64], column: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Turn vectors (row, column) from detector to scan axes."""
        cos, sin = self._cos_sin
        return cos * row + sin * column, -sin * row + cos * column

    @property
    def _cos_sin(self) -> tuple[float, float]:
        angle = math.radians(self.rotation_deg)
        return math.cos(angle), math.sin(angle)

    def bright_field(self, frame_shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return the pixels (ky, kx) whose centres lie inside the bright-field disk.

        Raises
        ------
        CalibrationError
            If the disk does not lie wholly on the detector, or covers fewer than 12 pixels.
        """
        mask = np.hypot(*self.detector_mrad(frame_shape)) <= self.semiangle_mrad
        pitch = self.pixel_pair_mrad
        radius = [self.semiangle_mrad / p for p in pitch]
        center = self.center_px(frame_shape)
        room = [min(c + 0.5, n - 0.5 - c) for c, n in zip(center, frame_shape, strict=True)]
        if any(r > free for r, free in zip(radius, room, strict=True)):
            raise CalibrationError(
                f"the bright-field disk (radius {radius[0]:.1f} x {radius[1]:.1f} px at {self.semiangle_mrad:g} mrad) "
                f"around ({center[0]:.1f}, {center[1]:.1f}) does not fit on the detector of {frame_shape[0]} x "
                f"{frame_shape[1]} pixels; check semiangle_mrad, pixel_mrad and center"
            )
        if int(mask.sum()) < 12:
            raise CalibrationError(
                f"the bright-field disk covers only {int(mask.sum())} pixels; check semiangle_mrad "
                f"({self.semiangle_mrad:g}) and pixel_mrad ({pitch[0]:g}, {pitch[1]:g})"
            )
        return mask


def _pair(name: str, value: Any, unit: str) -> tuple[float, float]:
    """Return a number, or a pair of them, as a pair of positive floats."""
    if np.ndim(value) == 0:
        return (checks.positive(name, value, unit),) * 2
    if len(value) != 2:
        raise ParameterError(f"{name} is {value!r}; expected a number or (row, column) in {unit}")
    return checks.positive(name, value[0], unit), checks.positive(name, value[1], unit)
