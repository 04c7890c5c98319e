"""Real time: how many events of a schedule are due by now."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Clock = Callable[[], float]


class Schedule(Protocol):
    """Events, one after the other."""

    def due(self) -> int:
        """Return the number of events that are due by now."""


class Pacer:
    """Count the events of a schedule that are due.

    Time is read from the monotonic clock and compared with the schedule since the start, so that errors do not add up:
    who was held up finds more events due and catches up.

    Parameters
    ----------
    count : int
        Number of events.
    period_s : float
        Distance of events in s; the first is due after one period. 0 for as fast as possible.
    due_s : ndarray of float64, shape (count,), optional
        When each event is due, in s after the start, in rising order; used instead of ``period_s``.
    clock : callable
        Seconds, never going back.

    Examples
    --------
    >>> now = [0.0]
    >>> pacer = Pacer(10, period_s=1.0, clock=lambda: now[0])
    >>> pacer.start()
    >>> now[0] = 3.5
    >>> pacer.due()
    3
    """

    def __init__(
        self,
        count: int,
        period_s: float = 0.0,
        *,
        due_s: NDArray[np.float64] | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._count = count
        self._period_s = period_s
        self._due_s = due_s
        self._clock = clock
        self._began: float | None = None

    @property
    def started(self) -> bool:
        """Whether the schedule runs."""
        return self._began is not None

    @property
    def elapsed_s(self) -> float:
        """Time since the start in s, 0 before."""
        return 0.0 if self._began is None else self._clock() - self._began

    def start(self) -> None:
        """Start the schedule, once."""
        if self._began is None:
            self._began = self._clock()

    def due(self) -> int:
        """Return the number of events that are due by now, 0 before the start."""
        if self._began is None:
            return 0
        if self._due_s is not None:
            return int(np.searchsorted(self._due_s, self.elapsed_s, side="right"))
        if self._period_s <= 0:
            return self._count
        return min(self._count, int(self.elapsed_s / self._period_s))
