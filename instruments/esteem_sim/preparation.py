"""From the preparation of a synchronized scan to its start, and how long that may take."""

from __future__ import annotations

import math
import threading

from esteem_sim.pacing import Clock
from esteemcore.errors import StreamError

LAST_FRAMES_S = 0.5
"""How long Nion may take, in s, to hand on what a camera has after its last frame; it does not say when it has."""
ROW_PATIENCE_S = 20.0
"""How long the first row of a synchronized scan may be on its way at least, in s."""


class Preparation:
    """What is known of a synchronized scan before its first frame and after its last.

    Nion prepares a scan, lets half a second pass in which it has nothing to abort, prepares it again as part of the
    acquisition, and starts it.

    Parameters
    ----------
    clock : callable
        Seconds, never going back.

    Attributes
    ----------
    refusal : str
        Why the scan that is being prepared shall not start; empty if it may.
    """

    def __init__(self, clock: Clock) -> None:
        self.refusal = ""
        self._clock = clock
        self._lock = threading.Lock()
        self._is_synchronizing = False
        self._prepared_at = 0.0
        self._late_failure: tuple[float, str] | None = None

    def prepare(self) -> None:
        """Note that Nion prepares a scan: outside of an acquisition it is a new one, which nobody has refused yet."""
        with self._lock:
            self._prepared_at = self._clock()
            self._late_failure = None
            if not self._is_synchronizing:
                self.refusal = ""

    def enter(self) -> None:
        """Note that the acquisition begins."""
        with self._lock:
            if self._is_synchronizing:  # the one before could not even start, so that its end was never told
                self.refusal = ""
            self._is_synchronizing = True

    def leave(self) -> None:
        """Note that the acquisition, or a part of it, has ended."""
        with self._lock:
            self._is_synchronizing, self.refusal = False, ""

    def refuse(self, reason: str) -> None:
        """Do not start what is being prepared, if anything; the next preparation is free again."""
        with self._lock:
            self.refusal = reason

    def fail_late(self, reason: str) -> None:
        """Note that the scan device has failed after the camera had all its frames: nobody else asks for it then."""
        with self._lock:
            self._late_failure = self._clock(), reason

    def timeout_s(self, begun_at: float, row_s: float) -> float:
        """Return how long the scan may take to its next rows, in s, counted from the preparation on.

        Parameters
        ----------
        begun_at : float
            When the beam was let on, in s of the clock; before the preparation if it has not been yet.
        row_s : float
            Duration of a row in s.

        Raises
        ------
        StreamError
            If the scan device has failed late, as soon as all frames are handed on.
        """
        if self._late_failure is not None and self._clock() - self._late_failure[0] > LAST_FRAMES_S:
            raise StreamError(self._late_failure[1])
        if begun_at < self._prepared_at:
            return math.inf
        return begun_at - self._prepared_at + max(4 * row_s, ROW_PATIENCE_S)
