"""The one-bit camera: packed frames at up to 12,500 per second, and sums of them for the live view."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from nion.data import DataAndMetadata
from nion.device_kit import CameraDevice
from nion.instrumentation import camera_base
from numpy.typing import NDArray

from esteem_sim.calibrations import DiffractionCalibrator
from esteem_sim.frame_memory import FrameMemory
from esteem_sim.frame_run import FrameRun, draw
from esteem_sim.instrument import Instrument
from esteem_sim.optics import FRAME_SHAPE
from esteem_sim.places import ParkedPlaces, Places, ScannedPlaces
from esteemcore import scan, simulate
from esteemcore.errors import StreamError

FRAME_S = 80e-6
"""Shortest frame in s: 12,500 frames per second."""
NOTHING_TO_SEE_S = 0.25
"""Pause of the live view while it is not known what there is to see, which leaves the computer to that."""
PACKED = "packed"
"""Key of the camera parameters: True for packed frames of shape (ky, kx / 8), see `OneBitCamera`."""
VIEW = "camera view"
SEQUENCE = "camera sequence"

_PARTIAL_S = 0.1


class OneBitCamera(camera_base.CameraDevice3):
    """A counting camera whose pixels say hit or not.

    With ``parameters.set_parameter("packed", True)`` frames come as uint8 ``(ky, kx / 8)``, little-endian bit order
    along a row, as fast as they are taken; this is what Esteem's panels use. Without it they come as float32
    ``(ky, kx)``, which is all that Nion's own panels can store, at a few hundred frames per second. The live view
    shows the sum of the frames of its exposure.

    Parameters
    ----------
    camera_id, name : str
    instrument : Instrument

    Attributes
    ----------
    is_paced : bool
        Deliver frames in real time (default), or as fast as they can be drawn.
    seed : int
        Run k draws its electrons with the seed ``seed + k``.
    """

    def __init__(self, camera_id: str, name: str, instrument: Instrument) -> None:
        self.camera_id = camera_id
        self.camera_name = name
        self.camera_type = "ronchigram"
        self.signal_type = "ronchigram"
        self.is_paced = True
        self.seed = 0
        self.runs = 0
        self._instrument = instrument
        self._parameters = camera_base.CameraFrameParameters({"exposure_ms": 20.0})
        self._run: FrameRun | None = None
        self._xdata: DataAndMetadata.DataAndMetadata | None = None
        self._is_sequence = False
        self._stop = threading.Event()
        self._stop_waiting = threading.Event()
        self._is_live = self._has_beam = False
        self._view: simulate.FrameSampler | None = None
        self._view_due = 0.0
        self._frame_number = 0

    def close(self) -> None:
        """Stop."""
        self.stop_live()
        self.acquire_sequence_cancel()

    # what it is -------------------------------------------------------------------------------------------------

    @property
    def sensor_dimensions(self) -> tuple[int, int]:
        """Pixels (ky, kx)."""
        return FRAME_SHAPE

    @property
    def exposure_precision(self) -> int:
        """Exposures are set to 1 µs."""
        return -6

    @property
    def readout_area(self) -> tuple[int, int, int, int]:
        """Always the whole camera."""
        return (0, 0, *FRAME_SHAPE)

    @readout_area.setter
    def readout_area(self, readout_area_TLBR: tuple[int, int, int, int]) -> None:
        """Stay as it is."""

    @property
    def flip(self) -> bool:
        """Never flipped."""
        return False

    @flip.setter
    def flip(self, do_flip: bool) -> None:
        """Stay as it is."""

    @property
    def binning_values(self) -> list[int]:
        """No binning: a bit is a bit."""
        return [1]

    def get_expected_dimensions(self, binning: int) -> tuple[int, int]:
        """Return the shape of a frame that is not packed."""
        return FRAME_SHAPE

    def get_expected_dimensions_for_frame_parameters(
        self, frame_parameters: camera_base.CameraFrameParameters
    ) -> tuple[int, int]:
        """Return the shape of a frame as it will come."""
        return self._shape(is_packed(frame_parameters))

    def get_camera_calibrator(self, *, instrument_controller: Any, **kwargs: Any) -> camera_base.CameraCalibrator:
        """Return the calibrations of the axes."""
        return DiffractionCalibrator(lambda: self._instrument.detector)

    def validate_frame_parameters(
        self, frame_parameters: camera_base.CameraFrameParameters
    ) -> camera_base.CameraFrameParameters:
        """Return parameters that the camera can do."""
        valid = camera_base.CameraFrameParameters(frame_parameters.as_dict())
        valid.exposure_ms = max(round(valid.exposure_ms, 3), FRAME_S * 1e3)
        valid.binning = 1
        return valid

    def set_frame_parameters(self, frame_parameters: camera_base.CameraFrameParameters) -> None:
        """Take parameters for the live view."""
        self._parameters = camera_base.CameraFrameParameters(frame_parameters.as_dict())

    # live view --------------------------------------------------------------------------------------------------

    def start_live(self) -> None:
        """Start looking; the beam comes on as soon as it is known what there is to see."""
        if not self._is_live:
            self._instrument.prepare_scene()
            self._instrument.authorize_parked()
            self._is_live = True
            self._stop.clear()
            self._view = None
            self._view_due = time.monotonic()
            self._has_beam = False

    def stop_live(self) -> None:
        """Stop looking; nobody needs the beam for it any more."""
        if self._is_live:
            self._is_live = self._has_beam = False
            self._stop.set()
            self._instrument.gate.end_view(VIEW)

    def acquire_image(self) -> dict[str, Any]:
        """Return the sum of the frames of one exposure, at the pace of the exposures."""
        exposure_s = max(self._parameters.exposure_ms * 1e-3, FRAME_S)
        if self._is_live and not self._has_beam and self._instrument.stage.latest is not None:
            self._has_beam = True
            self._instrument.gate.begin_view(VIEW)
        if self._instrument.stage.latest is None:
            self._stop.wait(NOTHING_TO_SEE_S)
        now = time.monotonic()
        self._view_due = max(self._view_due + exposure_s, now) if self.is_paced else now
        self._stop.wait(self._view_due - now)
        image = self._sum_of_frames(exposure_s)
        self._instrument.authorize_parked()
        self._frame_number += 1
        return {
            "version": 1,
            "data": image,
            "properties": {"frame_number": self._frame_number, "integration_count": 1, "bits_per_frame": 1},
        }

    def _sum_of_frames(self, exposure_s: float) -> NDArray[np.float32]:
        image = np.zeros(FRAME_SHAPE, np.float32)
        instrument = self._instrument
        scene = instrument.stage.latest
        count = max(1, round(exposure_s / FRAME_S))
        if scene is None or instrument.is_blanked:
            return image
        if self._view is None or self._view.bank is not scene.bank or self._view.detector != instrument.detector:
            self._view = simulate.FrameSampler(scene.bank, instrument.detector, seed=self._next_seed())
        electrons = scan.charge_e(max(0.0, instrument.current_pa), exposure_s / count)
        frame = instrument.scan_device.frame
        frames = np.empty((min(count, 256), *self._shape(False)), np.float32)
        for first in range(0, count, len(frames)):
            n = min(len(frames), count - first)
            if frame is not None and frame.has_begun:
                places = frame.recent_places(n)
            else:
                places = np.tile(instrument.scan_device.probe_place_nm, (n, 1))
            draw(self._view, places, electrons, frames[:n], packed=False)
            image += frames[:n].sum(axis=0)
        return image

    # synchronized acquisition and sequences ---------------------------------------------------------------------

    def acquire_synchronized_prepare(
        self, camera_frame_parameters: camera_base.CameraFrameParameters, collection_shape: Sequence[int], **kwargs: Any
    ) -> None:
        """Wait until it is known what there is to see; an abort or the safe state of the instrument ends the wait.

        Nion gives up on a run that has no frame in its first minute, but lets a camera prepare as long as it needs.
        """
        self._stop_waiting.clear()
        instrument = self._instrument
        instrument.scan_device.wait_for_scene(self._stop_waiting)

    def acquire_synchronized_begin(
        self,
        camera_frame_parameters: camera_base.CameraFrameParameters,
        collection_shape: Sequence[int],
        **kwargs: Any,
    ) -> camera_base.PartialData:
        """Begin a run that drives the scan device."""
        count = int(np.prod(collection_shape))
        places = ScannedPlaces(self._instrument.scan_device, count, paced=self.is_paced)
        return self._begin(camera_frame_parameters, tuple(collection_shape), places, is_sequence=False)

    def acquire_synchronized_continue(self, *, update_period: float = 1.0, **kwargs: Any) -> camera_base.PartialData:
        """Take the frames that are due by now."""
        return self._continue(update_period)

    def acquire_synchronized_end(self, **kwargs: Any) -> None:
        """End the run."""
        self._end()

    def acquire_synchronized_cancel(self) -> None:
        """Take no more frames."""
        self.acquire_sequence_cancel()

    def acquire_sequence_begin(
        self, camera_frame_parameters: camera_base.CameraFrameParameters, count: int, **kwargs: Any
    ) -> camera_base.PartialData:
        """Begin a run at the place where the beam is parked."""
        period_s = max(camera_frame_parameters.exposure_ms * 1e-3, FRAME_S)
        instrument = self._instrument
        instrument.prepare_scene()
        instrument.authorize_parked()
        electrons = scan.charge_e(max(0.0, instrument.current_pa), period_s)
        places = ParkedPlaces(
            instrument.scan_device,
            instrument.stage,
            count,
            period_s,
            electrons,
            paced=self.is_paced,
            let_beam_on=lambda: instrument.gate.begin_view(SEQUENCE),
        )
        return self._begin(camera_frame_parameters, (count,), places, is_sequence=True)

    def acquire_sequence_continue(self, *, update_period: float = 1.0, **kwargs: Any) -> camera_base.PartialData:
        """Take the frames that are due by now."""
        return self._continue(update_period)

    def acquire_sequence_end(self, **kwargs: Any) -> None:
        """End the run."""
        self._end()

    def acquire_sequence_cancel(self) -> None:
        """Take no more frames, and let Nion hand on those that were taken; it calls this for synchronized runs, too."""
        self._stop_waiting.set()
        run = self._run
        if run is not None:
            run.cancel()
            if self._is_sequence:
                self._instrument.gate.end_view(SEQUENCE)
            run.wait_delivered()

    def _begin(
        self,
        parameters: camera_base.CameraFrameParameters,
        collection_shape: tuple[int, ...],
        places: Places,
        *,
        is_sequence: bool,
    ) -> camera_base.PartialData:
        packed = is_packed(parameters)
        shape = self._shape(packed)
        count = int(np.prod(collection_shape))
        dtype = np.uint8 if packed else np.float32
        memory = FrameMemory((count, *shape), dtype, keep_all=is_sequence)
        seed = self._next_seed()
        detector = self._instrument.detector
        self._is_sequence = is_sequence
        check = self._instrument.faults.check_camera
        self._run = FrameRun(places, memory, detector, seed=seed, packed=packed, check=check)
        self._xdata = DataAndMetadata.new_data_and_metadata(
            memory.array.reshape(*collection_shape, *shape),
            data_descriptor=DataAndMetadata.DataDescriptor(
                is_sequence, 0 if is_sequence else len(collection_shape), len(shape)
            ),
            metadata={"hardware_source": self._description(packed, seed)},
        )
        return camera_base.PartialData(self._xdata, False, False, None, 0)

    def _continue(self, period_s: float) -> camera_base.PartialData:
        run, xdata = self._run, self._xdata
        if run is None or xdata is None:
            raise StreamError("the camera was not started")
        run.read(min(period_s, _PARTIAL_S))
        if run.failure is not None:
            self._instrument.safe_state(str(run.failure))
            if run.is_delivered:
                raise run.failure
        if run.is_complete and self._is_sequence:
            self._instrument.gate.end_view(SEQUENCE)
        return camera_base.PartialData(xdata, run.is_complete, run.is_cancelled, None, run.done)

    def _end(self) -> None:
        run = self._run
        if run is not None:
            run.close()
            if self._is_sequence:
                self._instrument.gate.end_view(SEQUENCE)
        self._run = self._xdata = None

    def _description(self, packed: bool, seed: int) -> Mapping[str, Any]:
        """Return what must be known to read the frames."""
        return {
            "packed": packed,
            "bit_order": "little",
            "bits_per_pixel": 1,
            "frame_shape": list(FRAME_SHAPE),
            "kx": FRAME_SHAPE[1],
            "seed": seed,
        }

    def _next_seed(self) -> int:
        seed = self.seed + self.runs
        self.runs += 1
        return seed

    @staticmethod
    def _shape(packed: bool) -> tuple[int, int]:
        return (FRAME_SHAPE[0], FRAME_SHAPE[1] // 8) if packed else FRAME_SHAPE


def is_packed(parameters: camera_base.CameraFrameParameters) -> bool:
    """Return whether frames with these parameters come packed."""
    return bool(parameters.get_parameter(PACKED, False))


def camera_settings(camera_id: str) -> CameraDevice.CameraSettings:
    """Return Nion's settings with exposures that suit the camera and without binning."""
    settings = CameraDevice.CameraSettings(camera_id)
    for index, exposure_ms in enumerate((20.0, 50.0, 200.0)):
        settings.set_frame_parameters(
            index, camera_base.CameraFrameParameters({"exposure_ms": exposure_ms, "binning": 1})
        )
    return settings
