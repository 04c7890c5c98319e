"""The scan device: any visit order, live or driven by a camera."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from nion.instrumentation import scan_base, stem_controller
from nion.utils import Geometry

from esteem_sim.scan_field import Pair, ScanField, context_field, field_of
from esteem_sim.scan_frame import ScanFrame
from esteem_sim.scan_frames import WAIT_S, Elements, ScanFrames
from esteem_sim.scan_host import ScanHost
from esteem_sim.scene import CHANNELS
from nionswift_plugin.esteem_scan.scan_plan import prepare_next_frame

SLICE_S = 0.005
"""Shortest time between two looks at a frame in s."""
SYNCHRONIZED_SLICE_S = 0.2
"""The same for a frame that a camera drives: its own images are of little interest then, and Nion draws each anew."""
VIEW_BUFFER = 20
"""Frames of the live view that are kept."""

Area = tuple[tuple[int, int], tuple[int, int]]


class ScanDevice(ScanFrames, scan_base.ScanDevice):
    """A scan device with a free visit order, see `ScanPlan`.

    Live views return images with the visits so far at their positions; synchronized frames return time order, and who
    collects them puts each visit into its place (`ScanPlan.visits`).
    """

    def __init__(self, device_id: str, name: str, instrument: ScanHost) -> None:
        ScanFrames.__init__(self, instrument)
        self.scan_device_id = device_id
        self.scan_device_name = name
        # Nion gives an instrument that has not pinned its scan device any primary one; another simulator keeps its own
        self.scan_device_is_secondary = True
        self.on_device_state_changed: (
            Callable[[Sequence[scan_base.ScanFrameParameters], Sequence[tuple[str, bool]]], None] | None
        ) = None
        self._probe: tuple[ScanField, Geometry.FloatPoint] | None = None

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
        self.start_error, self._prepared = None, self._number
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

    # reading --------------------------------------------------------------------------------------------------------

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
