"""Signals of any kind seen as dense arrays, of which only the part that is read ever exists."""

from __future__ import annotations

import itertools
import math
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import ParameterError
from esteemcore.events import EventTable, SparseSI, unpack_bits
from esteemcore.io import sparse_tiles
from esteemcore.io.choose_codec import BLOCK_BYTES, EVENT_BYTES, block_shape
from esteemcore.io.dataset import ScanRecord, Signal
from esteemcore.io.stored_events import StoredEvents, tile_shape

Part = tuple[slice, ...]
"""One slice (start, stop) for each axis."""


class Blocks(Protocol):
    """A dense array that is read part by part."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...]

    def __getitem__(self, part: Part) -> NDArray[Any]:
        """Read a part."""


class ArrayBlocks:
    """A dense array, lazy or not; booleans become 0 and 1.

    Parameters
    ----------
    data : array-like
        With ``shape``, ``dtype`` and slicing.
    """

    def __init__(self, data: Any) -> None:
        self._data = data
        self.shape = tuple(map(int, data.shape))
        self.dtype = np.dtype(data.dtype).newbyteorder("=")
        if self.dtype == np.bool_:
            self.dtype = np.dtype(np.uint8)
        own = getattr(data, "chunks", None)
        first = None if own is None else tuple(c if isinstance(c, int) else max(c, default=1) for c in own)
        cheap = first is not None and math.prod(first) * self.dtype.itemsize <= EVENT_BYTES
        chosen = first if cheap and first is not None else block_shape(self.shape, self.dtype.itemsize)
        self.chunks = tuple(max(min(c, s), 1) for c, s in zip(chosen, self.shape, strict=True))

    def __getitem__(self, part: Part) -> NDArray[Any]:
        """Read a part."""
        return np.asarray(self._data[part]).astype(self.dtype, copy=False)


class PackedBlocks:
    """Packed one-bit frames, one byte per pixel.

    Parameters
    ----------
    data : array-like of uint8, shape (..., ky, kx/8)
        As `esteemcore.events.pack_bits` makes them.
    frame_shape : tuple of int
        ``(ky, kx)``.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, data: Any, frame_shape: tuple[int, int]) -> None:
        self._data = data
        self.shape = (*map(int, data.shape[:-2]), *frame_shape)
        self.chunks = block_shape(self.shape, 1)

    def __getitem__(self, part: Part) -> NDArray[Any]:
        """Read and unpack a part."""
        frames: NDArray[Any] = unpack_bits(np.asarray(self._data[part[:-2]]), self.shape[-1])
        rows, columns = part[-2:]
        return frames[..., rows, columns]


