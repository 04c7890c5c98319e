"""Detector frames of a data set as one array (y, x, ky, kx), whatever the order in which they were taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore import io
from esteemcore.events import unpack_bits

AT_ONCE = 256
"""Frames that are read at a time where they were stored one after the other."""


class ScanFrames:
    """Frames (y, x, ky, kx) that are read when they are sliced along the first two axes.

    Frames of a position that was visited several times are added up; a position without a visit has no counts.

    Parameters
    ----------
    dataset : Dataset
    signal : str, optional
        Name of the signal, when there is more than one with detector frames.

    Attributes
    ----------
    name : str
        Name of the signal.
    shape, dtype
        As of an array.
    """

    def __init__(self, dataset: io.Dataset, signal: str | None = None) -> None:
        source = io.source(dataset, signal)
        self.name, self._signal = source.signal, dataset.signals[source.signal]
        self.shape = (*source.spec.scan_shape, *source.spec.frame_shape)
        index = np.arange(len(source)) if not self._signal.in_visit_order else self._order(dataset, len(source))
        self._frame = np.argsort(index, kind="stable")
        self._first = np.searchsorted(index[self._frame], np.arange(self.shape[0] * self.shape[1] + 1))
        several = int(np.diff(self._first).max(initial=0)) > 1
        self.dtype = np.dtype(np.uint32) if several else source.spec.dtype

    @staticmethod
    def _order(dataset: io.Dataset, n: int) -> NDArray[np.int64]:
        return (dataset.scan or io.ScanRecord((1, n))).order(n)

    def __getitem__(self, key: tuple[slice, slice]) -> NDArray[Any]:
        """Return the frames of some rows and columns of the scan."""
        rows, columns = key
        if not self._signal.in_visit_order:
            return self._unpacked(self._signal.data[rows, columns])
        ys, xs = range(self.shape[0])[rows], range(self.shape[1])[columns]
        at = np.add.outer(np.asarray(ys, np.int64) * self.shape[1], np.asarray(xs, np.int64)).ravel()
        frames = [self._frame[self._first[p] : self._first[p + 1]] for p in at]
        place = np.repeat(np.arange(len(at)), [len(each) for each in frames])
        block = np.zeros((len(at), *self.shape[2:]), self.dtype)
        for run, values in self._runs(np.concatenate([*frames, np.zeros(0, np.int64)])):
            for p, value in zip(place[run], values, strict=True):
                block[p] += value.astype(self.dtype, copy=False)
        return block.reshape(len(ys), len(xs), *self.shape[2:])

    def _runs(self, frames: NDArray[np.int64]) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """Yield where in a list frames stand that were stored one after the other, and these frames, in that order."""
        order = np.argsort(frames, kind="stable")
        for run in np.split(order, np.flatnonzero(np.diff(frames[order]) != 1) + 1):
            for some in np.split(run, range(AT_ONCE, len(run), AT_ONCE)):
                if len(some):
                    start = int(frames[some[0]])
                    yield some, self._unpacked(self._signal.data[start : start + len(some)])

    def _unpacked(self, stored: Any) -> NDArray[Any]:
        values = np.asarray(stored)
        return unpack_bits(values, self.shape[3]) if self._signal.kind == "packed" else values
