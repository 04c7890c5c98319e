"""The live analysis in a thread of its own, so that no frame ever waits for it."""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from esteemcore.events import SparseSI
from esteemcore.multiframe.acquire import AcquiredFrame
from esteemcore.multiframe.live_series import LiveSeries
from esteemcore.multiframe.live_signals import LiveSignals
from esteemcore.multiframe.live_state import LiveState
from esteemcore.multiframe.plan import SeriesPlan
from esteemcore.multiframe.session_folder import RegionFolder

MEMORY_BYTES = 2**28
"""Frames that wait are kept in memory up to this size; the others are read back from the disk."""


class LiveFollower:
    """Follow a series at its own pace: give it to `acquire_series` as ``on_frame``.

    Frames that the analysis has not seen yet wait in memory, or only on disk where they are safe anyway. It sees all of
    them, in their order, so that it comes to the same states as a `LiveSeries` that each frame waits for; goals are
    noticed when the frame was looked at, some frames late if the analysis is slow. The limit of the dose does not wait.

    Parameters
    ----------
    live : LiveSeries or LiveSignals
    seen : callable, optional
        Called in the thread with the state after each frame.
    memory_bytes : int
        Of the frames that wait in memory.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from esteemcore import io, multiframe
    >>> region = multiframe.Region((32, 32), 0.1)
    >>> settings = multiframe.SeriesSettings(current_pa=10, dwell_s=1e-5, frames=3)
    >>> plan = multiframe.SeriesPlan(region, settings, {"adf": io.SeriesSignal((32, 32), np.float32)})
    >>> def microscope(request):
    ...     return {"adf": np.random.default_rng(0).poisson(50.0, request.order.shape).astype(np.float32)}
    >>> follower = multiframe.LiveFollower(multiframe.LiveSeries(plan, "adf"))
    >>> folder = multiframe.SessionFolder(tempfile.mkdtemp()).new_region()
    >>> _ = multiframe.acquire_series(plan, folder, microscope, on_frame=follower)
    >>> follower.finish().frames, follower.lag
    (3, 0)
    """

    def __init__(
        self,
        live: LiveSeries | LiveSignals,
        seen: Callable[[LiveState], None] | None = None,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self.live = live
        self._seen, self._memory = seen, memory_bytes
        self._changed = threading.Condition()
        self._waiting: deque[tuple[AcquiredFrame, int]] = deque()
        self._bytes = self._lag = 0
        self._thread: threading.Thread | None = None
        self._enough, self._came = "", live.state.frames
        self._error: Exception | None = None

    @property
    def plan(self) -> SeriesPlan:
        """Of the series."""
        return self.live.plan

    @property
    def state(self) -> LiveState:
        """What is known so far."""
        return self.live.state

    @property
    def lag(self) -> int:
        """Frames that are stored and not seen yet, the one that is looked at included."""
        return self._lag

    def __call__(self, frame: AcquiredFrame) -> str | None:
        """Hand a frame over; return why the series has enough, as far as it is known, or None.

        Parameters
        ----------
        frame : AcquiredFrame
        """
        with self._changed:
            size = _bytes(frame.values)
            if self._bytes + size > self._memory:
                frame, size = dataclasses.replace(frame, values={}), 0
            self._waiting.append((frame, size))
            self._bytes += size
            self._lag += 1
            self._came += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="esteem-live", daemon=True)
                self._thread.start()
            error, self._error = self._error, None
            enough = self._enough
        if error is not None:
            raise error
        return enough or self._limit()

    def finish(self, cancel: threading.Event | None = None) -> LiveState:
        """Wait until all frames are seen; return the state.

        Parameters
        ----------
        cancel : Event, optional
            When set, it waits no longer; what is not seen yet is dropped.
        """
        with self._changed:
            while self._lag:
                if cancel is not None and cancel.is_set():
                    self._lag -= len(self._waiting)
                    self._waiting.clear()
                    self._bytes = 0
                    return self.state
                self._changed.wait(0.1)
        return self.live.finish()

    def _limit(self) -> str | None:
        """Return whether the next frame would exceed the limit of the dose; that does not wait for the analysis."""
        stop, dose = self.live.stop, self.plan.figures.dose_per_frame
        only = dataclasses.replace(stop, snr={}, components=None, drift_nm=None)
        return only.reached(dose=self._came * dose, next_dose=dose)

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._thread = None
                    return
                frame, size = self._waiting.popleft()
                self._bytes -= size
            enough = ""
            error: Exception | None = None
            try:
                if not frame.values:
                    values = RegionFolder(frame.path.parent).frame(frame.number)
                    frame = dataclasses.replace(frame, values=values)
                enough = self.live(frame) or ""
                if self._seen is not None:
                    self._seen(self.live.state)
            except Exception as failure:
                error = failure
            del frame
            with self._changed:
                self._enough, self._error = enough or self._enough, error or self._error
                self._lag -= 1
                self._changed.notify_all()


def _bytes(values: Mapping[str, Any]) -> int:
    """Return what a frame takes in memory."""
    total = 0
    for value in values.values():
        if isinstance(value, SparseSI):
            total += value.offset.nbytes + value.channel.nbytes + value.count.nbytes
        else:
            total += np.asarray(value).nbytes
    return total
