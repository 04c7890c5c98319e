"""Sums of the frames of a series in bins of pixels and channels, every frame placed by whole pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import ParameterError
from esteemcore.events import SparseSI


class BinnedSum:
    """Add frames up in bins; a count that is moved out of the frame is left out.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of a frame.
    channels : int
        Energy channels of a frame.
    pixels, width : int
        Side of a bin in pixels, and channels of a bin.

    Attributes
    ----------
    total : ndarray of float64, shape (y, x, energy)
        Counts in each bin.
    visits : ndarray of float64, shape (y, x)
        Pixels that fell into each bin, over all frames.
    """

    def __init__(self, shape: tuple[int, int], channels: int, pixels: int, width: int) -> None:
        self.shape, self.channels, self.pixels, self.width = shape, channels, pixels, width
        self.visits = np.zeros((-(-shape[0] // pixels), -(-shape[1] // pixels)))
        self.total = np.zeros((*self.visits.shape, -(-channels // width)))

    def add(self, frame: NDArray[Any] | SparseSI, moved: tuple[int, int], energy: int) -> None:
        """Add a frame that is displaced by whole pixels (dy, dx) and channels.

        Raises
        ------
        ParameterError
            If a value is not finite; nothing is added then.
        """
        if isinstance(frame, SparseSI):
            self._add_events(frame, moved, energy)
        else:
            added = self._binned(frame, moved, energy)
            if not np.isfinite(added).all():
                raise ParameterError("the frame holds NaN or infinite values")
            self.total += added
        self.visits += _summed(_summed(np.ones(self.shape), 0, moved[0], self.pixels), 1, moved[1], self.pixels)

    def _add_events(self, frame: SparseSI, moved: tuple[int, int], energy: int) -> None:
        rows, columns = (_bins(n, by, self.pixels) for n, by in zip(self.shape, moved, strict=True))
        channels = _bins(self.channels, energy, self.width)
        place = np.add.outer(rows * self.total.shape[1], columns)
        place[rows < 0], place[:, columns < 0] = -1, -1
        entry = np.repeat(place.reshape(-1), np.diff(frame.offset))
        channel = channels[frame.channel]
        kept = (entry >= 0) & (channel >= 0)
        index = entry[kept] * self.total.shape[2] + channel[kept]
        np.add.at(self.total.reshape(-1), index, frame.count[kept])

    def _binned(self, frame: NDArray[Any], moved: tuple[int, int], energy: int) -> NDArray[np.float64]:
        """Return a dense frame in bins, made a row of bins after the other: what is added up stays in the cache."""
        added, rows = np.zeros_like(self.total), _bins(self.shape[0], moved[0], self.pixels)
        for place in range(len(added)):
            inside = np.flatnonzero(rows == place)
            if inside.size:
                line = frame[inside[0]].astype(np.float64)
                for row in inside[1:]:
                    line += frame[row]
                added[place] = _summed(_summed(line, 0, moved[1], self.pixels), 1, energy, self.width)
        return added


def _bins(n: int, shift: int, width: int) -> NDArray[np.int64]:
    """Return the bin of each index, -1 where it lies outside."""
    moved = np.arange(n) + shift
    found: NDArray[np.int64] = np.where((moved >= 0) & (moved < n), moved // width, -1)
    return found


def _summed(values: NDArray[np.float64], axis: int, shift: int, width: int) -> NDArray[np.float64]:
    """Return values moved along an axis and added up to bins, one place of all bins after the other."""
    n = values.shape[axis]
    if width == 1 and shift == 0:
        return values
    values = np.moveaxis(values, axis, 0)
    total = np.zeros((-(-n // width), *values.shape[1:]))
    first, end = max(0, -shift), min(n, n - shift)
    for place in range(first, min(end, first + width)):
        part = values[place:end:width]
        start = (place + shift) // width
        total[start : start + len(part)] += part
    return np.moveaxis(total, 0, axis)
