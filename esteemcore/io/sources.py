"""Frames from files and data sets, again and again, in visit order: what the drivers of a stream read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core import checks
from esteemcore._core.errors import FormatError, ParameterError
from esteemcore.io.dataset import Dataset, ScanRecord
from esteemcore.io.framelist import FrameList
from esteemcore.io.load import load
from esteemcore.stream import Chunk, Spec


class FrameSource:
    """Detector frames of a file in visit order, as chunks: a `esteemcore.stream.Source`.

    Made by `source`. It can be pickled: made from a path, only that path, the name of the signal and the range travel,
    and the file is opened again on the other side.
    """

    def __init__(
        self, dataset: Dataset, signal: str | None, start: int, stop: int | None, reopen: dict[str, Any] | None
    ) -> None:
        self.signal, _ = dataset.frames(signal)
        self._dataset: Dataset | None = dataset
        self._reopen = reopen
        self._prepare(dataset)
        total = self._total
        self.start = checks.integer("start", start, minimum=0, maximum=total)
        self.stop = total if stop is None else checks.integer("stop", stop, minimum=self.start, maximum=total)

    def _prepare(self, dataset: Dataset) -> None:
        signal = dataset.signals[self.signal]
        data = signal.data
        if signal.in_visit_order:
            self._total = data.shape[0]
            scan = dataset.scan or ScanRecord((1, max(self._total, 1)))
            self._index = scan.order(self._total)
        else:
            self._total = data.shape[0] * data.shape[1]
            scan = ScanRecord(data.shape[:2])
            self._index = scan.order(self._total)
        dtype = np.dtype(data.dtype).newbyteorder("=")
        frame_shape = signal.frame_shape or tuple(data.shape[-2:])
        self._spec = Spec(scan.shape, frame_shape, dtype, packed=signal.kind == "packed")
        self._scan = scan

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        if self._reopen is not None:
            for name in ("_dataset", "_index", "_scan"):
                state[name] = None
        return state

    @property
    def dataset(self) -> Dataset:
        """The data set that the frames are part of."""
        if self._dataset is None:
            options = dict(self._reopen or {})
            dataset = load(options.pop("path"), **options)
            before = self._spec, self._total
            self._prepare(dataset)
            if self._spec != before[0] or self._total < self.stop:
                raise FormatError(f"{dataset.path} has changed: it held {before[1]} frames as {before[0]}")
            self._dataset = dataset
        return self._dataset

    @property
    def spec(self) -> Spec:
        """What the chunks hold."""
        return self._spec

    def __len__(self) -> int:
        """Return the number of frames."""
        return self.stop - self.start

    def __repr__(self) -> str:
        where = self._reopen["path"] if self._reopen else "memory"
        return f"FrameSource({where}, {self.signal!r}, frames {self.start} to {self.stop})"

    def chunks(self, start: int = 0, stop: int | None = None, size: int = 1024) -> Iterator[Chunk]:
        """Yield frames ``start`` to ``stop`` of the visit order.

        Parameters
        ----------
        start, stop : int
            First frame, and the one after the last, counted from the beginning of this source's range.
        size : int
            Frames in a chunk, at most; a chunk ends where the pass number changes.

        Raises
        ------
        FormatError
            If frames on the way, or their positions, are damaged.
        """
        n = len(self)
        start = checks.integer("start", start, minimum=0, maximum=n)
        stop = n if stop is None else checks.integer("stop", stop, minimum=start, maximum=n)
        size = checks.integer("size", size, minimum=1)
        return self._chunks(self.start + start, self.start + stop, size)

    def _chunks(self, start: int, stop: int, size: int) -> Iterator[Chunk]:
        data = self.dataset.signals[self.signal].data
        scan = self._scan
        for a in range(start, stop, size):
            b = min(a + size, stop)
            index = self._index[a:b]
            if index.min() < 0:
                lost = a + np.flatnonzero(index < 0)
                raise FormatError(
                    f"{self.dataset.path}: the scan positions of frames {lost[0]:,} to {lost[-1]:,} are lost; "
                    "read the frames before and behind them"
                )
            part = FrameList(
                self._frames(data, a, b),
                index,
                scan.visit[a:b] if scan.visit is not None else np.zeros(b - a, np.int64),
                scan.time_s[a:b] if scan.time_s is not None else np.full(b - a, np.nan),
                scan.positions[a:b] if scan.positions is not None else np.full((b - a, 2), np.nan),
            )
            yield from part.chunks(scan.shape[1])

    def _frames(self, data: Any, a: int, b: int) -> NDArray[Any]:
        """Return frames ``a`` to ``b`` of data (frame, ky, kx) or (y, x, ky, kx)."""
        if len(data.shape) == 3:
            parts = [data[a:b]]
        else:
            columns = data.shape[1]
            rows = range(a // columns, -(-b // columns))
            parts = [data[y, max(a - y * columns, 0) : min(b - y * columns, columns)] for y in rows]
        dense = [np.asarray(part) for part in parts]
        frames = dense[0] if len(dense) == 1 else np.concatenate(dense)
        return frames.astype(self._spec.dtype, copy=False)


def source(
    data: str | Path | Dataset, signal: str | None = None, *, start: int = 0, stop: int | None = None, **options: Any
) -> FrameSource:
    """Return the detector frames of a file or data set as a source of chunks in visit order.

    Parameters
    ----------
    data : str, Path or Dataset
        A container, a foreign file, or what `load` returned.
    signal : str, optional
        Name of the signal, when there is more than one with detector frames.
    start, stop : int, optional
        Range of frames in visit order. Default: all.
    **options
        Given to `load`, e.g. ``coordinates=`` or ``scan_shape=``.

    Raises
    ------
    FormatError
        If the file cannot be read.
    ParameterError
        If it holds no detector frames, or more than one signal of them and no name is given.
    """
    if isinstance(data, Dataset):
        if options:
            raise ParameterError(f"{', '.join(options)}: options are for files; this data set is open already")
        return FrameSource(data, signal, start, stop, None)
    dataset = load(data, **options)
    return FrameSource(dataset, signal, start, stop, {"path": str(data), **options})
