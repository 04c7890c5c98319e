"""One frame of a series from Nion's devices."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from nion.utils import Geometry
from numpy.typing import NDArray

from esteemcore import multiframe
from esteemcore.errors import CancelledError, StreamError
from nionswift_plugin.esteem_multiframe import cameras, detectors
from nionswift_plugin.esteem_multiframe.detectors import Detector
from nionswift_plugin.esteem_scan import devices
from nionswift_plugin.esteem_scan.scan_plan import ScanPlan
from nionswift_plugin.esteem_scan.words import sentence

ABORT_AGAIN_S = 0.05
"""Time between two tries to abort a frame, in s."""


class Taker:
    """Acquires the frames that `esteemcore.multiframe.acquire_series` asks for.

    The scan device blanks the beam after each frame.

    Parameters
    ----------
    scan_source : HardwareSource
    channels : sequence of Detector
        Channels of the scan device to record.
    cameras : sequence of Detector
        The first one drives the scan, see `cameras.take`; empty where the scan device goes by itself.
    plan : SeriesPlan
    stop : Event
        Set by the user.
    """

    def __init__(
        self,
        scan_source: Any,
        channels: Sequence[Detector],
        cameras: Sequence[Detector],
        plan: multiframe.SeriesPlan,
        stop: threading.Event,
    ) -> None:
        self._source, self._channels, self._cameras = scan_source, list(channels), list(cameras)
        self._plan, self._stop = plan, stop
        self._tube_ev: float | None = None
        self._is_idle = threading.Event()
        self._is_idle.set()

    @property
    def source(self) -> Any:
        """The scan device."""
        return self._source

    @property
    def instrument(self) -> devices.FreeOrderInstrument:
        """The instrument of the scan device."""
        instrument: devices.FreeOrderInstrument = self._source.stem_controller
        return instrument

    def take(self, request: multiframe.FrameRequest) -> dict[str, Any]:
        """Acquire a frame.

        Raises
        ------
        CancelledError
            If the user has stopped it.
        StreamError
            If a detector gave nothing, or not all.
        """
        self._is_idle.clear()
        try:
            if self._stop.is_set():
                raise CancelledError("Stopped by the user")
            return self._take(request)
        finally:
            self._is_idle.set()

    def _take(self, request: multiframe.FrameRequest) -> dict[str, Any]:
        self._wait_for_scene()
        self._check_devices()
        if self._plan.settings.energy_step_ev:
            self._move_spectrum(request.energy_offset_ev)
        parameters = scan_parameters(self._source, self._plan, request)
        spoiled = self._spoiled
        spectra: dict[str, Any] = {}
        if self._cameras:
            images, spectra = cameras.take(self._source, self._cameras, parameters, request, self._plan, self._stop)
        else:
            images = self._scan(parameters)
        if self._stop.is_set():
            raise CancelledError("Stopped by the user")
        if self._spoiled != spoiled:  # whoever stopped the scan, what there is of it is no frame
            raise StreamError("the scan was stopped before the frame was whole; that frame is given up")
        lacking = [channel.name for channel in self._channels if channel.channel not in images]
        if lacking:
            reason = getattr(getattr(self._source, "scan_device", None), "start_error", None)
            why = f": {sentence(reason)}" if reason is not None else ""
            raise StreamError(
                f"nothing came from {', '.join(lacking)}{why}; look whether the detector is inserted and on"
            )
        return {channel.key: images[channel.channel] for channel in self._channels} | spectra

    def abort(self) -> None:
        """Stop the frame in progress and return when it has ended: the beam is blanked at once.

        Nion can abort a frame only some time after it was asked for it, so it is told again and again.
        """
        self.instrument.safe_state("Stopped by the user")
        while True:
            with contextlib.suppress(AttributeError):  # Nion has nothing to abort before its very first run
                if self._cameras:
                    self._source.grab_synchronized_abort()
                else:
                    self._source.abort_recording()
            if self._is_idle.wait(ABORT_AGAIN_S):
                return

    @contextlib.contextmanager
    def enabled(self) -> Any:
        """Read the chosen channels meanwhile, and only these."""
        wanted = {channel.channel for channel in self._channels}
        before = {i: self._source.get_channel_state(i).enabled for i in range(self._source.channel_count)}
        try:
            for index in sorted(before, key=lambda i: i not in wanted):  # never none at a time
                self._source.set_channel_enabled(index, index in wanted)
            yield
        finally:
            for index in sorted(before, key=lambda i: not before[i]):
                self._source.set_channel_enabled(index, before[index])

    @property
    def _spoiled(self) -> float:
        """Charge of frames that were not finished, in electrons."""
        return self.instrument.ledger.totals.get("spoiled", 0.0)

    def _check_devices(self) -> None:
        if self._source not in devices.scan_devices():
            raise StreamError("the scan device was removed from Nion Swift")
        there = detectors.cameras() if self._cameras else []
        for camera in self._cameras:
            if camera.source not in there:
                raise StreamError(f"{camera.name} was removed from Nion Swift")

    def _wait_for_scene(self) -> None:
        """Let a simulator compute what there is to see; real microscopes are ready."""
        instrument: Any = self.instrument
        if hasattr(instrument, "prepare_scene"):
            instrument.prepare_scene()
            while instrument.stage.current is None:
                if self._stop.wait(0.05):
                    raise CancelledError("Stopped by the user before the first frame")

    def _move_spectrum(self, offset_ev: float) -> None:
        instrument: Any = self.instrument
        if self._tube_ev is None:
            self._tube_ev = instrument.GetVal("ZLPoffset", 0.0)
        if not instrument.SetVal("ZLPoffset", self._tube_ev + offset_ev):
            raise StreamError(
                "the spectrum cannot be moved: the instrument has no drift tube ('ZLPoffset'); set the energy step to 0"
            )

    def _scan(self, parameters: Any) -> dict[int, NDArray[Any]]:
        found = {}
        indexes = {channel.channel_id: channel.channel for channel in self._channels}
        parameters.enabled_channel_indexes = sorted(indexes.values())
        for xdata in self._source.record_immediate(parameters):
            channel_id = xdata.metadata["hardware_source"]["channel_id"] if xdata is not None else None
            if channel_id in indexes:
                found[indexes[channel_id]] = np.array(xdata.data, np.float32)
        return found


def scan_parameters(source: Any, plan: multiframe.SeriesPlan, request: multiframe.FrameRequest) -> Any:
    """Return Nion's parameters of a frame: where it is, its size, its times, its order."""
    settings, order, region = plan.settings, request.order, request.region
    parameters = whole(source.get_current_frame_parameters())
    origin = np.subtract(source.stem_controller.field(parameters).center_nm, tuple(parameters.center_nm))
    center = np.subtract(region.center_nm, origin)
    parameters.pixel_size = order.shape
    parameters.fov_nm = max(region.fov_nm)
    parameters.center_nm = Geometry.FloatPoint(float(center[0]), float(center[1]))
    parameters.rotation_rad = -math.radians(region.rotation_deg + order.rotation_deg)
    parameters.pixel_time_us = settings.dwell_s / settings.subpixels**2 * 1e6
    scan_plan = ScanPlan(
        order.pattern, seed=order.seed, reseed=False, flyback_us=settings.flyback_s * 1e6, blank="frames"
    )
    scan_plan.put(parameters)
    return parameters


def whole(parameters: Any) -> Any:
    """Take a subscan out of scan parameters."""
    parameters.subscan_pixel_size = None
    parameters.subscan_fractional_size = None
    parameters.subscan_fractional_center = None
    return parameters
