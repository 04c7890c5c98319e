"""A run of the camera: so many frames, drawn in time and all of them handed on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

from esteem_sim.frame_memory import FrameMemory
from esteem_sim.pacing import Schedule
from esteem_sim.places import Places
from esteem_sim.preparation import LAST_FRAMES_S
from esteem_sim.scan_frame import FrameEndedError
from esteem_sim.scene import Scene
from esteem_sim.visits import Visits

Drawing = Callable[[Visits, NDArray[Any]], None]
"""Draws the frames of some visits into memory."""
DELIVERY_S = 2.0
"""How long an abort waits at most until the frames that were drawn are handed on, in s."""


class FrameRun:
    """Draw the frames of a run as they become due, and see to it that each one drawn is handed on.

    Nion hands on what one call of `read` has drawn while the next one is running or shortly after: a `read` that draws
    or fails then would lose it if the acquisition ended. So only every other `read` draws, an error waits until nothing
    is on its way, and so does `cancel` in another thread than the reading one.

    Parameters
    ----------
    places : Places
        Where the beam is.
    memory : FrameMemory
        Of the frames, shape (n, ...).
    drawing_of : callable
        Returns what draws the frames of a scene.
    chunk : int
        Frames that are drawn at a time, at most.
    check : callable
        Called with the number of frames so far; raises if the camera is gone.

    Attributes
    ----------
    count, done, delivered : int
        Frames of the run, frames drawn, and frames of which it is known that Nion has handed them on.
    failure : Exception or None
        What went wrong; no more frames will come.
    is_cancelled : bool
    """

    def __init__(
        self,
        places: Places,
        memory: FrameMemory,
        drawing_of: Callable[[Scene], Drawing],
        *,
        chunk: int,
        check: Callable[[int], None] = lambda frames: None,
    ) -> None:
        self.count = len(memory.array)
        self.done = self.delivered = 0
        self.failure: Exception | None = None
        self._places = places
        self._memory = memory
        self._drawing_of = drawing_of
        self._check = check
        self._schedule: Schedule | None = None
        self._drawing: Drawing | None = None
        self._cancel = threading.Event()
        self._frame_bytes = memory.array[:1].nbytes
        self._chunk = chunk
        self._changed = threading.Condition()
        self._reader: int | None = None
        self._is_reading = self._is_sending = self._is_closed = False

    @property
    def follows(self) -> bool:
        """Whether another camera drives."""
        return self._places.follows

    @property
    def is_complete(self) -> bool:
        """Whether all frames are there."""
        return self.done == self.count

    @property
    def is_cancelled(self) -> bool:
        """Whether no more frames will come."""
        return self._cancel.is_set()

    @property
    def is_delivered(self) -> bool:
        """Whether nothing is on its way."""
        return self.delivered == self.done

    def cancel(self) -> None:
        """Take no more frames."""
        with self._changed:
            self._cancel.set()

    def wait_delivered(self, timeout_s: float = DELIVERY_S) -> bool:
        """Wait until what was drawn is handed on; returns at once in the thread that reads."""
        if self._reader in (None, threading.get_ident()):
            return self.is_delivered
        with self._changed:
            # after the last frame Nion reads no more, and does not say when it has handed on what it has
            return self._changed.wait_for(
                lambda: self._is_closed or (self.is_delivered and not self._is_reading),
                min(timeout_s, LAST_FRAMES_S) if self.is_complete else timeout_s,
            )

    def close(self) -> None:
        """Nobody reads any more."""
        with self._changed:
            self._cancel.set()
            self._is_closed = True
            self._changed.notify_all()

    def read(self, period_s: float) -> None:
        """Draw frames that are due, for at most about this time; return early when all are there."""
        self._reader = threading.get_ident()
        with self._changed:
            if self._is_sending or self.is_delivered:
                self._is_sending, self.delivered = False, self.done
                self._is_reading = True
                self._changed.notify_all()
            else:
                self._is_sending = True
                return
        self._memory.forget(self.delivered * self._frame_bytes)
        try:
            self._draw_due(time.monotonic() + period_s)
        except Exception as error:
            self.failure = self.failure or error
        with self._changed:
            self._is_reading = False
            self._changed.notify_all()

    def _draw_due(self, until: float) -> None:
        while not self._cancel.is_set() and not self.is_complete and self.failure is None:
            drew = self._draw()
            self._check(self.done)
            if time.monotonic() >= until or (self.follows and not drew):
                break
            if not drew:
                time.sleep(0.001)

    def _draw(self) -> bool:
        """Draw some frames; return False if none is due."""
        try:
            if self._schedule is None and not self._begin():
                return False
            if self._schedule is None or self._drawing is None:
                return False
            n = min(self._schedule.due() - self.done, self._chunk)
            if n <= 0:
                return False
            visits = self._places.advance(n)
        except FrameEndedError as error:
            # an abort reaches scan and camera one after the other
            if error.is_abort and self._cancel.wait(1.0):
                return False
            raise
        self._drawing(visits, self._memory.array[self.done : self.done + len(visits)])
        self.done += len(visits)
        return True

    def _begin(self) -> bool:
        with self._changed:  # a run that is cancelled never lets the beam on
            if self._cancel.is_set():
                return False
            self._schedule = self._places.begin()
        if self._schedule is None or self._places.scene is None:
            return False
        self._drawing = self._drawing_of(self._places.scene)
        return True
