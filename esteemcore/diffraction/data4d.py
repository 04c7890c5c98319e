"""4D-STEM data in memory or not: checked at the door, read piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import ParameterError
from esteemcore.stream import Chunk, Spec

PIECE_BYTES = 64_000_000
"""Bytes that are read at once."""


def spec_of(data4d: Any) -> Spec:
    """Return what an array of frames (y, x, ky, kx) holds; it may be a memory map, a Zarr, HDF5 or Dask array."""
    shape, dtype = getattr(data4d, "shape", None), getattr(data4d, "dtype", None)
    if shape is None or dtype is None:
        raise ParameterError(f"data4d is of type {type(data4d).__name__}; expected an array with axes (y, x, ky, kx)")
    if len(shape) != 4 or 0 in shape:
        raise ParameterError(f"data4d has shape {tuple(shape)}; expected four axes (y, x, ky, kx), none of them empty")
    if np.dtype(dtype).kind not in "biuf":
        raise ParameterError(f"data4d has dtype {dtype}; expected booleans, integers or real numbers")
    return Spec((int(shape[0]), int(shape[1])), (int(shape[2]), int(shape[3])), np.dtype(dtype))


def pieces(data4d: Any) -> Iterator[Chunk]:
    """Yield some rows of the scan after the other, never much more than `PIECE_BYTES`; long rows are cut."""
    spec = spec_of(data4d)
    ny, nx = spec.scan_shape
    at_once = max(1, PIECE_BYTES // (spec.pixels * spec.dtype.itemsize))
    rows, columns = max(1, at_once // nx), min(nx, at_once)
    for y in range(0, ny, rows):
        for x in range(0, nx, columns):
            block = np.asarray(data4d[y : y + rows, x : x + columns])
            index = (np.arange(y, y + block.shape[0])[:, None] * nx + np.arange(x, x + block.shape[1])).ravel()
            yield Chunk(index, block.reshape(-1, *spec.frame_shape))


def frame_at(data4d: Any, index: int) -> NDArray[Any]:
    """Return the frame of a flat scan position, by slices, which is all that some arrays on disk can do."""
    y, x = divmod(index, int(data4d.shape[1]))
    block: NDArray[Any] = np.asarray(data4d[y : y + 1, x : x + 1]).reshape(data4d.shape[2:])
    return block
