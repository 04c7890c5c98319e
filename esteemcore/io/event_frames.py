"""Files of X-ray events whose frames are kept apart."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from esteemcore._core.errors import FormatError
from esteemcore.events import SparseSI
from esteemcore.io.container import given_path
from esteemcore.io.dataset import Axis, Dataset, SeriesRecord, Signal
from esteemcore.io.foreign import build_dataset, read_with_rosettasciio, with_frames
from esteemcore.io.load import load

READERS = {".pts": "JEOL"}
"""Readers of RosettaSciIO that know the frames of a file, by its suffix."""
_SECONDS = {"s": 1.0, "ms": 1e-3}


def load_frames(path: str | Path) -> Dataset:
    """Open a file with the frames of a series one by one; those that `load` adds up are kept apart here.

    X-ray events of JEOL (``*.pts``) are read as events, (frame, y, x, energy), which are in memory but never dense;
    with them come the images that were stored frame by frame, if there are any. Other files are opened as by `load`.

    Parameters
    ----------
    path : str or Path
        A file, or a container.

    Returns
    -------
    Dataset

    Raises
    ------
    FormatError
        If it cannot be read.

    Examples
    --------
    >>> from esteemcore import io
    >>> io.load_frames("missing.pts")
    Traceback (most recent call last):
    ...
    esteemcore._core.errors.FormatError: missing.pts does not exist
    """
    where = given_path(path)
    if where.suffix.lower() not in READERS:
        return load(path)
    if not where.is_file():
        raise FormatError(f"{where} does not exist")
    name = READERS[where.suffix.lower()]
    reader, entries = read_with_rosettasciio(where, name, {name.lower(): {"sum_frames": False, "read_em_image": True}})
    dataset = build_dataset(where, reader, entries, None)
    frames, interval = 1, math.nan
    for key, signal in dataset.signals.items():
        names = [axis.name for axis in signal.axes]
        if names == ["frame", "y", "x", "energy"]:
            frames, interval = signal.axes[0].size, signal.axes[0].scale * _SECONDS.get(signal.axes[0].unit, math.nan)
            axes = (Axis("frame", frames), *signal.axes[1:])
            events = Signal(_events(where, signal.data), axes, "events", metadata=signal.metadata)
            dataset = with_frames(dataset, key, events)
    times = np.arange(frames, dtype=np.float64) * interval if math.isfinite(interval) else None
    return dataclasses.replace(dataset, series=SeriesRecord(frames, times))


def _events(path: Path, data: Any) -> SparseSI:
    """Return the events in a lazy array of a reader, without making it dense."""
    held: list[Any] = [getattr(value, "value", value) for value in dict(data.__dask_graph__()).values()]
    found = [value for value in held if hasattr(value, "coords") and hasattr(value, "data")]
    if len(found) != 1 or tuple(found[0].shape) != tuple(data.shape):
        raise FormatError(
            f"the events of {path} are not where this version of RosettaSciIO is expected to keep them; io.load opens "
            "their sum"
        )
    shape = tuple(int(n) for n in data.shape)
    place = np.zeros(len(found[0].data), np.int64)
    for size, index in zip(shape, found[0].coords, strict=True):
        place = place * size + np.asarray(index, np.int64)
    entry, back = np.unique(place, return_inverse=True)
    count = np.zeros(entry.size, np.int64)
    np.add.at(count, back, np.asarray(found[0].data, np.int64))
    entry, count = entry[count > 0], count[count > 0]
    dtype = np.result_type(np.uint8, np.min_scalar_type(int(count.max(initial=0))))
    offset = np.searchsorted(entry, np.arange(math.prod(shape[:-1]) + 1) * shape[-1])
    return SparseSI(shape, dtype, offset, (entry % shape[-1]).astype(np.uint32), count.astype(dtype))
