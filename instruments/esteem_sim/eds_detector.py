"""The X-ray detector: counts of each visit as spectra for Nion, and as the events that they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from nion.instrumentation import camera_base
from numpy.typing import DTypeLike, NDArray

from esteem_sim import spectrometer
from esteem_sim.calibrations import EnergyCalibrator
from esteem_sim.driven_camera import DrivenCamera
from esteem_sim.frame_run import Drawing
from esteem_sim.instrument import Instrument
from esteem_sim.scene import Scene
from esteem_sim.visits import Visits
from esteemcore import events, scan

SPECTRUM_S = 10e-6
"""Shortest dwell in s."""
CHUNK = 512
"""Visits that are drawn at a time, at most."""
COUNTS = "counts"
"""Key of the camera parameters: True for frames in uint16, see `EdsDetector`."""

_VIEW_STEPS = 64
_VIEW_SEED = 2**20


class EdsDetector(DrivenCamera):
    """An X-ray detector that Nion takes for a camera of one row and 2,048 channels of 10 eV.

    Frames are ``(1, 2048)``, or ``(2048,)`` where Nion asks for the sum: uint16 with
    ``parameters.set_parameter("counts", True)``, as Esteem's panels take them, else float32 as Nion's own need it.
    `events` has the same X-rays as a list. The solid angle is that of the control ``EDS_SolidAngle``.

    Parameters
    ----------
    camera_id, name : str
    instrument : Instrument
    """

    def __init__(self, camera_id: str, name: str, instrument: Instrument) -> None:
        super().__init__(camera_id, name, instrument, "eds", SPECTRUM_S, 500.0)
        self.has_processed_channel = True
        self._lists: list[events.SparseSI] = []

    @property
    def events(self) -> events.SparseSI:
        """The X-rays of the present or last run, shape (1, visits, channels), in the order of time."""
        lists = list(self._lists)
        visits = sum(part.shape[1] for part in lists)
        starts = np.cumsum([0, *(part.offset[-1] for part in lists)])
        offset = [np.zeros(1, np.int64), *(part.offset[1:] + start for part, start in zip(lists, starts, strict=False))]
        return events.SparseSI(
            (1, visits, spectrometer.EDS_CHANNELS),
            np.dtype(np.uint16),
            np.concatenate(offset),
            np.concatenate([np.zeros(0, np.uint32), *(part.channel for part in lists)]),
            np.concatenate([np.zeros(0, np.uint16), *(part.count for part in lists)]),
        )

    def get_camera_calibrator(self, *, instrument_controller: Any, **kwargs: Any) -> camera_base.CameraCalibrator:
        """Return the energy axis."""
        return EnergyCalibrator(lambda: (0.0, spectrometer.KEV_PER_CHANNEL), "keV")

    def frame_shape(self, parameters: camera_base.CameraFrameParameters) -> tuple[int, ...]:
        """Return the shape of a frame as it comes in a run."""
        return self.sensor_dimensions[1:] if parameters.processing == "sum_project" else self.sensor_dimensions

    def frame_dtype(self, parameters: camera_base.CameraFrameParameters) -> DTypeLike:
        """Return uint16 for those who ask for counts, else float32."""
        return np.uint16 if parameters.get_parameter(COUNTS, False) else np.float32

    def chunk(self, parameters: camera_base.CameraFrameParameters) -> int:
        """Return how many visits are drawn at a time, at most."""
        return CHUNK

    def drawing(self, scene: Scene, parameters: camera_base.CameraFrameParameters, seed: int) -> Drawing:
        """Return what draws the X-rays of a run, and forget those of the last one."""
        sampler = spectrometer.eds_sampler(self._instrument.controls, scene.sample.composition, seed)
        self._lists = lists = []

        def draw(visits: Visits, out: NDArray[Any]) -> None:
            found = sampler.events(visits.content(scene.sample.composition), visits.electrons)
            lists.append(found)
            out[...] = found.to_dense().reshape(out.shape)

        return draw

    def describe(self, parameters: camera_base.CameraFrameParameters, seed: int) -> Mapping[str, Any]:
        """Return how the X-rays were made."""
        return {"seed": seed, "solid_angle_sr": spectrometer.eds_detector(self._instrument.controls).solid_angle_sr}

    def look(self, scene: Scene, exposure_s: float) -> NDArray[np.float32]:
        """Return the X-rays of an exposure, wherever the beam goes meanwhile."""
        controls, composition = self._instrument.controls, scene.sample.composition
        sampler = spectrometer.eds_sampler(controls, composition, _VIEW_SEED + self._frame_number)
        electrons = scan.charge_e(max(0.0, self._instrument.current_pa), exposure_s) / _VIEW_STEPS
        visits = self.visits_in_view(_VIEW_STEPS, electrons)
        spectra = sampler.events(visits.content(composition), visits.electrons).to_dense()
        return spectra.sum(axis=1, dtype=np.float32)

    def nothing(self) -> NDArray[np.float32]:
        """Return a spectrum without X-rays."""
        return np.zeros(self.sensor_dimensions, np.float32)
