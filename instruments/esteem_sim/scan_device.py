"""The scan device: any visit order, live or driven by a camera."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from nion.instrumentation import scan_base, stem_controller
from nion.utils import Geometry
from numpy.typing import NDArray

from esteem_sim.beam_gate import BeamGate
from esteem_sim.faults import Faults
from esteem_sim.preparation import Preparation
from esteem_sim.scan_field import Pair, ScanField, context_field, field_of
from esteem_sim.scan_frame import FrameEndedError, ScanFrame, State
from esteem_sim.specimen_stage import CHANNELS, SpecimenStage
from esteemcore.errors import EsteemError
from nionswift_plugin.esteem_scan.scan_plan import SYNCHRONIZED, ScanPlan, prepare_next_frame

SLICE_S = 0.005
"""Shortest time between two looks at a frame in s."""
SYNCHRONIZED_SLICE_S = 0.2
"""The same for a frame that a camera drives: its own images are of little interest then, and Nion draws each anew."""
WAIT_S = 0.1
"""Time between two looks while it is not known what there is to see."""
VIEW_BUFFER = 20
"""Frames of the live view that are kept."""

Elements = list[dict[str, Any]]
Area = tuple[tuple[int, int], tuple[int, int]]


class ScanHost(Protocol):
    """What the scan device needs of its instrument."""

    stage: SpecimenStage
    gate: BeamGate
    faults: Faults
    instrument_id: str

    @property
    def current_pa(self) -> float:
        """Beam current in pA."""

    @property
    def origin_nm(self) -> Pair:
        """Place on the specimen of an undeflected beam."""

    def prepare_scene(self) -> None:
        """Start computing what the detectors will see."""

    def kind_of(self, default: str) -> str:
        """Return what an exposure is for."""

    def authorize(self, frame: ScanFrame) -> None:
        """Raise if the dose budget forbids the frame."""

    def charge_frame(self, frame: ScanFrame) -> None:
        """Enter into the ledger what a frame has exposed."""

    def safe_state(self, reason: str = "") -> object:
        """Blank or park the beam."""


class ScanDevice(scan_base.ScanDevice):
    """A scan device with a free visit order, see `ScanPlan`.

    Live views return images with the visits so far at their positions; synchronized frames return time order, and who
    collects them puts each visit into its place (`ScanPlan.visits`).

    Attributes
    ----------
    seed : int
        Seed of the counting noise.
    start_error : BaseException or None
        Why the last frame could not be started, for a camera that waits for it.
    preparation : Preparation
        Of the next synchronized frame.
    """

    def __init__(self, device_id: str, name: str, instrument: ScanHost) -> None:
        self.scan_device_id = device_id
        self.scan_device_name = name
        # Nion gives an instrument that has not pinned its scan device any primary one; another simulator keeps its own
        self.scan_device_is_secondary = True
        self.on_device_state_changed: (
            Callable[[Sequence[scan_base.ScanFrameParameters], Sequence[tuple[str, bool]]], None] | None
        ) = None
        self.seed = 0
        self.start_error: BaseException | None = None
        self.preparation = Preparation(time.monotonic)
        self._instrument = instrument
        self._enabled = [True, True] + [False] * (len(CHANNELS) - 2)
        self._parameters = scan_base.ScanFrameParameters()
        self._frame: ScanFrame | None = None
        self._last: ScanFrame | None = None
        self._number = 0
        self._in_view = 0
        self._is_continuous = False
        self._probe: tuple[ScanField, Geometry.FloatPoint] | None = None
        self._buffer: list[Elements] = []
        self._sequence_left: int | None = None
        self._reader: int | None = None
        self._lock = threading.RLock()

    def close(self) -> None:
        """Stop."""
        self.cancel()

    # channels ---------------------------------------------------------------------------------------------------

    @property
    def channel_count(self) -> int:
        """Number of detectors."""
        return len(CHANNELS)

    @property
    def channels_enabled(self) -> tuple[bool, ...]:
        """Which detectors are read."""
        return tuple(self._enabled)

    def get_channel_name(self, channel_index: int) -> str:
        """Return the name of a detector."""
        return CHANNELS[channel_index]

    def set_channel_enabled(self, channel_index: int, enabled: bool) -> bool:
        """Read a detector or not, from the next frame on."""
        self._enabled[channel_index] = enabled
        if not any(self._enabled):
            self.cancel()
        return True

    # parameters -------------------------------------------------------------------------------------------------

    @property
    def current_frame_parameters(self) -> scan_base.ScanFrameParameters:
        """Parameters of the next frame."""
        return self._parameters

    def set_frame_parameters(self, frame_parameters: scan_base.ScanFrameParameters) -> None:
        """Take parameters for the next frame."""
        self._parameters = scan_base.ScanFrameParameters(frame_parameters.as_dict())

    def save_frame_parameters(self) -> None:
        """Nothing is kept outside Nion's own settings."""

    def prepare_synchronized_scan(
        self, scan_frame_parameters: scan_base.ScanFrameParameters, *, camera_exposure_ms: float, **kwargs: Any
    ) -> None:
        """Make the camera's exposure the dwell time; changes the parameters in place, once per frame of a series."""
        self.start_error = None
        self.preparation.prepare()
        scan_frame_parameters.set_parameter("pixel_time_us", camera_exposure_ms * 1000)
        prepare_next_frame(scan_frame_parameters)

    def calculate_synchronized_scan_partial_timeout(
        self, scan_frame_parameters: scan_base.ScanFrameParameters, *, camera_exposure_ms: float, **kwargs: Any
    ) -> float:
        """Return how long the scan may take to its next rows in s, see `Preparation.timeout_s`."""
        frame = self._frame or self._last
        row_s = scan_frame_parameters.scan_size.width * camera_exposure_ms / 1000
        return self.preparation.timeout_s(-math.inf if frame is None else frame.begun_at, row_s)

    def calculate_flyback_pixels(self, frame_parameters: scan_base.ScanFrameParameters) -> int:
        """Return 0: flyback is time here, and Nion copies all data again and again where it is pixels."""
        return 0

    def calculate_max_field_of_view(self, frame_parameters: scan_base.ScanFrameParameters) -> float:
        """Return the largest field of view in nm."""
        return 2000.0

    # the resting probe ------------------------------------------------------------------------------------------

    def set_scan_context_probe_position(
        self, scan_context: stem_controller.ScanContext, probe_position: Geometry.FloatPoint | None
    ) -> None:
        """Park the beam at a point of the last scan; None for its centre."""
        size, center_nm, fov_nm = scan_context.size, scan_context.center_nm, scan_context.fov_nm
        self._instrument.gate.settle()
        if probe_position is None or size is None or center_nm is None or fov_nm is None:
            self._probe = None
        else:
            field = context_field(size, fov_nm, center_nm, scan_context.rotation_rad or 0.0, (0.0, 0.0))
            self._probe = (field, probe_position)

    def set_idle_position_by_percentage(self, x: float, y: float) -> None:
        """Nion parks with `set_scan_context_probe_position`."""

    @property
    def probe_place_nm(self) -> Pair:
        """Where on the specimen (row, column) in nm the beam is parked."""
        origin = self._instrument.origin_nm
        if self._probe is None:
            return field_of(self._parameters, origin).center_nm
        field, fraction = self._probe
        row, column = field.place(fraction)
        return row + origin[0], column + origin[1]

    @property
    def is_dark(self) -> bool:
        """Whether the user has shut the blanker."""
        return self._instrument.gate.is_shut

    # frames -----------------------------------------------------------------------------------------------------

    @property
    def is_scanning(self) -> bool:
        """Whether a frame is in progress."""
        return self._frame is not None

    @property
    def frame(self) -> ScanFrame | None:
        """The frame in progress."""
        return self._frame

    def synchronized_frame(self) -> ScanFrame | None:
        """Return the frame that waits for a camera, if any."""
        frame = self._frame
        if frame is not None and frame.is_synchronized and frame.advanced == 0 and frame.state == "running":
            return frame
        return None

    def wait_for_scene(self, cancel: threading.Event) -> None:
        """Wait until it is known what the detectors see, or that this cannot be known; `begin_exposure` says which.

        Parameters
        ----------
        cancel : Event
            Ends the wait, as `Preparation.refuse` does.
        """
        stage = self._instrument.stage
        with contextlib.suppress(EsteemError):  # the frame fails for the same reason, and says it
            self._instrument.prepare_scene()
            while stage.current is None and not self.preparation.refusal and not cancel.wait(WAIT_S):
                pass

    def start_frame(self, is_continuous: bool) -> int:
        """Start a frame, and with ``is_continuous`` one after the other; return its number."""
        with self._lock:
            if self._frame is None:
                self._is_continuous = is_continuous
                self._in_view = 0
                self._buffer.clear()
                try:
                    self._start_next_frame()
                except BaseException as error:
                    self._is_continuous = False
                    self.start_error = error
                    raise
            return self._number

    def _start_next_frame(self) -> ScanFrame:
        parameters = scan_base.ScanFrameParameters(self._parameters.as_dict())
        plan = ScanPlan.of(parameters)
        if not parameters.get_parameter(SYNCHRONIZED, 0):
            dataclasses.replace(plan, frame=plan.frame + self._in_view).put(parameters)
            default = "live view" if self._is_continuous and self._sequence_left is None else "record"
        else:
            default = "acquisition"
        frame = ScanFrame(
            self._number + 1,
            parameters,
            field_of(parameters, self._instrument.origin_nm),
            self._instrument.current_pa,
            [channel for channel, enabled in enumerate(self._enabled) if enabled],
            self._instrument.kind_of(default),
            is_continuous=self._is_continuous,
            seed=self.seed,
        )
        if frame.is_synchronized and self.preparation.refusal:
            raise FrameEndedError(f"stopped before the first frame: {self.preparation.refusal}", is_abort=True)
        self._instrument.authorize(frame)
        self._number += 1
        if frame.is_continuous and not frame.is_synchronized and self._in_view and self._last is not None:
            frame.show_before(self._last)
        self._in_view += 1
        if self._sequence_left is not None:
            self._sequence_left -= 1
        self._frame = frame
        return frame

    def begin_exposure(self, frame: ScanFrame) -> bool:
        """Let the beam on for a frame as soon as it is known what the detectors see; return whether it is on.

        A live view goes on with what was seen under the optics of before; everything else waits.
        """
        if frame.has_begun:
            return True
        stage = self._instrument.stage
        self._instrument.prepare_scene()
        is_view = frame.is_continuous and not frame.is_synchronized
        scene = (stage.latest if is_view else None) or stage.current
        if scene is None:
            return False
        with self._lock:
            if frame.state == "running":
                self._instrument.gate.begin_scan()
                frame.begin(scene)
        return frame.has_begun

    def advance(self, frame: ScanFrame, count: int) -> tuple[NDArray[np.float64], bool]:
        """Move a synchronized frame on by some visits; its last visit ends the exposure.

        Returns
        -------
        places : ndarray of float64, shape (n, 2)
            Where they are on the specimen, in nm.
        is_dark : bool
            Whether they are without beam.
        """
        is_dark = self.is_dark
        places = frame.advance(count, dark=is_dark)
        if frame.advanced == len(frame.pattern):
            self._end_exposure(frame, "complete")
        return places, is_dark

    def _end_exposure(self, frame: ScanFrame, state: State, reason: str = "") -> None:
        with self._lock:
            if not frame.end(state, reason, is_dark=self.is_dark):
                return
            if frame.is_synchronized and not frame.has_begun:
                self.start_error = FrameEndedError(reason, is_abort=state == "aborted")
            goes_on = state == "complete" and self._is_continuous and self._sequence_left != 0
            if frame.has_begun:
                self._instrument.gate.end_scan(hold=goes_on and frame.plan.blank == "never")
                self._instrument.charge_frame(frame)

    def cancel(self) -> None:
        """Stop at once: the beam leaves the specimen, what was exposed is charged.

        A frame that a camera drives goes on when Nion's reading thread asks: Nion puts off a live view in that way that
        somebody has started meanwhile. Who aborts asks from another thread first.
        """
        frame = self._frame
        if frame is not None and frame.is_synchronized and threading.get_ident() == self._reader:
            return
        self._halt("aborted", "the scan was aborted")

    def stop(self) -> None:
        """Start no more frames after this one."""
        with self._lock:
            self._is_continuous = False
            self._sequence_left = None
            if self._frame is None:
                self._instrument.gate.end_scan()

    def _halt(self, state: State, reason: str) -> None:
        with self._lock:
            self._is_continuous = False
            self._sequence_left = None
            frame, self._frame = self._frame, None
            if frame is not None:
                if state == "failed" and frame.is_synchronized and frame.state == "complete":
                    self.preparation.fail_late(reason)
                self._end_exposure(frame, state, reason)
                self._last = frame
            self._instrument.gate.end_scan()

    def read_partial(
        self, frame_number: int | None, pixels_to_skip: int
    ) -> tuple[Elements, bool, bool, Area, int | None, int]:
        """Return what there is of the frame, see `nion.instrumentation.scan_base.ScanDevice`."""
        self._reader = threading.get_ident()
        report_at = time.monotonic() + SYNCHRONIZED_SLICE_S
        try:
            while True:
                time.sleep(SLICE_S)
                with self._lock:
                    frame = self._frame
                    if frame is None and self._is_continuous and self._sequence_left != 0:
                        frame = self._start_next_frame()
                if frame is None:
                    return self._read_nothing()
                if not frame.is_synchronized and not self.begin_exposure(frame):
                    time.sleep(WAIT_S)
                complete = frame.fill(dark=self.is_dark)
                self._instrument.faults.check_scan(frame.filled)
                has_ended = complete or frame.state in ("aborted", "failed")
                if has_ended or not frame.is_synchronized or time.monotonic() >= report_at:
                    break
        except BaseException as error:
            reason = f"scan device: {error or type(error).__name__}"
            self._halt("failed", reason)
            self._instrument.safe_state(reason)
            raise
        if complete:
            self._end_exposure(frame, "complete")
        return self._read(frame, has_ended, pixels_to_skip)

    def _read(
        self, frame: ScanFrame, finished: bool, pixels_to_skip: int
    ) -> tuple[Elements, bool, bool, Area, int | None, int]:
        columns = frame.shape[1]
        in_rows = frame.is_synchronized or (not frame.is_continuous and frame.plan.pattern == "raster")
        if finished:
            area: Area = ((0, 0), frame.shape)
            pixels_to_skip = 0
        elif in_rows:
            first, last = pixels_to_skip // columns, frame.filled // columns
            area = ((first, 0), (last - first, columns))
            pixels_to_skip = last * columns
        elif frame.is_continuous and frame.filled:
            area = ((0, 0), frame.shape)
            pixels_to_skip = 1
        else:
            area = ((0, 0), (0, columns))
            pixels_to_skip = 1 if frame.filled else 0
        elements = frame.elements()
        if finished:
            self._keep(frame, elements)
        return elements, finished, False, area, frame.number, pixels_to_skip

    def _read_nothing(self) -> tuple[Elements, bool, bool, Area, int | None, int]:
        """Return the last frame again: somebody reads on after the end, and no beam may come from that."""
        frame = self._last
        if frame is None:
            parameters = scan_base.ScanFrameParameters(self._parameters.as_dict())
            channels = [channel for channel, enabled in enumerate(self._enabled) if enabled]
            field = field_of(parameters, self._instrument.origin_nm)
            frame = ScanFrame(0, parameters, field, 0.0, channels, "nothing", is_continuous=False, seed=0)
        return frame.elements(), True, False, ((0, 0), frame.shape), frame.number, 0

    def _keep(self, frame: ScanFrame, elements: Elements) -> None:
        with self._lock:
            self._last = frame
            if self._frame is frame:
                self._frame = None
            if frame.state == "complete" and not frame.is_synchronized:
                self._buffer.append(elements)
                if self._sequence_left is None:
                    del self._buffer[:-VIEW_BUFFER]

    # buffers of frames ------------------------------------------------------------------------------------------

    def set_sequence_buffer_size(self, buffer_size: int) -> None:
        """Prepare for a series of exactly this many frames; 0 for live views again."""
        with self._lock:
            self._sequence_left = buffer_size or None
            self._buffer.clear()

    def get_sequence_buffer_count(self) -> int:
        """Return the number of frames that wait to be taken."""
        return len(self._buffer)

    def pop_sequence_buffer_data(self) -> Elements:
        """Return the oldest waiting frame, once."""
        with self._lock:
            return self._buffer.pop(0)

    def get_buffer_data(self, start: int, count: int) -> list[Elements]:
        """Return kept frames; a negative start counts from the newest."""
        with self._lock:
            first = max(0, len(self._buffer) + start) if start < 0 else start
            return self._buffer[first : first + count]
