"""Frames of a scan, one after the other: their start, their exposure, their end."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from typing import Any

from nion.instrumentation import scan_base

from esteem_sim.preparation import Preparation
from esteem_sim.scan_field import field_of
from esteem_sim.scan_frame import FrameEndedError, ScanFrame, State
from esteem_sim.scan_host import ScanHost
from esteem_sim.scene import CHANNELS
from esteem_sim.visits import Visits
from esteemcore.errors import EsteemError
from nionswift_plugin.esteem_scan.scan_plan import SYNCHRONIZED, ScanPlan

WAIT_S = 0.1
"""Time between two looks while it is not known what there is to see."""

Elements = list[dict[str, Any]]


class ScanFrames:
    """Starts frames with the present parameters, lets the beam on for them and charges them at their end.

    Parameters
    ----------
    instrument : ScanHost

    Attributes
    ----------
    seed : int
        Seed of the counting noise.
    start_error : BaseException or None
        Why the last frame could not be started, for a camera that waits for it.
    preparation : Preparation
        Of the next synchronized frame.
    driver_id : str or None
        The camera that drives synchronized frames; others follow. None: whoever asks.
    """

    def __init__(self, instrument: ScanHost) -> None:
        self.seed = 0
        self.start_error: BaseException | None = None
        self.preparation = Preparation(time.monotonic)
        self.driver_id: str | None = None
        self._instrument = instrument
        self._enabled = [True, True] + [False] * (len(CHANNELS) - 2)
        self._parameters = scan_base.ScanFrameParameters()
        self._frame: ScanFrame | None = None
        self._last: ScanFrame | None = None
        self._number = self._prepared = 0
        self._in_view = 0
        self._is_continuous = False
        self._buffer: list[Elements] = []
        self._sequence_left: int | None = None
        self._reader: int | None = None
        self._lock = threading.RLock()

    @property
    def is_dark(self) -> bool:
        """Whether the user has shut the blanker."""
        return self._instrument.gate.is_shut

    @property
    def is_scanning(self) -> bool:
        """Whether a frame is in progress."""
        return self._frame is not None

    @property
    def frame(self) -> ScanFrame | None:
        """The frame in progress."""
        return self._frame

    @property
    def last_frame(self) -> ScanFrame | None:
        """The frame before, with its true places."""
        return self._last

    def synchronized_frame(self) -> ScanFrame | None:
        """Return the frame that waits for a camera, if any."""
        frame = self._frame
        if frame is not None and frame.is_synchronized and frame.advanced == 0 and frame.state == "running":
            return frame
        return None

    def driven_frame(self) -> ScanFrame | None:
        """Return the synchronized frame since the last preparation, once begun, for a camera that follows."""
        with self._lock:
            for frame in (self._frame, self._last):
                if frame is not None and frame.is_synchronized and frame.number > self._prepared and frame.has_begun:
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
            # no failure of the scan device: the camera says it, unless it is aborted as well
            reason = f"stopped before the first frame: {self.preparation.refusal}"
            self.start_error = FrameEndedError(reason, is_abort=True)
            frame.end("aborted", reason)
        else:
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
                frame.begin(scene, self._instrument.motion, stage.suffered)
        return frame.has_begun

    def advance(self, frame: ScanFrame, count: int) -> Visits:
        """Move a synchronized frame on by some visits and return them; its last visit ends the exposure."""
        visits = frame.advance(count, dark=self.is_dark)
        if frame.advanced == len(frame.pattern):
            self._end_exposure(frame, "complete")
        return visits

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

    def fail(self, reason: str) -> None:
        """End the frame in progress, because something that records it has failed."""
        self._halt("failed", reason)

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
