"""How many components stand above the noise, while frames of a series come in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.events import SparseSI
from esteemcore.spectral.rank import Rank, estimate_rank

MOST_CHANNELS = 256
"""Channels are binned to no more than this."""

LEAST_SIDE = 48
"""Pixels are binned 2 x 2 where the image keeps so many along its shorter side."""


class ComponentMeter:
    """Sum frames into bins and tell how many components the sum holds.

    Each frame is placed by whole pixels, so that every count stays a count and the noise of bins stays independent:
    sums that were interpolated have correlated noise, in which components would be found that are not there. The jitter
    of lines is left in; it is smaller than a bin.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of a frame.
    channels : int
        Energy channels of a frame.
    pixels : int, optional
        Side of the bins in pixels. Default: 2 for images of at least 96 pixels, else 1.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import spectral
    >>> rng = np.random.default_rng(0)
    >>> rate = 0.1 * rng.dirichlet([0.3, 0.3], size=(40, 40)) @ rng.gamma(0.5, size=(2, 60))
    >>> meter = spectral.ComponentMeter((40, 40), 60)
    >>> for frame in range(10):
    ...     meter.add(rng.poisson(rate))
    >>> meter.rank().n
    2
    """

    def __init__(self, shape: Sequence[int], channels: int, pixels: int | None = None) -> None:
        self.shape = checks.shape_2d("shape", shape)
        self.channels = checks.integer("channels", channels, minimum=1)
        if pixels is None:
            pixels = 2 if min(self.shape) >= 2 * LEAST_SIDE else 1
        self.bins = checks.integer("pixels", pixels, minimum=1), math.ceil(self.channels / MOST_CHANNELS)
        self.frames = 0
        size = (-(-self.shape[0] // self.bins[0]), -(-self.shape[1] // self.bins[0]))
        self._sum = np.zeros((*size, -(-self.channels // self.bins[1])))
        self._visits = np.zeros(size)

    def add(self, frame: Any, shift: ArrayLike = (0.0, 0.0), energy_shift_channels: float = 0.0) -> None:
        """Add a frame.

        Parameters
        ----------
        frame : array_like (y, x, energy) or SparseSI
            Counts.
        shift : (float, float)
            Mean displacement (dy, dx) of the frame in px; rounded to whole ones.
        energy_shift_channels : float
            A count of channel c belongs to channel c + shift; rounded to whole ones.

        Raises
        ------
        ParameterError
            If the shape differs or a value is not finite.
        """
        expected = (*self.shape, self.channels)
        given = tuple(frame.shape) if isinstance(frame, SparseSI) else np.shape(frame)
        if given != expected:
            raise ParameterError(f"the frame has shape {given}; expected {expected}")
        moved = np.asarray(shift, np.float64)
        if moved.shape != (2,) or not np.isfinite(moved).all():
            raise ParameterError(f"shift is {shift!r}; expected two finite numbers (dy, dx) in px")
        energy = round(checks.finite("energy_shift_channels", energy_shift_channels))
        rows, columns = (self._bins(n, round(float(by)), self.bins[0]) for n, by in zip(self.shape, moved, strict=True))
        channels = self._bins(self.channels, energy, self.bins[1])
        if isinstance(frame, SparseSI):
            self._add_events(frame, rows, columns, channels)
        else:
            self._add_dense(np.asarray(frame), rows, columns, channels)
        inside = np.outer(rows >= 0, columns >= 0)
        places = np.add.outer(rows * self._sum.shape[1], columns)[inside]
        self._visits += np.bincount(places, minlength=self._visits.size).reshape(self._visits.shape)
        self.frames += 1

    def _bins(self, n: int, shift: int, width: int) -> NDArray[np.int64]:
        """Return the bin of each index, -1 where it lies outside."""
        moved = np.arange(n) + shift
        found: NDArray[np.int64] = np.where((moved >= 0) & (moved < n), moved // width, -1)
        return found

    def _add_events(self, frame: SparseSI, rows: Any, columns: Any, channels: Any) -> None:
        place = np.add.outer(rows * self._sum.shape[1], columns)
        place[rows < 0], place[:, columns < 0] = -1, -1
        entry = np.repeat(place.reshape(-1), np.diff(frame.offset))
        channel = channels[frame.channel]
        kept = (entry >= 0) & (channel >= 0)
        index = entry[kept] * self._sum.shape[2] + channel[kept]
        np.add.at(self._sum.reshape(-1), index, frame.count[kept])

    def _add_dense(self, frame: NDArray[Any], rows: Any, columns: Any, channels: Any) -> None:
        target, values = [], frame
        for axis, bins in ((2, channels), (1, columns), (0, rows)):
            inside = np.flatnonzero(bins >= 0)
            if not inside.size:
                return
            part = slice(int(inside[0]), int(inside[-1]) + 1)
            values = values[(slice(None),) * axis + (part,)]
            labels, starts = np.unique(bins[part], return_index=True)
            values = np.add.reduceat(values, starts, axis=axis, dtype=np.float64)
            target.append(slice(int(labels[0]), int(labels[-1]) + 1))
        if not np.isfinite(values).all():
            raise ParameterError("the frame holds NaN or infinite values")
        self._sum[target[2], target[1], target[0]] += values

    def rank(self, max_components: int = 12, seed: int = 0) -> Rank:
        """Return how many components stand above the noise of all frames so far, see `estimate_rank`.

        Bins that some frames missed are left out.
        """
        if not self.frames:
            raise ParameterError("no frame was added yet")
        whole = self._visits >= 0.999 * self._visits.max()
        return estimate_rank(self._sum, mask=whole, max_components=max_components, seed=seed)
