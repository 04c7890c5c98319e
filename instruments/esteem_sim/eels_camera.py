"""The EELS camera: spectra at the visits of the scan device, or a dispersed line in its live view."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from nion.instrumentation import camera_base
from numpy.typing import DTypeLike, NDArray

from esteem_sim import specimen_controls, spectrometer
from esteem_sim.calibrations import EnergyCalibrator
from esteem_sim.driven_camera import DrivenCamera
from esteem_sim.frame_run import Drawing
from esteem_sim.instrument import Instrument
from esteem_sim.scene import Scene
from esteem_sim.visits import Visits
from esteemcore import scan, simulate
from esteemcore.errors import ParameterError

SPECTRUM_S = 250e-6
"""Shortest exposure in s: 4,000 spectra per second."""
CHUNK = 128
"""Spectra that are drawn at a time, at most."""
LOW_LOSS = "low_loss_share"
"""Key of the camera parameters: part of the exposure that goes to the low losses, see `EelsCamera`."""
LINE_ROWS = 5.0
"""Standard deviation of the height of the dispersed line in rows."""

_VIEW_STEPS = 16
_VIEW_SEED = 2**20
_LOW_SEED = 2**21


class EelsCamera(DrivenCamera):
    """A spectrometer's camera of 32 rows and 1,024 channels.

    Rows are added up before they are read, by all 32 at the start: frames are float32 ``(32 / binning, 1024)``, or
    ``(1024,)`` where Nion asks for the sum. Loss rises with the channels; the energy axis is that of the controls
    ``EELS_Offset``, ``ZLPoffset`` and ``EELS_Dispersion``, and does not know how the spectrum drifts
    (``EELS_EnergyDrift``, ``EELS_Instability``). Of the electrons of the beam the part ``EELS_Efficiency`` is counted.

    With ``parameters.set_parameter("low_loss_share", 0.01)`` each dwell is two exposures: frames are ``(2, 1024)``,
    first the low losses for this part of the time, with channel 0 at ``EELS_LowOffset``, then the range of the axis for
    the rest of it.

    Parameters
    ----------
    camera_id, name : str
    instrument : Instrument

    Attributes
    ----------
    is_dark_subtraction_enabled, is_gain_normalization_enabled : bool
        Take mean dark counts and gain map out; both True. ``EELS_CameraNoise`` 0 makes it a perfect counter.
    """

    def __init__(self, camera_id: str, name: str, instrument: Instrument) -> None:
        super().__init__(camera_id, name, instrument, "eels", SPECTRUM_S, 100.0)
        self._subtracts_dark = self._normalizes_gain = True
        self._parameters.binning = spectrometer.EELS_SHAPE[0]

    @property
    def binning_values(self) -> list[int]:
        """Rows that are added up; channels never are."""
        return [32, 16, 8, 4, 2, 1]

    def get_expected_dimensions(self, binning: int) -> tuple[int, int]:
        """Return the shape of a frame."""
        rows, channels = spectrometer.EELS_SHAPE
        return rows // binning if binning in self.binning_values else 1, channels

    @property
    def is_dark_subtraction_available(self) -> bool:
        """It knows its dark counts."""
        return True

    @property
    def is_dark_subtraction_enabled(self) -> bool:
        """Whether the mean dark counts are taken out."""
        return self._subtracts_dark

    @is_dark_subtraction_enabled.setter
    def is_dark_subtraction_enabled(self, is_dark_subtraction_enabled: bool) -> None:
        self._subtracts_dark = is_dark_subtraction_enabled

    @property
    def is_gain_normalization_available(self) -> bool:
        """It knows its gain map."""
        return True

    @property
    def is_gain_normalization_enabled(self) -> bool:
        """Whether the gain of the channels is made equal."""
        return self._normalizes_gain

    @is_gain_normalization_enabled.setter
    def is_gain_normalization_enabled(self, is_gain_normalization_enabled: bool) -> None:
        self._normalizes_gain = is_gain_normalization_enabled

    @property
    def calibration_controls(self) -> Mapping[str, str | int | float]:
        """Where the energy axis is among the controls, for those who do not ask the calibrator."""
        return {
            "x_scale_control": "eels_x_scale",
            "x_offset_control": specimen_controls.AXIS_OFFSET,
            "x_units_value": "eV",
            "intensity_units_value": "counts",
            "counts_per_electron_value": 1,
        }

    def get_camera_calibrator(self, *, instrument_controller: Any, **kwargs: Any) -> camera_base.CameraCalibrator:
        """Return the energy axis."""
        return EnergyCalibrator(lambda: spectrometer.energy_axis(self._instrument.controls), "eV")

    def frame_shape(self, parameters: camera_base.CameraFrameParameters) -> tuple[int, ...]:
        """Return the shape of a frame as it comes in a run."""
        shape = self.get_expected_dimensions_for_frame_parameters(parameters)
        return shape[1:] if parameters.processing == "sum_project" else shape

    def get_expected_dimensions_for_frame_parameters(
        self, frame_parameters: camera_base.CameraFrameParameters
    ) -> tuple[int, int]:
        """Return the shape of a frame as it will come."""
        if _low_loss_share(frame_parameters):
            return 2, spectrometer.EELS_SHAPE[1]
        return self.get_expected_dimensions(frame_parameters.binning)

    def frame_dtype(self, parameters: camera_base.CameraFrameParameters) -> DTypeLike:
        """Return float32."""
        return np.float32

    def chunk(self, parameters: camera_base.CameraFrameParameters) -> int:
        """Return how many frames are drawn at a time, at most."""
        shape = self.frame_shape(parameters)
        rows = shape[0] if len(shape) == 2 else 1
        return max(1, CHUNK // rows)

    def drawing(self, scene: Scene, parameters: camera_base.CameraFrameParameters, seed: int) -> Drawing:
        """Return what draws the spectra of a run."""
        controls, motion = self._instrument.controls, self._instrument.motion
        shift_ev = float(motion.energy_ev([time.monotonic()])[0])
        sampler = spectrometer.eels_sampler(controls, scene.sample.composition, seed, shift_ev)
        efficiency, share = spectrometer.eels_efficiency(controls), _low_loss_share(parameters)

        def draw(visits: Visits, out: NDArray[Any]) -> None:
            drift = motion.energy_ev(visits.time_s) - shift_ev
            content = visits.content(scene.sample.composition)
            expected = sampler.expected(content, visits.electrons * efficiency, drift)
            out[...] = self._read(sampler, expected, 1 if out.ndim == 2 else out.shape[1]).reshape(out.shape)

        if not share:
            return draw
        low = spectrometer.eels_sampler(
            controls, scene.sample.composition, seed + _LOW_SEED, shift_ev, spectrometer.low_offset_ev(controls)
        )

        def draw_both(visits: Visits, out: NDArray[Any]) -> None:
            drift = motion.energy_ev(visits.time_s) - shift_ev
            content = visits.content(scene.sample.composition)
            counted = visits.electrons * efficiency
            for row, (taking, part) in enumerate(((low, share), (sampler, 1 - share))):
                out[:, row] = self._read(taking, taking.expected(content, counted * part, drift), 1)[:, 0]

        return draw_both

    def describe(self, parameters: camera_base.CameraFrameParameters, seed: int) -> Mapping[str, Any]:
        """Return how the spectra were made."""
        controls = self._instrument.controls
        camera, share = spectrometer.eels_camera(controls), _low_loss_share(parameters)
        low = {LOW_LOSS: share, "low_loss_offset_ev": spectrometer.low_offset_ev(controls)} if share else {}
        return {
            **low,
            "seed": seed,
            "efficiency": spectrometer.eels_efficiency(controls),
            "dark_counts": camera.dark,
            "readout_sigma": camera.readout_sigma,
            "is_dark_subtracted": self._subtracts_dark,
            "is_gain_normalized": self._normalizes_gain,
        }

    def look(self, scene: Scene, exposure_s: float) -> NDArray[Any]:
        """Return what an exposure shows, wherever the beam goes meanwhile."""
        controls = self._instrument.controls
        shift_ev = float(self._instrument.motion.energy_ev([time.monotonic()])[0])
        sampler = spectrometer.eels_sampler(
            controls, scene.sample.composition, _VIEW_SEED + self._frame_number, shift_ev
        )
        counted = scan.charge_e(max(0.0, self._instrument.current_pa), exposure_s) * spectrometer.eels_efficiency(
            controls
        )
        visits = self.visits_in_view(_VIEW_STEPS, counted / _VIEW_STEPS)
        expected = sampler.expected(visits.content(scene.sample.composition), visits.electrons).sum(axis=0)
        return self._read(sampler, expected[None], self._rows_in_view).reshape(self._rows_in_view, -1)

    def nothing(self) -> NDArray[Any]:
        """Return what is read without beam."""
        composition = self._instrument.stage.sample.composition
        sampler = spectrometer.eels_sampler(self._instrument.controls, composition, _VIEW_SEED + self._frame_number)
        no_electrons = np.zeros((1, spectrometer.EELS_SHAPE[1]))
        return self._read(sampler, no_electrons, self._rows_in_view).reshape(self._rows_in_view, -1)

    @property
    def _rows_in_view(self) -> int:
        return self.get_expected_dimensions(self._parameters.binning)[0]

    def _read(self, sampler: simulate.EelsSampler, expected: NDArray[np.float64], rows: int) -> NDArray[np.float32]:
        """Return what is read of spectra (n, channels) in a number of rows, shape (n, rows, channels)."""
        camera = sampler.camera
        spread = _line(rows)[:, None] * expected[:, None]
        found = sampler.count(spread.reshape(-1, camera.channels))
        if self._subtracts_dark and camera.dark:
            found -= np.float32(camera.dark)
        if self._normalizes_gain and camera.gain_map is not None:
            found /= np.asarray(camera.gain_map, np.float32)
        return found.reshape(spread.shape)


def _low_loss_share(parameters: camera_base.CameraFrameParameters) -> float:
    """Return the part of the exposure for low losses; 0 where Nion wants rows added up, which would mix the ranges."""
    if parameters.processing == "sum_project":
        return 0.0
    share = float(parameters.get_parameter(LOW_LOSS, 0.0) or 0.0)
    if not 0 <= share < 1:
        raise ParameterError(f"{LOW_LOSS} is {share:g}; expected 0 to less than 1")
    return share


def _line(rows: int) -> NDArray[np.float64]:
    """Return the part of the dispersed line in each row, after binning to a number of rows."""
    full = spectrometer.EELS_SHAPE[0]
    height = np.exp(-(((np.arange(full) - (full - 1) / 2) / LINE_ROWS) ** 2) / 2)
    found: NDArray[np.float64] = height.reshape(rows, -1).sum(axis=1) / height.sum()
    return found
