"""Calibrations of the camera's axes for Nion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nion.data import Calibration
from nion.instrumentation import camera_base

from esteemcore import simulate


class DiffractionCalibrator(camera_base.CameraCalibrator):
    """Angles in mrad from the beam axis, also where eight pixels share a byte.

    Parameters
    ----------
    detector : callable
        Returns the present detector.
    """

    def __init__(self, detector: Callable[[], simulate.Detector]) -> None:
        self._detector = detector

    def get_signal_calibrations(
        self, frame_parameters: camera_base.CameraFrameParameters, data_shape: Sequence[int], **kwargs: Any
    ) -> Sequence[Calibration.Calibration]:
        """Return the calibrations of rows and columns."""
        detector = self._detector()
        pixel, center = detector.pixel_mrad, detector.center
        if not isinstance(pixel, tuple) or center is None:
            raise TypeError("the detector has no calibrations")
        calibrations = []
        for axis, size in zip((0, 1)[-len(data_shape) :], data_shape, strict=True):
            per_sample = detector.shape[axis] / size if size else 1.0
            calibrations.append(Calibration.Calibration(-center[axis] * pixel[axis], pixel[axis] * per_sample, "mrad"))
        return calibrations

    def get_intensity_calibration(
        self, camera_frame_parameters: camera_base.CameraFrameParameters, **kwargs: Any
    ) -> Calibration.Calibration:
        """Return counts."""
        return Calibration.Calibration(0.0, 1.0, "counts")

    def get_counts_per_electron(self, **kwargs: Any) -> float | None:
        """One electron, one count."""
        return 1.0

    def get_pixel_angle(self, **kwargs: Any) -> float | None:
        """Return the angle of a pixel in rad."""
        pixel = self._detector().pixel_mrad
        return (pixel[1] if isinstance(pixel, tuple) else pixel) * 1e-3


class EnergyCalibrator(camera_base.CameraCalibrator):
    """The energy axis of a spectrum, also where rows were added up.

    Parameters
    ----------
    axis : callable
        Returns energy at the centre of channel 0 and width of a channel.
    units : str
    """

    def __init__(self, axis: Callable[[], tuple[float, float]], units: str) -> None:
        self._axis = axis
        self._units = units

    def get_signal_calibrations(
        self, frame_parameters: camera_base.CameraFrameParameters, data_shape: Sequence[int], **kwargs: Any
    ) -> Sequence[Calibration.Calibration]:
        """Return the calibrations of rows, if there are any, and of energies."""
        energy = Calibration.Calibration(*self._axis(), self._units)
        return [Calibration.Calibration() for _ in data_shape[1:]] + [energy]

    def get_intensity_calibration(
        self, camera_frame_parameters: camera_base.CameraFrameParameters, **kwargs: Any
    ) -> Calibration.Calibration:
        """Return counts."""
        return Calibration.Calibration(0.0, 1.0, "counts")

    def get_counts_per_electron(self, **kwargs: Any) -> float | None:
        """One electron, or one X-ray, one count."""
        return 1.0

    def get_pixel_angle(self, **kwargs: Any) -> float | None:
        """No angle: the axis is an energy."""
        return None
