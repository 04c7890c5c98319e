"""Detector frames of a data set as one array (y, x, ky, kx), whatever the order in which they were taken."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore import io
from esteemcore.events import unpack_bits


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
        if not self._signal.in_visit_order and self._signal.kind == "dense":
            return np.asarray(self._signal.data[rows, columns])
        ys, xs = range(self.shape[0])[rows], range(self.shape[1])[columns]
        block = np.zeros((len(ys), len(xs), *self.shape[2:]), self.dtype)
        for i, y in enumerate(ys):
            for j, x in enumerate(xs):
                at = y * self.shape[1] + x
                for frame in self._frame[self._first[at] : self._first[at + 1]]:
                    block[i, j] += self._read(int(frame)).astype(self.dtype, copy=False)
        return block

    def _read(self, frame: int) -> NDArray[Any]:
        data = self._signal.data
        stored = np.asarray(data[frame] if len(data.shape) == 3 else data[divmod(frame, self.shape[1])])
        return unpack_bits(stored, self.shape[3]) if self._signal.kind == "packed" else stored
