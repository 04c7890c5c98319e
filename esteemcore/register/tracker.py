"""Drift of the specimen, frame by frame, while the series is recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.register.detail import RunningDetail
from esteemcore.register.drift import Clock
from esteemcore.register.grid import Grid
from esteemcore.register.lines import Frame, LineFit, make_frame
from esteemcore.register.rigid import MEMORY, Chain, Correlator
from esteemcore.register.samples import sampled, usual_range
from esteemcore.register.visits import raster_visits

REFERENCE_BLUR_PX = 1.5
"""Blur of the running mean that the place of a frame is fitted to; less for fine lattices, see `detail`."""
REACH_PX = 32
"""Room around the running mean; it moves along with the drift."""
FARTHEST_PX = 2.0
"""The fit moves a frame no farther than this from where the correlation put it."""


def checked_frame(
    frame: ArrayLike, mask: ArrayLike | None, shape: tuple[int, int] | None
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return a frame and its mask after a look at the door; ``shape`` is what the frames before had."""
    data = np.asarray(frame)
    if data.ndim != 2 or data.dtype.kind not in "biuf" or min(data.shape) < 8:
        raise ParameterError(
            f"frame has shape {data.shape} and dtype {data.dtype}; expected a real image of 8 rows and columns or more"
        )
    if shape is not None and data.shape != shape:
        raise ParameterError(f"frame has shape {data.shape}, but those before have {shape}; use another tracker for it")
    return data, None if mask is None else checks.boolean_mask("mask", mask, data.shape)


class DriftTracker:
    """Follow the drift of the specimen through images in the order of time.

    Each image is correlated with a decaying mean of those before it, moved to where they were found, and then fitted to
    it; the place that the velocity so far predicts is the prior, which keeps lattice images from hopping by a unit cell
    as long as the drift is steady. Jumps of half a cell or more cannot be told apart on a lattice: see `LiveAlignment`,
    which leaves such frames out.

    Attributes
    ----------
    displacement : ndarray of float64, shape (2,)
        (dy, dx) in px of the last frame against the first: what the first showed at (i + dy, j + dx), the last shows
        at (i, j).
    velocity : ndarray of float64, shape (2,)
        Displacement per frame in px, smoothed.
    velocity_px_s : ndarray of float64, shape (2,), or None
        The same per second; None without times.
    quality : float
        Correlation coefficient of the last frame with the mean, both band-passed.
    reason : str
        Why the last frame could not be placed; it then got the predicted place. Empty if it was placed.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import register
    >>> y, x = np.mgrid[:64, :64]
    >>> tracker = register.DriftTracker()
    >>> for step in range(3):
    ...     moved = tracker.update(np.exp(-((y + step - 30) ** 2 + (x - 2 * step - 30) ** 2) / 60))
    >>> np.round(moved, 1).tolist()
    [2.0, -4.0]
    """

    def __init__(self) -> None:
        self._chain: Chain | None = None
        self._detail: RunningDetail | None = None
        self._clock = Clock()
        self._range = (0.0, 1.0)
        self._fit: LineFit | None = None
        self._origin = np.zeros(2)
        self.quality = 0.0
        self.reason = ""

    @property
    def displacement(self) -> NDArray[np.float64]:
        """Displacement (dy, dx) of the last frame against the first, in px."""
        return np.zeros(2) if self._chain is None else self._chain.drift.place.copy()

    @property
    def velocity(self) -> NDArray[np.float64]:
        """Displacement per frame (dy, dx), smoothed, in px."""
        return np.zeros(2) if self._chain is None else self._chain.drift.per_frame

    @property
    def velocity_px_s(self) -> NDArray[np.float64] | None:
        """Displacement per second (dy, dx), smoothed, in px/s; None without times."""
        return None if self._chain is None or not self._clock.timed else self._chain.drift.velocity.copy()

    def update(
        self, frame: ArrayLike, mask: ArrayLike | None = None, time_s: float | None = None
    ) -> NDArray[np.float64]:
        """Take the next frame and return its displacement (dy, dx) against the first, in px.

        Parameters
        ----------
        frame : array_like, shape (y, x)
            Image; NaN counts as not measured.
        mask : array_like of bool, shape (y, x), optional
            True where a sample was measured.
        time_s : float, optional
            Time of the frame in s; frames that come late are then expected farther along the drift.

        Raises
        ------
        ParameterError
            If the frame has another shape than those before, or the times do not rise.
        """
        data, measured = checked_frame(frame, mask, None if self._chain is None else self._chain.correlator.shape)
        self._clock.tick(time_s)
        if self._chain is None:
            self._chain = Chain(Correlator((data.shape[0], data.shape[1])), self._clock)
            self._detail = RunningDetail(self._chain.correlator)
        chain = self._chain
        if chain.mean is None:
            self._range = usual_range([data], None if measured is None else [measured])
        image, weight, self.reason = sampled(data, measured, *self._range)
        if self.reason:
            self.quality = 0.0
            chain.drift.pass_by()
            return chain.drift.place.copy()
        spectrum = chain.correlator.transform(image, None if weight.all() else weight)
        learnt, before = len(chain.likeness), chain.mean
        first = before is None
        place, self.quality = chain.add(spectrum)
        if not first and len(chain.likeness) == learnt:
            self.reason = f"it does not show what the frames before show (correlation {self.quality:.2f})"
            return place.copy()
        if before is not None and self._detail is not None:
            self._detail.learn(before, chain.correlator.moved(spectrum, place))
        self._refine(make_frame(image, weight, raster_visits(chain.correlator.shape), place - self._origin), first)
        return chain.drift.place.copy()

    def _refine(self, frame: Frame, first: bool) -> None:
        """Fit the place of a frame to the running mean, which knows no window, and add it there."""
        chain, shape = self._chain, frame.image.shape
        if first or self._fit is None or chain is None:
            self._fit = LineFit((shape[0], shape[1]), [], lines=False)
            self._fit.grid = Grid((shape[0], shape[1]), REACH_PX)
        else:
            coarse = frame.shift.copy()
            factor = 1.0 if self._detail is None else self._detail.blur_factor
            self._fit.fit(frame, self._fit.grid.reference(factor * REFERENCE_BLUR_PX))
            if float(np.hypot(*(frame.shift - coarse))) > FARTHEST_PX:
                frame.shift = coarse
            chain.drift.correct(frame.shift + self._origin)
        grid = self._fit.grid
        far = np.round(frame.shift).astype(int)
        if int(np.abs(far).max()) > REACH_PX // 2:
            self._origin += far
            frame.shift = frame.shift - far
            for image in (grid.total, grid.weights):
                image[:] = ndimage.shift(image, -far, order=0)
        grid.total *= MEMORY
        grid.weights *= MEMORY
        grid.add(frame.image, frame.weight, frame.moved)
