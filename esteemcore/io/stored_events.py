"""Sparse spectrum images that stay on disk and are read frame by frame, range by range, never as dense arrays."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn

from esteemcore._core import checks
from esteemcore._core.errors import FormatError, ParameterError
from esteemcore.events import SparseSI
from esteemcore.io import blocks, sparse_tiles
from esteemcore.io.sparse_tiles import Region
from esteemcore.io.stored import StoredBlocks, block_name


class StoredEvents(StoredBlocks):
    """A spectrum image of events in the container, ((frame,) y, x, energy); the data of signals of kind "events".

    It has ``shape`` and ``dtype`` like the dense array that it stands for, but cannot become one by accident:
    `load` and `frame` give a `SparseSI`, `esteemcore.io.to_dask` a lazy dense array. For the parameters see
    `StoredBlocks`.
    """

    def __repr__(self) -> str:
        return f"StoredEvents({self.label}, shape={self.shape}, dtype={self.dtype})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        """Refuse: the dense array may be a thousand times larger than the memory."""
        raise TypeError(
            f"{self.label} is stored as events; take load() or frame(i) for a SparseSI, or io.to_dask for dense parts"
        )

    def load(self, energy: tuple[int, int] | None = None) -> SparseSI:
        """Read everything, or a range of the energy channels.

        Parameters
        ----------
        energy : (int, int), optional
            Channels ``start`` to ``stop`` (not included).

        Returns
        -------
        SparseSI, shape ((frame,) y, x, energy)

        Raises
        ------
        FormatError
            If a block is damaged or absent.
        """
        start, stop = self._energy(energy)
        tiles = ((region, self.block(place, (start, stop))) for place, region in self._regions(self.places()))
        return sparse_tiles.join((*self.shape[:-1], stop - start), self.dtype, tiles)

    def frame(self, number: int, energy: tuple[int, int] | None = None) -> SparseSI:
        """Read one frame of a series.

        Parameters
        ----------
        number : int
            Which one, from 0; negative ones count from the end.
        energy : (int, int), optional
            Channels ``start`` to ``stop`` (not included).

        Returns
        -------
        SparseSI, shape (y, x, energy)

        Raises
        ------
        ParameterError
            If this is one spectrum image, not a series.
        IndexError
            If there is no such frame.
        FormatError
            If a block is damaged or absent.
        """
        if self.ndim != 4:
            raise ParameterError(f"{self.label} has shape {self.shape} and is no series; take load()")
        if not -len(self) <= number < len(self):
            raise IndexError(f"{self.label}: frame {number} is outside 0 to {len(self) - 1}")
        number %= len(self)
        start, stop = self._energy(energy)
        first, inside = divmod(number, self.chunks[0])
        tiles = []
        for place, region in self._regions((first, *rest) for rest in itertools.product(*self._ranges()[1:])):
            tile = sparse_tiles.frame_of(self.block(place, (start, stop)), inside)
            tiles.append((region[1:], tile))
        return sparse_tiles.join((*self.shape[1:-1], stop - start), self.dtype, tiles)

    def frames(self, energy: tuple[int, int] | None = None) -> Iterator[SparseSI]:
        """Yield one frame after the other; a single spectrum image is one frame."""
        if self.ndim == 3:
            yield self.load(energy)
            return
        for number in range(len(self)):
            yield self.frame(number, energy)

    def tiles(self, energy: tuple[int, int] | None = None) -> Iterator[tuple[Region, SparseSI]]:
        """Yield one stored block after the other: the slices of the pixels it holds, and its events.

        What a block at the rim has beyond the image is cut off.
        """
        span = self._energy(energy)
        for place, region in self._regions(self.places()):
            tile = self.block(place, span)
            inside = tuple(slice(0, part.stop - part.start) for part in region)
            yield region, sparse_tiles.cut(tile, inside, tuple(part.stop for part in inside))

    def block(self, place: tuple[int, ...], energy: tuple[int, int] | None = None) -> SparseSI:
        """Return one whole block, padded at the rims.

        Raises
        ------
        FormatError
            If it is damaged or absent; the message says which part of the data that is.
        """
        start, stop = self._energy(energy)
        path = self.folder / block_name(place)
        try:
            return self.codec.decode_events(path.read_bytes(), self.chunks, self.dtype, (start, stop))
        except FileNotFoundError:
            raise FormatError(self._damage(place, "its file is missing")) from None
        except (blocks.BlockError, OSError) as error:
            raise FormatError(self._damage(place, str(error))) from error

    def _energy(self, energy: tuple[int, int] | None) -> tuple[int, int]:
        if energy is None:
            return 0, self.shape[-1]
        try:
            start, stop = energy
        except (TypeError, ValueError):
            raise ParameterError(f"energy is {energy!r}; expected two channels (start, stop)") from None
        start = checks.integer("start of energy", start, minimum=0, maximum=self.shape[-1])
        return start, checks.integer("stop of energy", stop, minimum=start, maximum=self.shape[-1])

    def _ranges(self) -> list[range]:
        """Return the numbers of the blocks along each axis."""
        return [range(-(-size // chunk)) for size, chunk in zip(self.shape, self.chunks, strict=True)]

    def _regions(self, places: Iterable[tuple[int, ...]]) -> Iterator[tuple[tuple[int, ...], Region]]:
        for place in places:
            parts = zip(place[:-1], self.chunks[:-1], self.shape[:-1], strict=True)
            yield place, tuple(slice(p * c, min((p + 1) * c, s)) for p, c, s in parts)


def tile_shape(shape: tuple[int, ...], itemsize: int, room: int) -> tuple[int, ...]:
    """Return the shape of blocks of a spectrum image (..., y, x, energy): (1, ..., by, bx, energy) of about equal size.

    Parameters
    ----------
    shape : tuple of int
        Shape of the image.
    itemsize : int
        Bytes of a value.
    room : int
        Bytes of a block as a dense array, at most, unless one spectrum has more.
    """
    ny, nx, energy = shape[-3:]
    pixels = max(room // max(itemsize * energy, 1), 1)
    side = max(int(pixels**0.5), 1)
    bx = min(nx, max(side, pixels // max(ny, 1)))
    by = min(ny, max(pixels // max(bx, 1), 1))
    sizes = [-(-size // max(-(-size // max(b, 1)), 1)) for size, b in ((ny, by), (nx, bx))]
    return (*itertools.repeat(1, len(shape) - 3), *(max(n, 1) for n in sizes), max(energy, 1))
