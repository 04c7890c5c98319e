"""Arrays that stay on disk, block by block, and are read when they are sliced."""

from __future__ import annotations

import abc
import itertools
import math
import operator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import FormatError
from esteemcore.events import SparseSI
from esteemcore.io import blocks
from esteemcore.io.chunk_codecs import ChunkCodec
from esteemcore.io.zipped import ZippedPath

Place = Path | ZippedPath
"""A folder, or one in a zip."""

_ZSTD = ChunkCodec()


def block_name(coordinates: tuple[int, ...]) -> str:
    """Return the file name of a block: its Zarr key with dots."""
    return ".".join(("c", *map(str, coordinates)))


class StoredBlocks(abc.ABC):
    """The blocks of a Zarr array of the container; `StoredArray` and `StoredEvents` say what is in them.

    Parameters
    ----------
    folder : Path or ZippedPath
        Folder of the array.
    label : str
        What it is called in messages, e.g. ``"signal 'frames'"``.
    unit : str
        What the first axis counts, in messages, e.g. ``"frames"``.
    shape, chunks : tuple of int
        Shape of the array and of its blocks.
    dtype : numpy.dtype
        Dtype, in native byte order.
    fill : scalar or None
        Value of blocks that have no file; None when every block must have one.
    codec : ChunkCodec
        How the blocks became bytes.
    """

    def __init__(
        self,
        folder: Place,
        label: str,
        unit: str,
        shape: tuple[int, ...],
        chunks: tuple[int, ...],
        dtype: np.dtype[Any],
        fill: float | None = None,
        codec: ChunkCodec = _ZSTD,
    ) -> None:
        self.folder, self.label, self.unit = folder, label, unit
        self.shape, self.chunks, self.dtype, self.fill, self.codec = shape, chunks, dtype, fill, codec

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def places(self) -> itertools.product[tuple[int, ...]]:
        """Return the coordinates of all blocks."""
        return itertools.product(*(range(-(-s // c)) for s, c in zip(self.shape, self.chunks, strict=True)))

    @abc.abstractmethod
    def block(self, place: tuple[int, ...]) -> Any:
        """Return one whole block, padded at the rims."""

    def _damage(self, place: tuple[int, ...], why: str) -> str:
        first = place[0] * self.chunks[0]
        last = min(first + self.chunks[0], self.shape[0]) - 1
        which = f"{self.unit} {first:,} to {last:,}"
        if any(c < s for c, s in zip(self.chunks[1:], self.shape[1:], strict=True)):
            which += f" (block {', '.join(map(str, place))})"
        return f"{self.label}: {which} cannot be read: {why} ({self.folder / block_name(place)}); the rest is readable"


class StoredArray(StoredBlocks):
    """A Zarr array of the container, read lazily and with all checksums verified.

    Slicing returns numpy arrays; only the blocks that are touched are read. Integers, slices and ``...`` are
    understood, and a list of integers on the first axis. For the parameters see `StoredBlocks`.
    """

    _last: tuple[tuple[int, ...], NDArray[Any]] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the whole array in memory."""
        return self.size * self.dtype.itemsize

    def __repr__(self) -> str:
        return f"StoredArray({self.label}, shape={self.shape}, dtype={self.dtype})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": None}

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read everything."""
        values: NDArray[Any] = self[...]
        return values if dtype is None else values.astype(dtype, copy=False)

    def __getitem__(self, key: Any) -> Any:
        """Read a part."""
        rows, ranges, drop = self._parse(key)
        shape = (len(rows), *(len(r) for r in ranges))
        out = np.empty(shape, self.dtype)
        touched = [np.unique(rows // self.chunks[0])]
        touched += [np.unique(np.asarray(r, np.int64) // c) for r, c in zip(ranges, self.chunks[1:], strict=True)]
        for place in itertools.product(*(t.tolist() for t in touched)):
            block = self.block(place)
            target, source = [], []
            for axis, (wanted, n, b) in enumerate(zip((rows, *ranges), self.chunks, place, strict=True)):
                indices = np.asarray(wanted, np.int64)
                here = np.flatnonzero(indices // n == b)
                target.append(here if axis == 0 else slice(int(here[0]), int(here[-1]) + 1))
                inside = indices[here] - b * n
                step = int(inside[1] - inside[0]) if len(inside) > 1 else 1
                if axis == 0:
                    source.append(inside)
                else:
                    end = int(inside[-1]) + (1 if step > 0 else -1)
                    source.append(slice(int(inside[0]), None if end < 0 else end, step))
            out[tuple(target)] = block[tuple(source)]
        return out[tuple(0 if d else slice(None) for d in drop)]

    def block(self, place: tuple[int, ...]) -> NDArray[Any]:
        """Return one whole block, padded at the rims of the array.

        Raises
        ------
        FormatError
            If it is damaged or absent; the message says which part of the data that is.
        """
        last = self._last
        if last is not None and last[0] == place:
            return last[1]
        path = self.folder / block_name(place)
        try:
            decoded = self.codec.decode(path.read_bytes(), self.chunks, self.dtype)
            values = decoded.to_dense() if isinstance(decoded, SparseSI) else decoded
        except FileNotFoundError:
            if self.fill is None:
                raise FormatError(self._damage(place, "its file is missing")) from None
            values = np.broadcast_to(np.array(self.fill, self.dtype), self.chunks)  # needs no memory
        except (blocks.BlockError, OSError) as error:
            raise FormatError(self._damage(place, str(error))) from error
        self._last = (place, values)
        return values

    def _parse(self, key: Any) -> tuple[NDArray[np.int64], list[range], list[bool]]:
        """Return the rows, the ranges of the other axes, and which axes were given as one integer."""
        items = list(key) if isinstance(key, tuple) else [key]
        dots = [i for i, item in enumerate(items) if item is Ellipsis]
        if len(dots) > 1 or len(items) - len(dots) > self.ndim:
            raise IndexError(f"{self.label} has {self.ndim} axes, but the index is {key!r}")
        at = dots[0] if dots else len(items)
        items[at : at + len(dots)] = [slice(None)] * (self.ndim - len(items) + len(dots))
        ranges: list[range] = []
        drop: list[bool] = []
        rows: NDArray[np.int64] | None = None
        for axis, (item, size) in enumerate(zip(items, self.shape, strict=True)):
            drop.append(False)
            if isinstance(item, slice):
                ranges.append(range(size)[item])
            elif axis == 0 and isinstance(item, list | np.ndarray):
                chosen = np.asarray(item)
                rows = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen.astype(np.int64)
                if rows.size and not -size <= rows.min() <= rows.max() < size:
                    raise IndexError(f"{self.label}: index {rows.min()} to {rows.max()} is outside 0 to {size - 1}")
                rows = np.where(rows < 0, rows + size, rows)
                ranges.append(range(0))
            else:
                number = operator.index(item)
                if not -size <= number < size:
                    raise IndexError(f"{self.label}: index {number} is outside 0 to {size - 1} of axis {axis}")
                ranges.append(range(number % size, number % size + 1))
                drop[-1] = True
        if rows is None:
            rows = np.arange(ranges[0].start, ranges[0].stop, ranges[0].step, dtype=np.int64)
        return rows, ranges[1:], drop
