"""Signals as Dask arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import DependencyError, ParameterError
from esteemcore.events import EventTable, SparseSI
from esteemcore.io import sparse_tiles
from esteemcore.io.dataset import Signal
from esteemcore.io.stored import StoredBlocks
from esteemcore.io.stored_events import StoredEvents


class DenseView:
    """Stored events seen as a dense array, of which only the parts that are asked for ever exist.

    Parameters
    ----------
    events : StoredEvents
        What is stored.
    """

    def __init__(self, events: StoredEvents) -> None:
        self._events = events
        self.shape, self.dtype, self.ndim = events.shape, events.dtype, events.ndim

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """Return the dense values of a part that lies within one block, given by slices."""
        parts = [range(size)[item] for item, size in zip(key, self.shape, strict=True)]
        chunks = self._events.chunks
        place = tuple(part.start // chunk if len(part) else 0 for part, chunk in zip(parts, chunks, strict=True))
        if not all(parts):
            return np.zeros([len(part) for part in parts], self.dtype)
        tile = self._events.block(place, (parts[-1].start, parts[-1].stop))
        region = tuple(
            slice(part.start - p * c, part.stop - p * c)
            for part, p, c in zip(parts[:-1], place[:-1], chunks[:-1], strict=True)
        )
        return sparse_tiles.cut(tile, region, tuple(len(part) for part in parts[:-1])).to_dense()


def to_dask(signal: Signal) -> Any:
    """Return the data of a signal as a Dask array whose chunks are the stored blocks; nothing is read yet.

    Parameters
    ----------
    signal : Signal
        Of any kind; events become dense, one block at a time, and packed frames stay packed.

    Returns
    -------
    dask.array.Array

    Raises
    ------
    DependencyError
        If Dask is not installed.
    ParameterError
        If the signal is a table of events in detector frames.
    """
    try:
        import dask.array as da
    except ImportError as error:
        raise DependencyError("dask", "distributed") from error
    data = signal.data
    if isinstance(data, EventTable):
        raise ParameterError("a table of events in detector frames is no array; see EventTable.to_frames")
    if isinstance(data, SparseSI):
        return da.from_array(data.to_dense())  # type: ignore[no-untyped-call]
    if not isinstance(data, StoredBlocks):
        return da.asarray(data)  # type: ignore[no-untyped-call]
    source = DenseView(data) if isinstance(data, StoredEvents) else data
    chunks = tuple(min(c, max(s, 1)) for c, s in zip(data.chunks, data.shape, strict=True))
    return da.from_array(source, chunks=chunks, asarray=False, fancy=False)  # type: ignore[no-untyped-call]
