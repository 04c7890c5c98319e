"""Specimen drift and scan distortion, with their truth.

Both return the displacement (dy, dx) in px of each sample: sample (k, i, j) really was taken at (i + dy, j + dx) of the
common grid. They depend on the seed, time and position only, not on how the calls are cut, and they add up.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError

Pair = float | tuple[float, float]


def _pair(name: str, value: Pair, unit: str = "px") -> tuple[float, float]:
    """Return a number, or a pair (row, column), as a pair."""
    pair = tuple(value) if isinstance(value, (tuple, list, np.ndarray)) else (value, value)
    if len(pair) != 2:
        raise ParameterError(f"{name} is {value!r}; expected a number or a pair (row, column) in {unit}")
    return checks.finite(name, pair[0], unit), checks.finite(name, pair[1], unit)


def _times(time_s: ArrayLike) -> NDArray[np.float64]:
    times = np.asarray(time_s, np.float64)
    if times.ndim != 1 or not np.isfinite(times).all() or (times < 0).any():
        raise ParameterError("time_s must be a flat list of finite times in s, zero or later")
    return times


@dataclasses.dataclass(frozen=True)
class Drift:
    """The specimen moves: steadily, by a random walk and by sudden jumps.

    Parameters
    ----------
    velocity_px_s : tuple of float
        Steady displacement (row, column) in px per s.
    walk_px : float
        Random walk: standard deviation per axis after 1 s, in px; it grows with the square root of time.
    jump_rate_hz : float
        Mean number of jumps per s (a Poisson process).
    jump_px : float
        Standard deviation of a jump per axis in px.
    walk_interval_s : float
        The walk has a node each interval and is straight between; 0.05 s.
    seed : int
        Seed of walk and jumps.

    Examples
    --------
    >>> from esteemcore import simulate
    >>> simulate.Drift((0.5, 0.25)).displacement([0.0, 2.0])
    array([[0. , 0. ],
           [1. , 0.5]])
    """

    velocity_px_s: tuple[float, float] = (0.0, 0.0)
    walk_px: float = 0.0
    jump_rate_hz: float = 0.0
    jump_px: float = 0.0
    walk_interval_s: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "velocity_px_s", _pair("velocity_px_s", self.velocity_px_s, "px/s"))
        checks.not_negative("walk_px", self.walk_px, "px")
        checks.not_negative("jump_rate_hz", self.jump_rate_hz, "Hz")
        checks.not_negative("jump_px", self.jump_px, "px")
        checks.positive("walk_interval_s", self.walk_interval_s, "s")
        checks.integer("seed", self.seed, minimum=0)

    def displacement(self, time_s: ArrayLike) -> NDArray[np.float64]:
        """Return the displacement (n, 2) in px at times (n,) in s since the start, zero at the start."""
        times = _times(time_s)
        moved: NDArray[np.float64] = times[:, None] * np.array(self.velocity_px_s)
        if not times.size:
            return moved
        if self.walk_px:
            nodes = int(times.max() / self.walk_interval_s) + 2
            steps = np.random.default_rng((self.seed, 1)).standard_normal((nodes, 2))
            path = np.cumsum(steps * self.walk_px * math.sqrt(self.walk_interval_s), axis=0)
            path = np.concatenate([np.zeros((1, 2)), path])
            at = times / self.walk_interval_s
            moved += np.stack([np.interp(at, np.arange(nodes + 1), path[:, axis]) for axis in (0, 1)], axis=-1)
        jumps, sizes = self.jumps(float(times.max()))
        if len(jumps):
            place = np.concatenate([np.zeros((1, 2)), np.cumsum(sizes, axis=0)])
            moved += place[np.searchsorted(jumps, times, side="right")]
        return moved

    def jumps(self, until_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the times (m,) in s of the jumps up to a time, and their sizes (m, 2) in px."""
        if not self.jump_rate_hz or not self.jump_px:
            return np.zeros(0), np.zeros((0, 2))
        expected = until_s * self.jump_rate_hz
        n = int(expected + 10 * math.sqrt(expected + 10) + 10)
        waits = np.random.default_rng((self.seed, 2)).standard_exponential(n) / self.jump_rate_hz
        times: NDArray[np.float64] = np.cumsum(waits)
        times = times[times <= until_s]
        sizes = np.random.default_rng((self.seed, 3)).standard_normal((len(times), 2)) * self.jump_px
        return times, sizes


