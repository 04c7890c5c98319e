"""Counts of an X-ray detector as they come, kept as events; turned and added up without ever being dense."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError, StreamError
from esteemcore.events import SparseSI
from esteemcore.multiframe.orders import FrameOrder


class CountedSpectra:
    """Gather the counts of a frame piece by piece, in any order.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the scan.
    channels : int

    Examples
    --------
    >>> gathered = CountedSpectra((1, 2), channels=4)
    >>> gathered.add([1], [[0, 0, 3, 1]])
    >>> gathered.add([0], [[0, 1, 0, 0]])
    >>> gathered.result().to_dense().tolist()
    [[[0, 1, 0, 0], [0, 0, 3, 1]]]
    """

    def __init__(self, shape: tuple[int, int], channels: int) -> None:
        self.shape, self.channels = checks.shape_2d("shape", shape), checks.integer("channels", channels, minimum=1)
        self._keys: list[NDArray[np.int64]] = []
        self._counts: list[NDArray[np.int64]] = []

    def add(self, index: ArrayLike, spectra: ArrayLike) -> None:
        """Take counts over.

        Parameters
        ----------
        index : array_like of int, shape (n,)
            Flat positions; what comes again for a position is added.
        spectra : array_like, shape (n, channels)
            Whole numbers, zero or more, of any dtype.

        Raises
        ------
        ParameterError
            If shapes do not fit.
        StreamError
            If they are no counts.
        """
        places, values = np.asarray(index, np.int64), np.asarray(spectra)
        if values.shape != (places.size, self.channels):
            raise ParameterError(
                f"spectra have shape {values.shape}; expected ({places.size}, {self.channels}), one for each position"
            )
        rows, channels = np.nonzero(values)
        counts = values[rows, channels]
        whole = counts.astype(np.int64)
        if counts.dtype.kind not in "iu" and not np.array_equal(whole, counts):
            raise StreamError("the X-ray detector gave values that are no whole numbers; let it give counts")
        if whole.size and whole.min() < 0:
            raise StreamError("the X-ray detector gave counts below zero")
        self._keys.append(places[rows] * self.channels + channels)
        self._counts.append(whole)

    def result(self, dtype: DTypeLike = np.uint16) -> SparseSI:
        """Return the counts so far, shape (y, x, channels)."""
        keys = np.concatenate([np.zeros(0, np.int64), *self._keys])
        counts = np.concatenate([np.zeros(0, np.int64), *self._counts])
        return _made((*self.shape, self.channels), keys, counts, np.dtype(dtype))


def upright_events(taken: SparseSI, order: FrameOrder, subpixels: int, dtype: DTypeLike) -> SparseSI:
    """Return what was scanned on the grid of the region, sub-pixels added up.

    Parameters
    ----------
    taken : SparseSI, shape (y, x, channels)
        In the turned frame.
    order : FrameOrder
    subpixels : int
        n x n places are one pixel.
    dtype : dtype
        Of the sums.
    """
    rows, columns, channels = taken.shape
    places = order.upright(np.arange(rows * columns).reshape(rows, columns))
    high, wide = places.shape
    y, x = np.indices((high, wide)) // subpixels
    target = np.empty(rows * columns, np.int64)
    target[places.reshape(-1)] = (y * (wide // subpixels) + x).reshape(-1)
    pixel = np.repeat(target, np.diff(taken.offset))
    shape = (high // subpixels, wide // subpixels, channels)
    return _made(shape, pixel * channels + taken.channel, taken.count.astype(np.int64), np.dtype(dtype))


def _made(
    shape: tuple[int, int, int], keys: NDArray[np.int64], counts: NDArray[np.int64], dtype: np.dtype[Any]
) -> SparseSI:
    """Return events from their places ``pixel * channels + channel``, in any order and with repeats."""
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    first = np.flatnonzero(np.diff(keys, prepend=-1))
    keys, total = keys[first], np.add.reduceat(counts, first) if first.size else counts
    if total.size and total.max() > np.iinfo(dtype).max:
        raise StreamError(f"a channel has {total.max():,} counts, more than {dtype} can hold; dwell for a shorter time")
    pixel, channel = np.divmod(keys, shape[2])
    offset = np.concatenate([[0], np.cumsum(np.bincount(pixel, minlength=shape[0] * shape[1]))])
    return SparseSI(shape, dtype, offset, channel.astype(np.uint32), total.astype(dtype))
