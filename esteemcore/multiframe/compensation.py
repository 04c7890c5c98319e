"""The scan follows the specimen: where the next frame goes, from the drift of those before it."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.multiframe.live_state import LiveState
from esteemcore.multiframe.plan import SeriesPlan

MEMORY = 8
"""Frames that the drift of the next one is told from."""
STEP = 0.25
"""The scan moves from frame to frame by no more than this part of the region's smaller side."""


class _Live(Protocol):
    @property
    def plan(self) -> SeriesPlan: ...

    @property
    def state(self) -> LiveState: ...

    @property
    def lag(self) -> int: ...


class DriftCompensation:
    """Keep the frames of a series on the same specimen: give it to `acquire_series` as ``where``.

    The scan of each frame is moved against the drift that is expected for it. What is left is corrected by
    registration as ever, so the displacement need not be exact; it keeps the common region large.

    Parameters
    ----------
    live : LiveSeries or LiveFollower
        Knows the drift of the frames so far, and how many it has not seen yet.

    Notes
    -----
    A straight line through the last 8 sure frames tells where the next one would lie; with fewer than three, the last
    one does. One wrong place cannot throw the beam off: from frame to frame the scan moves by a quarter of the region's
    smaller side at most.

    Examples
    --------
    >>> from esteemcore import io, multiframe
    >>> region = multiframe.Region((32, 32), 0.1)
    >>> settings = multiframe.SeriesSettings(current_pa=10, dwell_s=1e-5, frames=3)
    >>> plan = multiframe.SeriesPlan(region, settings, {"adf": io.SeriesSignal((32, 32), np.float32)})
    >>> where = multiframe.DriftCompensation(multiframe.LiveSeries(plan, "adf"))
    >>> where()
    (0.0, 0.0)
    """

    def __init__(self, live: _Live) -> None:
        self._live = live
        self._last = np.zeros(2)

    def __call__(self) -> tuple[float, float]:
        """Return by how much the next frame is moved, rows and columns of the region in nm."""
        wanted = -expected_drift(self._live.state.drift_nm, 1 + self._live.lag)
        most = STEP * min(self._live.plan.region.fov_nm)
        step = wanted - self._last
        length = float(np.hypot(*step))
        self._last = self._last + (step if length <= most else step * (most / length))
        return float(self._last[0]), float(self._last[1])


def expected_drift(drift_nm: ArrayLike, ahead: int = 1) -> NDArray[np.float64]:
    """Return where a frame to come would lie.

    Parameters
    ----------
    drift_nm : array_like, shape (n, 2)
        Of the frames so far, NaN where it is not known; see `LiveState.drift_nm`.
    ahead : int
        Which frame to come: 1 is the next one.

    Returns
    -------
    ndarray of float64, shape (2,)
        In the unit of ``drift_nm``; zero as long as nothing is known.

    Examples
    --------
    >>> expected_drift([(0, 0), (0.1, -0.2), (0.2, -0.4)], ahead=2).round(6).tolist()
    [0.4, -0.8]
    """
    places: NDArray[Any] = np.asarray(drift_nm, np.float64)
    ahead = checks.integer("ahead", ahead, minimum=1)
    if places.ndim != 2 or places.shape[1] != 2:
        raise ParameterError(f"drift_nm has shape {places.shape}; expected (frames, 2)")
    known = np.flatnonzero(np.isfinite(places).all(axis=1))[-MEMORY:]
    if not known.size:
        return np.zeros(2)
    if known.size < 3:
        return np.array(places[known[-1]])
    number = known - (len(places) - 1 + ahead)
    design = np.stack([np.ones(known.size), number], axis=1)
    found, *_ = np.linalg.lstsq(design, places[known], rcond=None)
    return np.asarray(found[0], np.float64)