@dataclasses.dataclass(frozen=True)
class ScanDistortion:
    """The beam is not where the scan meant it to be: line jitter, mains hum and jitter of each position.

    Parameters
    ----------
    line_jitter_px : float or tuple of float
        Standard deviation (row, column) of the displacement that a whole line shares, in px.
    line_correlation : float
        Correlation of one line with the next, 0 to less than 1: an AR(1) process along the slow axis.
    hum_px : float or tuple of float
        Amplitude (row, column) of the mains hum in px.
    hum_hz : float
        Frequency of the mains in Hz.
    jitter_px : float or tuple of float
        Standard deviation (row, column) of the independent displacement of each position, in px.
    seed : int
        Seed of everything, the phase of the hum included.
    """

    line_jitter_px: Pair = 0.0
    line_correlation: float = 0.7
    hum_px: Pair = 0.0
    hum_hz: float = 50.0
    jitter_px: Pair = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("line_jitter_px", "hum_px", "jitter_px"):
            object.__setattr__(self, name, _pair(name, getattr(self, name)))
        if not 0 <= checks.finite("line_correlation", self.line_correlation) < 1:
            raise ParameterError(f"line_correlation is {self.line_correlation:g}; expected 0 to less than 1")
        checks.positive("hum_hz", self.hum_hz, "Hz")
        checks.integer("seed", self.seed, minimum=0)

    def displacement(self, time_s: ArrayLike, positions_px: ArrayLike, visit: int = 0) -> NDArray[np.float64]:
        """Return the displacement of each sample.

        Parameters
        ----------
        time_s : array_like, shape (n,)
            Times of the samples in s since the start of the series.
        positions_px : array_like, shape (n, 2)
            Intended positions (row, column) in px; the rounded row is the line, 0 or more.
        visit : int
            Number of the pass over the scan; each pass has its own line jitter.

        Returns
        -------
        ndarray of float64, shape (n, 2)
            (dy, dx) in px.
        """
        times, positions = _times(time_s), np.asarray(positions_px, np.float64)
        if positions.shape != (len(times), 2) or not np.isfinite(positions).all():
            raise ParameterError(f"positions have shape {positions.shape}; expected finite px, ({len(times)}, 2)")
        visit = checks.integer("visit", visit, minimum=0)
        moved = np.zeros((len(times), 2))
        if not times.size:
            return moved
        if any(_pair("line_jitter_px", self.line_jitter_px)):
            lines = np.round(positions[:, 0]).astype(np.int64)
            if lines.min() < 0:
                raise ParameterError("positions have rows below 0; expected px from the first line of the scan")
            moved += self.line_jitter(int(lines.max()) + 1, visit)[lines]
        if any(_pair("hum_px", self.hum_px)):
            phase = np.random.default_rng((self.seed, 4)).uniform(0, 2 * np.pi, 2)
            moved += self.hum_px * np.sin(2 * np.pi * self.hum_hz * times[:, None] + phase)
        if any(_pair("jitter_px", self.jitter_px)):
            moved += self.jitter_px * _noise(self.seed, visit, times, positions)
        return moved

    def line_jitter(self, n_lines: int, visit: int = 0) -> NDArray[np.float64]:
        """Return the displacement (lines, 2) in px of the lines of one pass."""
        white = np.random.default_rng((self.seed, 5, visit)).standard_normal((n_lines, 2))
        rho, lines = self.line_correlation, np.empty((n_lines, 2))
        lines[0] = white[0]
        for i in range(1, n_lines):
            lines[i] = rho * lines[i - 1] + math.sqrt(1 - rho**2) * white[i]
        lines *= self.line_jitter_px
        return lines


def _noise(seed: int, visit: int, times: NDArray[np.float64], positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return normal numbers (n, 2) that are a hash of seed, visit, time and position (splitmix64, Box-Muller)."""
    start = np.random.SeedSequence((seed, visit)).generate_state(1, np.uint64)[0]
    mixed = np.full(len(times), start, np.uint64)
    for word in (times, positions[:, 0], positions[:, 1]):
        mixed = (mixed + np.uint64(0x9E3779B97F4A7C15)) ^ np.ascontiguousarray(word + 0.0).view(np.uint64)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    radius = np.sqrt(-2 * np.log(((mixed >> np.uint64(32)).astype(np.float64) + 0.5) / 2**32))
    angle = 2 * np.pi * (mixed & np.uint64(0xFFFFFFFF)).astype(np.float64) / 2**32
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
