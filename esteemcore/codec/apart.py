"""Voxels stored exactly, apart from the rest: their places and their values, bit by bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import FormatError
from esteemcore.codec import parts


def pack(rows: NDArray[Any], places: NDArray[np.int64]) -> list[bytes]:
    """Return places (differences, uint32) and values of some voxels of a contiguous array."""
    values = rows.reshape(-1)[places]
    gaps = np.diff(places, prepend=np.int64(0)).astype("<u4")
    return [
        parts.deflate_list(gaps),
        parts.deflate_list(values.astype(values.dtype.newbyteorder("<"), copy=False)),
    ]


def restore(pieces: list[bytes], rows: NDArray[Any]) -> None:
    """Write the values where they belong, into a contiguous array.

    Raises
    ------
    FormatError
        If the bytes are damaged or a place is outside of the array.
    """
    places = np.cumsum(parts.inflate_list(pieces[0], "<u4", rows.size), dtype=np.int64)
    values = parts.inflate_list(pieces[1], rows.dtype.newbyteorder("<"), rows.size)
    if len(values) != len(places) or (len(places) and places[-1] >= rows.size):
        raise FormatError("voxels stored apart lie outside of the spectrum image; the block was changed")
    rows.reshape(-1)[places] = values
