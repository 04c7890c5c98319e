"""What a frame takes beside its scan: measured while frames come in, counted in the plan where nothing is typed."""

from __future__ import annotations

import dataclasses
import math

from esteemcore import multiframe


class Overheads:
    """Learns from the frames of a session.

    Attributes
    ----------
    begin : LearntTimes
        What the scan engine needs to begin a frame, by the number of cameras.
    write : LearntTimes
        What the disk needs for a frame, by its bytes.
    """

    def __init__(self) -> None:
        self.begin, self.write = multiframe.LearntTimes(), multiframe.LearntTimes()
        self._scan_s = 0.0
        self._bytes = self._cameras = 0
        self._last: multiframe.AcquiredFrame | None = None

    def start(self, plan: multiframe.SeriesPlan, cameras: int) -> None:
        """Get ready for the frames of a series.

        Parameters
        ----------
        plan : SeriesPlan
        cameras : int
            How many record.
        """
        settings = dataclasses.replace(plan.settings, scan_overhead_s=0.0, write_overhead_s=0.0)
        self._scan_s = dataclasses.replace(plan, settings=settings).figures.frame_time_s
        self._bytes, self._cameras, self._last = plan.signal_bytes_per_frame, cameras, None

    def add(self, frame: multiframe.AcquiredFrame) -> None:
        """Take note of a frame, in the thread of the run."""
        self.write.add(self._bytes, frame.write_s)
        last, self._last = self._last, dataclasses.replace(frame, values={})
        if last is not None and frame.done == last.done + 1:
            self.begin.add(self._cameras, max(0.0, frame.time_s - last.time_s - last.write_s - self._scan_s))

    def counted(self, plan: multiframe.SeriesPlan, cameras: int) -> multiframe.SeriesPlan:
        """Return a plan with what is known in the place of overheads that are 0."""
        settings = plan.settings
        begin_s, write_s = self.begin.estimate(cameras), self.write.estimate(plan.signal_bytes_per_frame)
        if not settings.scan_overhead_s and not math.isnan(begin_s):
            settings = dataclasses.replace(settings, scan_overhead_s=begin_s)
        if not settings.write_overhead_s and not math.isnan(write_s):
            settings = dataclasses.replace(settings, write_overhead_s=write_s)
        return dataclasses.replace(plan, settings=settings)
