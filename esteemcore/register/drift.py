"""Drift of the specimen in the order of time: where the next frame should be, and how far from there it may be."""

from __future__ import annotations

import collections
import copy
import math

import numpy as np
from numpy.typing import NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError

Floats = NDArray[np.float64]

INTERVALS = 15
"""Intervals whose median is the usual one."""
FORGETS = 0.3
"""Share of the velocity that a frame after a usual interval renews."""
FIRST = 0.5
"""The same where no velocity is known yet."""
GOES_ON = 3.0
"""So many usual intervals, over about as many of which it was learnt, a velocity goes on; then it may have ended."""
FOUND_PX = 0.3
"""Scatter of the place of a frame, which makes a velocity unsure that was learnt over a short time."""
FARTHEST = 0.25
"""Part of a frame that the drift leads no farther than: an image that is wider off may as well have stayed."""


class Clock:
    """Times of frames; without times each frame is one unit behind the one before.

    Attributes
    ----------
    since : float
        Time from the frame before to this one, in s or in frames.
    usual : float
        Median of the last intervals: a pause, a first interval that is far longer than the others or one that is far
        shorter do not matter to it.
    timed : bool
        Whether intervals are in s.
    """

    def __init__(self) -> None:
        self.since = self.usual = 1.0
        self.timed = False
        self._last: float | None = None
        self._intervals: collections.deque[float] = collections.deque(maxlen=INTERVALS)

    def tick(self, time_s: float | None) -> None:
        """Take the time of the next frame."""
        if time_s is None:
            self.since = self.usual
            return
        time = checks.finite("time_s", time_s, "s")
        if self._last is not None and time <= self._last:
            raise ParameterError(
                f"time_s is {time:g} s, the frame before was at {self._last:g} s; give frames in order"
            )
        if self._last is not None:
            self.since, self.timed = time - self._last, True
            self._intervals.append(self.since)
            # of two the longer one: a frame that comes early needs no more room than usual
            self.usual = sorted(self._intervals)[len(self._intervals) // 2]
        self._last = time


class Drift:
    """Place and velocity of the specimen, learnt from where frames were found.

    The velocity is a mean over the last frames, each weighted by the square of its interval, as the fit of a line
    weights them: with usual intervals an exponential mean, while frames at short intervals, whose displacements are
    mostly noise, teach little.

    Parameters
    ----------
    clock : Clock
        Told of each frame before the drift is asked about it.
    shape : (int, int)
        Rows and columns of a frame.

    Attributes
    ----------
    place : ndarray of float64, shape (2,)
        (dy, dx) of the last frame in px.
    velocity : ndarray of float64, shape (2,)
        In px per unit of the clock.
    """

    def __init__(self, clock: Clock, shape: tuple[int, int]) -> None:
        self._clock = clock
        self._farthest = FARTHEST * np.array(shape, np.float64)
        self.place, self.velocity = np.zeros(2), np.zeros(2)
        self._weight = 0.0  # of what the velocity was learnt from, in squares of time
        self._gain = 0.0  # share of the velocity that the last frame renewed
        self._passed = 0.0  # time since a frame was found

    @property
    def per_frame(self) -> Floats:
        """Displacement (dy, dx) in a usual interval, in px."""
        return self.velocity * self._clock.usual

    def copy(self) -> Drift:
        """Return the drift as it is now; the clock remains one."""
        other = copy.copy(self)
        other.place, other.velocity = self.place.copy(), self.velocity.copy()
        return other

    def expected(self) -> Floats:
        """Return where this frame should be."""
        place: Floats = self.place + np.clip(self.velocity * self._clock.since, -self._farthest, self._farthest)
        return place

    def unknown_px(self) -> float:
        """Return how far from there the frame may be.

        The place of a frame that comes late is unknown by what the drift would have done if it had ended meanwhile, and
        by the error of the velocity times the interval, as far as it is larger than with usual intervals.
        """
        since, clock = self._clock.since + self._passed, self._clock
        late = float(np.hypot(*self.velocity)) * max(since - GOES_ON * clock.usual, 0.0)
        error = FOUND_PX * math.sqrt(max(since**2 / self._weight - FORGETS, 0.0)) if self._weight else 0.0
        return math.hypot(late, error)

    def learn(self, place: Floats) -> None:
        """Take the place where this frame was found."""
        usual, first = self._clock.usual, not self._weight
        told = min(self._clock.since, GOES_ON * usual) ** 2
        least = (1 - FORGETS) * self._weight + told
        most = max(usual**2 / FORGETS, told)
        self._weight = told / FORGETS if first else min(least, most)
        self._gain = FIRST if first else told / self._weight
        self.velocity = self.velocity + self._gain * ((place - self.place) / self._clock.since - self.velocity)
        self.put(place)

    def correct(self, place: Floats) -> None:
        """Take a better place of the frame that was learnt from last."""
        self.velocity = self.velocity + self._gain / self._clock.since * (place - self.place)
        self.put(place)

    def turn(self, place: Floats) -> None:
        """Take the place of this frame and the velocity that it tells; what was learnt before is of no use."""
        self.velocity = (place - self.place) / max(self._clock.since, self._clock.usual)
        self._weight = self._clock.usual**2 / FORGETS
        self.put(place)

    def put(self, place: Floats) -> None:
        """Say where this frame is, which teaches nothing about the velocity."""
        self.place, self._passed = np.array(place, np.float64), 0.0

    def pass_by(self) -> None:
        """Let a frame pass that shows nothing: the drift goes on."""
        self.place, self._passed = self.expected(), self._passed + self._clock.since
