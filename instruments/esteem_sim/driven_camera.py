"""What the simulated cameras have in common: they drive the scan, look on, and hand over all that they have taken."""

from __future__ import annotations

import abc
import functools
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from nion.data import DataAndMetadata
from nion.device_kit import CameraDevice
from nion.instrumentation import camera_base
from numpy.typing import DTypeLike, NDArray

from esteem_sim.frame_memory import FrameMemory
from esteem_sim.frame_run import Drawing, FrameRun
from esteem_sim.instrument import Instrument
from esteem_sim.places import FollowedPlaces, ParkedPlaces, Places, ScannedPlaces
from esteem_sim.scene import Scene
from esteem_sim.visits import Visits
from esteemcore import scan
from esteemcore.errors import StreamError

NOTHING_TO_SEE_S = 0.25
"""Pause of the live view while it is not known what there is to see, which leaves the computer to that."""
VIEW = "camera view"
SEQUENCE = "camera sequence"

_PARTIAL_S = 0.1

Parameters = camera_base.CameraFrameParameters


class DrivenCamera(camera_base.CameraDevice3):
    """A camera that takes a frame at each visit of the scan device, in the order of time.

    It drives the scan, unless Nion's synchronized acquisition is told of another camera: then it exposes at the visits
    of that one's frames.

    Parameters
    ----------
    camera_id, name : str
    instrument : Instrument
    kind : str
        Nion's type of camera and of its signal.
    shortest_s : float
        Shortest exposure in s.
    exposure_ms : float
        First exposure of the live view in ms.

    Attributes
    ----------
    is_paced : bool
        Deliver frames in real time (default), or as fast as they can be drawn.
    seed : int
        Run k draws with the seed ``seed + k``.
    follows_scan : bool
        It can record a scan that another camera drives.
    """

    def __init__(
        self, camera_id: str, name: str, instrument: Instrument, kind: str, shortest_s: float, exposure_ms: float
    ) -> None:
        self.camera_id = camera_id
        self.camera_name = name
        self.camera_type = kind
        self.signal_type = kind
        self.is_paced = True
        self.seed = 0
        self.runs = 0
        self.shortest_s = shortest_s
        self.follows_scan = True
        self._instrument = instrument
        self._parameters = Parameters({"exposure_ms": exposure_ms})
        self._run: FrameRun | None = None
        self._xdata: DataAndMetadata.DataAndMetadata | None = None
        self._is_sequence = False
        self._stop = threading.Event()
        self._stop_waiting = threading.Event()
        self._is_live = self._has_beam = False
        self._view_due = 0.0
        self._frame_number = 0

    def close(self) -> None:
        """Stop."""
        self.stop_live()
        self.acquire_sequence_cancel()

    # what each camera says of itself ------------------------------------------------------------------------------

    @abc.abstractmethod
    def frame_shape(self, parameters: Parameters) -> tuple[int, ...]:
        """Return the shape of a frame as it comes in a run."""

    @abc.abstractmethod
    def frame_dtype(self, parameters: Parameters) -> DTypeLike:
        """Return the dtype of frames in a run."""

    @abc.abstractmethod
    def chunk(self, parameters: Parameters) -> int:
        """Return how many frames are drawn at a time, at most."""

    @abc.abstractmethod
    def drawing(self, scene: Scene, parameters: Parameters, seed: int) -> Drawing:
        """Return what draws the frames of a run."""

    @abc.abstractmethod
    def describe(self, parameters: Parameters, seed: int) -> Mapping[str, Any]:
        """Return what must be known to read the frames of a run."""

    @abc.abstractmethod
    def look(self, scene: Scene, exposure_s: float) -> NDArray[Any]:
        """Return what the live view shows of an exposure."""

    @abc.abstractmethod
    def nothing(self) -> NDArray[Any]:
        """Return what the live view shows without beam."""

    # what Nion asks -----------------------------------------------------------------------------------------------

    @property
    def sensor_dimensions(self) -> tuple[int, int]:
        """Pixels (rows, columns)."""
        return self._instrument.camera_sensor_dimensions(self.camera_type)

    @property
    def exposure_precision(self) -> int:
        """Exposures are set to 1 µs."""
        return -6

    @property
    def readout_area(self) -> tuple[int, int, int, int]:
        """Always the whole camera."""
        return (0, 0, *self.sensor_dimensions)

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
        """No binning."""
        return [1]

    def get_expected_dimensions(self, binning: int) -> tuple[int, int]:
        """Return the shape of a frame."""
        return self.sensor_dimensions

    def validate_frame_parameters(self, frame_parameters: Parameters) -> Parameters:
        """Return parameters that the camera can do."""
        valid = Parameters(frame_parameters.as_dict())
        valid.exposure_ms = max(round(valid.exposure_ms, 3), self.shortest_s * 1e3)
        if valid.binning not in self.binning_values:
            valid.binning = self.binning_values[0]
        return valid

    def set_frame_parameters(self, frame_parameters: Parameters) -> None:
        """Take parameters for the live view."""
        self._parameters = Parameters(frame_parameters.as_dict())

    # live view ----------------------------------------------------------------------------------------------------

    def start_live(self) -> None:
        """Start looking; the beam comes on as soon as it is known what there is to see."""
        if not self._is_live:
            self._instrument.prepare_scene()
            self._instrument.authorize_parked()
            self._is_live = True
            self._stop.clear()
            self._view_due = time.monotonic()
            self._has_beam = False

    def stop_live(self) -> None:
        """Stop looking; nobody needs the beam for it any more."""
        if self._is_live:
            self._is_live = self._has_beam = False
            self._stop.set()
            self._instrument.gate.end_view(VIEW)

    def acquire_image(self) -> dict[str, Any]:
        """Return what an exposure shows, at the pace of the exposures."""
        instrument = self._instrument
        exposure_s = max(self._parameters.exposure_ms * 1e-3, self.shortest_s)
        if self._is_live and not self._has_beam and instrument.stage.latest is not None:
            self._has_beam = True
            instrument.gate.begin_view(VIEW)
        if instrument.stage.latest is None:
            self._stop.wait(NOTHING_TO_SEE_S)
        now = time.monotonic()
        self._view_due = max(self._view_due + exposure_s, now) if self.is_paced else now
        self._stop.wait(self._view_due - now)
        scene = instrument.stage.latest
        image = self.nothing() if scene is None or instrument.is_blanked else self.look(scene, exposure_s)
        instrument.authorize_parked()
        self._frame_number += 1
        return {
            "version": 1,
            "data": image,
            "properties": {"frame_number": self._frame_number, "integration_count": 1},
        }

    def visits_in_view(self, count: int, electrons: float) -> Visits:
        """Return where the beam is during an exposure of the live view, in a number of steps.

        Parameters
        ----------
        count : int
        electrons : float
            Of each step.
        """
        instrument = self._instrument
        frame, times = instrument.scan_device.frame, np.full(count, time.monotonic())
        if frame is not None and frame.has_begun:
            places = frame.recent_places(count)
        else:
            places = instrument.scan_device.probe_place_nm + instrument.motion.drift_nm(times)
        suffered = instrument.stage.suffered
        if suffered is None:
            return Visits(places, electrons, times)
        instrument.gate.settle()
        return Visits(places, electrons, times, suffered.damage, suffered.harm(places))

    # synchronized acquisition and sequences -----------------------------------------------------------------------

    def acquire_synchronized_prepare(
        self, camera_frame_parameters: Parameters, collection_shape: Sequence[int], **kwargs: Any
    ) -> None:
        """Wait until it is known what there is to see; an abort or the safe state of the instrument ends the wait.

        Nion gives up on a run that has no frame in its first minute, but lets a camera prepare as long as it needs.
        """
        self._stop_waiting.clear()
        self._instrument.scan_device.wait_for_scene(self._stop_waiting)

    def acquire_synchronized_begin(
        self, camera_frame_parameters: Parameters, collection_shape: Sequence[int], **kwargs: Any
    ) -> camera_base.PartialData:
        """Begin a run that drives the scan device, or follows it where another camera drives."""
        count, device = int(np.prod(collection_shape)), self._instrument.scan_device
        places: Places = FollowedPlaces(device, count)
        if device.driver_id in (None, self.camera_id):
            places = ScannedPlaces(device, count, paced=self.is_paced)
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
        self, camera_frame_parameters: Parameters, count: int, **kwargs: Any
    ) -> camera_base.PartialData:
        """Begin a run at the place where the beam is parked."""
        period_s = max(camera_frame_parameters.exposure_ms * 1e-3, self.shortest_s)
        instrument = self._instrument
        instrument.prepare_scene()
        instrument.authorize_parked()
        electrons = scan.charge_e(max(0.0, instrument.current_pa), period_s)
        places = ParkedPlaces(
            instrument.scan_device,
            instrument.stage,
            instrument.motion,
            count,
            period_s,
            electrons,
            paced=self.is_paced,
            let_beam_on=lambda: instrument.gate.begin_view(SEQUENCE),
            settle=instrument.gate.settle,
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
        self, parameters: Parameters, collection_shape: tuple[int, ...], places: Places, *, is_sequence: bool
    ) -> camera_base.PartialData:
        shape = self.frame_shape(parameters)
        memory = FrameMemory(
            (int(np.prod(collection_shape)), *shape), self.frame_dtype(parameters), keep_all=is_sequence
        )
        seed = self._next_seed()
        self._is_sequence = is_sequence
        self._run = FrameRun(
            places,
            memory,
            lambda scene: self.drawing(scene, parameters, seed),
            chunk=self.chunk(parameters),
            check=functools.partial(self._instrument.faults.check_camera, self.camera_id),
        )
        self._xdata = DataAndMetadata.new_data_and_metadata(
            memory.array.reshape(*collection_shape, *shape),
            data_descriptor=DataAndMetadata.DataDescriptor(
                is_sequence, 0 if is_sequence else len(collection_shape), len(shape)
            ),
            metadata={"hardware_source": dict(self.describe(parameters, seed))},
        )
        return camera_base.PartialData(self._xdata, False, False, None, 0)

    def _continue(self, period_s: float) -> camera_base.PartialData:
        run, xdata = self._run, self._xdata
        if run is None or xdata is None:
            raise StreamError("the camera was not started")
        run.read(min(period_s, _PARTIAL_S))
        if run.failure is not None:
            if run.follows:  # who drives would know of an abort only
                self._instrument.scan_device.fail(f"{self.camera_name}: {run.failure}")
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

    def _next_seed(self) -> int:
        seed = self.seed + self.runs
        self.runs += 1
        return seed


def camera_settings(
    camera_id: str, exposures_ms: Sequence[float] = (20.0, 50.0, 200.0), binning: int = 1
) -> CameraDevice.CameraSettings:
    """Return Nion's settings with three exposures that suit a camera."""
    settings = CameraDevice.CameraSettings(camera_id)
    for index, exposure_ms in enumerate(exposures_ms):
        settings.set_frame_parameters(index, Parameters({"exposure_ms": exposure_ms, "binning": binning}))
    return settings
