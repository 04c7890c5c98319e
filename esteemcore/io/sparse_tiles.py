"""Tiles of sparse spectrum images: cut out of one, and put together again, without ever making a dense array."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.events import SparseSI

Region = tuple[slice, ...]
"""One slice (start, stop) for each axis but the energy."""


def cut(si: SparseSI, region: Region, shape: tuple[int, ...]) -> SparseSI:
    """Return a part of a sparse spectrum image, padded with empty pixels.

    Parameters
    ----------
    si : SparseSI, shape (..., y, x, energy)
        The whole.
    region : tuple of slice
        Which pixels.
    shape : tuple of int
        Shape of the pixels of the tile, at least that of the region; the rest is empty.

    Returns
    -------
    SparseSI, shape (*shape, energy)
    """
    pixels = np.full(shape, -1, np.int64)
    inside = tuple(slice(part.stop - part.start) for part in region)
    pixels[inside] = _numbers(si.shape[:-1], region)
    chosen = pixels.reshape(-1)
    first, size = si.offset[chosen], np.where(chosen < 0, 0, si.offset[chosen + 1] - si.offset[chosen])
    offset = np.zeros(chosen.size + 1, np.int64)
    np.cumsum(size, out=offset[1:])
    entry = _spread(first, offset)
    return SparseSI((*shape, si.shape[-1]), si.dtype, offset, si.channel[entry], si.count[entry])


def join(shape: tuple[int, ...], dtype: np.dtype[Any], tiles: Iterable[tuple[Region, SparseSI]]) -> SparseSI:
    """Put tiles together; pixels that are in no tile are empty, what is padded in a tile is left out.

    Parameters
    ----------
    shape : tuple of int
        Shape of the whole, ``(..., y, x, energy)``.
    dtype : numpy.dtype
        Integer dtype.
    tiles : iterable of (region, SparseSI)
        Where each tile goes, see `cut`; they must not overlap.
    """
    size = np.zeros(math.prod(shape[:-1]), np.int64)
    placed: list[tuple[NDArray[np.int64], SparseSI]] = []
    for region, tile in tiles:
        inside = tuple(slice(part.stop - part.start) for part in region)
        if tile.shape[:-1] != tuple(part.stop for part in inside):
            tile = cut(tile, tuple(slice(0, part.stop) for part in inside), tuple(part.stop for part in inside))
        pixels = _numbers(shape[:-1], region).reshape(-1)
        size[pixels] = np.diff(tile.offset)
        placed.append((pixels, tile))
    offset = np.zeros(size.size + 1, np.int64)
    np.cumsum(size, out=offset[1:])
    channel, count = np.empty(int(offset[-1]), np.uint32), np.empty(int(offset[-1]), dtype)
    for pixels, tile in placed:
        entry = _spread(offset[pixels], tile.offset)
        channel[entry], count[entry] = tile.channel, tile.count
    return SparseSI(shape, dtype, offset, channel, count)


def energy_range(si: SparseSI, start: int, stop: int) -> SparseSI:
    """Return the channels ``start`` to ``stop`` of a sparse spectrum image."""
    keep = (si.channel >= start) & (si.channel < stop)
    offset = np.concatenate([[0], np.cumsum(keep)])[si.offset]
    channel = si.channel[keep] - np.uint32(start)
    return SparseSI((*si.shape[:-1], stop - start), si.dtype, offset, channel, si.count[keep])


def frame_of(si: SparseSI, number: int) -> SparseSI:
    """Return one frame (y, x, energy) of a series (frame, y, x, energy), without copying."""
    pixels = math.prod(si.shape[1:-1])
    offset = si.offset[number * pixels : (number + 1) * pixels + 1]
    part = slice(int(offset[0]), int(offset[-1]))
    return SparseSI(si.shape[1:], si.dtype, offset - offset[0], si.channel[part], si.count[part])


def _numbers(shape: tuple[int, ...], region: Region) -> NDArray[np.int64]:
    """Return the flat numbers of the pixels of a region."""
    axes = [np.arange(part.start, part.stop, dtype=np.int64) for part in region]
    return (
        np.ravel_multi_index(np.ix_(*axes), shape).astype(np.int64, copy=False)
        if min(map(len, axes))
        else np.zeros([len(axis) for axis in axes], np.int64)
    )


def _spread(first: NDArray[np.int64], offset: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of all entries of rows that begin at ``first`` and have the sizes that ``offset`` says."""
    size = np.diff(offset)
    return np.repeat(first - offset[:-1], size) + np.arange(offset[-1], dtype=np.int64)