class EventBlocks:
    """Events as a dense spectrum image.

    Parameters
    ----------
    events : SparseSI or StoredEvents, shape ((frame,) y, x, energy)
        In memory, or in a container: there the tiles of one row of the image are kept, as events. Several threads may
        read at once.
    """

    def __init__(self, events: SparseSI | StoredEvents) -> None:
        self._events = events
        self.shape, self.dtype = events.shape, np.dtype(events.dtype)
        if isinstance(events, StoredEvents):
            chunks = events.chunks
        else:
            chunks = tile_shape(events.shape, self.dtype.itemsize, EVENT_BYTES)
        self.chunks = tuple(max(min(c, s), 1) for c, s in zip(chunks, self.shape, strict=True))
        self._kept: OrderedDict[tuple[int, ...], SparseSI] = OrderedDict()
        self._keeping = threading.Lock()
        self._most = -(-self.shape[-2] // self.chunks[-2]) + 1

    def __getitem__(self, part: Part) -> NDArray[Any]:
        """Return the counts of a part."""
        *pixels, energy = (slice(*item.indices(size)[:2]) for item, size in zip(part, self.shape, strict=True))
        region, shape = tuple(pixels), tuple(max(p.stop - p.start, 0) for p in pixels)
        if isinstance(self._events, SparseSI):
            return sparse_tiles.cut(self._events, region, shape).to_dense()[..., energy]
        out = np.zeros((*shape, max(energy.stop - energy.start, 0)), self.dtype)
        if not out.size:
            return out
        ranges = [range(p.start // c, -(-p.stop // c)) for p, c in zip(region, self._events.chunks, strict=False)]
        for place in itertools.product(*ranges):
            target, inside = [], []
            for p, b, c in zip(region, place, self._events.chunks, strict=False):
                start, stop = max(p.start, b * c), min(p.stop, (b + 1) * c)
                target.append(slice(start - p.start, stop - p.start))
                inside.append(slice(start - b * c, stop - b * c))
            tile = self._tile((*place, 0), self._events)
            part_of = sparse_tiles.cut(tile, tuple(inside), tuple(i.stop - i.start for i in inside))
            out[tuple(target)] = part_of.to_dense()[..., energy]
        return out

    def _tile(self, place: tuple[int, ...], events: StoredEvents) -> SparseSI:
        with self._keeping:
            tile = self._kept.get(place)
        if tile is None:
            tile = events.block(place)  # not under the lock: threads may decode at once
            with self._keeping:
                self._kept[place] = tile
                while len(self._kept) > self._most:
                    self._kept.popitem(last=False)
        return tile

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_kept", "_keeping")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._kept, self._keeping = OrderedDict(), threading.Lock()


class GridBlocks:
    """Frames in visit order seen as (y, x, ky, kx).

    Parameters
    ----------
    frames : ArrayBlocks or PackedBlocks, shape (n, ky, kx)
        One frame for each position; in memory unless the order is raster.
    order : ndarray of int, shape (n,)
        Flat position of each frame, every one exactly once.
    scan_shape : tuple of int
        ``(y, x)``.
    """

    def __init__(
        self, frames: ArrayBlocks | PackedBlocks, order: NDArray[np.int64], scan_shape: tuple[int, int]
    ) -> None:
        self._frames = frames
        self._raster = bool((order == np.arange(len(order))).all())
        self._number = np.argsort(order).reshape(scan_shape)
        self.shape, self.dtype = (*scan_shape, *frames.shape[1:]), frames.dtype
        self.chunks = block_shape(self.shape, self.dtype.itemsize)

    def __getitem__(self, part: Part) -> NDArray[Any]:
        """Read a part."""
        y, x, *detector = part
        numbers = self._number[y, x]
        if not numbers.size:
            shape = [len(range(size)[item]) for item, size in zip(part, self.shape, strict=True)]
            return np.zeros(shape, self.dtype)
        if self._raster:
            rows = [self._frames[(slice(int(row[0]), int(row[-1]) + 1), *detector)] for row in numbers]
            return np.stack(rows)
        frames = self._frames[(numbers.reshape(-1), *detector)]  # type: ignore[arg-type]
        return frames.reshape(*numbers.shape, *frames.shape[1:])


def dense_view(name: str, signal: Signal) -> ArrayBlocks | PackedBlocks | EventBlocks:
    """Return a signal as a dense array that is read part by part.

    Raises
    ------
    ParameterError
        If it is a table of events in detector frames.
    """
    if isinstance(signal.data, EventTable):
        raise ParameterError(
            f"signal {name!r} is a table of events in detector frames; make frames of it first (EventTable.to_frames)"
        )
    if signal.kind == "events":
        return EventBlocks(signal.data)
    if signal.kind == "packed" and signal.frame_shape is not None:
        return PackedBlocks(signal.data, signal.frame_shape)
    return ArrayBlocks(signal.data)


def on_grid(name: str, signal: Signal, scan: ScanRecord | None, memory_bytes: int) -> GridBlocks | None:
    """Return frames in visit order as (y, x, ky, kx); None unless every position has exactly one.

    Raises
    ------
    ParameterError
        If they must be in memory to be sorted, and are too large.
    """
    if scan is None or not signal.in_visit_order or signal.frame_shape is None:
        return None
    n, positions = signal.axes[0].size, scan.shape[0] * scan.shape[1]
    if n != positions:
        return None
    order = scan.order(n)
    if not np.array_equal(np.sort(order), np.arange(positions)):
        return None
    data = signal.data
    if signal.lazy and (order != np.arange(n)).any():
        if signal.nbytes > memory_bytes:
            raise ParameterError(
                f"the frames of signal {name!r} are in another order than the raster: to sort them they must be in "
                f"memory, {signal.nbytes / 1e9:,.1f} GB, but {memory_bytes / 1e9:,.1f} GB are allowed (memory_bytes)"
            )
        data = np.asarray(data[...])
    frames = PackedBlocks(data, signal.frame_shape) if signal.kind == "packed" else ArrayBlocks(data)
    return GridBlocks(frames, order, scan.shape)


def parts(shape: tuple[int, ...], itemsize: int) -> Iterator[Part]:
    """Yield parts of about 4 MB in the order in which an array lies in a file, row by row."""
    chunks = block_shape(shape, itemsize)
    for place in itertools.product(*(range(-(-s // c)) for s, c in zip(shape, chunks, strict=True))):
        yield tuple(slice(b * c, min((b + 1) * c, s)) for b, c, s in zip(place, chunks, shape, strict=True))


def file_chunks(view: Blocks) -> tuple[int, ...]:
    """Return the chunks of a file: those of the view, cut along the first axes until they have at most 4 MB."""
    chunks = list(view.chunks)
    for axis in range(len(chunks) - 1):
        room = max(BLOCK_BYTES // (view.dtype.itemsize * math.prod(chunks[:axis]) * math.prod(chunks[axis + 1 :])), 1)
        chunks[axis] = next(n for n in range(min(room, chunks[axis]), 0, -1) if chunks[axis] % n == 0)
    return tuple(chunks)
