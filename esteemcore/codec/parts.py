"""Several byte strings in one, and arrays compressed with zstd."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import FormatError
from esteemcore.codec import zstd

EXPANSION = 1 << 15
"""zstd cannot expand further: what claims more is refused before memory is asked for."""


def deflate(array: NDArray[Any], level: int = zstd.LEVEL) -> bytes:
    """Return the bytes of an array, compressed with zstd."""
    return zstd.compress(np.ascontiguousarray(array).reshape(-1).view(np.uint8), level)


def inflate(data: bytes, shape: tuple[int, ...], dtype: str | np.dtype[Any]) -> NDArray[Any]:
    """Return the array that `deflate` compressed.

    Raises
    ------
    FormatError
        If the bytes are damaged or do not hold an array of this shape and dtype.
    """
    kind = np.dtype(dtype)
    size = kind.itemsize * math.prod(shape)
    if size > EXPANSION * len(data):
        raise FormatError(f"{len(data)} bytes cannot hold {size} bytes of values; the block was changed")
    return zstd.decompress(data, size).view(kind).reshape(shape)


def deflate_list(values: NDArray[Any]) -> bytes:
    """Return a list of values, compressed, after their number (uint32)."""
    return struct.pack("<I", values.size) + deflate(values)


def inflate_list(data: bytes, dtype: str | np.dtype[Any], most: int) -> NDArray[Any]:
    """Return the list that `deflate_list` compressed, of up to `most` values, or raise `FormatError`."""
    count = int.from_bytes(data[:4], "little")
    if len(data) < 4 or count > most:
        raise FormatError(f"a list has {count} values; expected {most} at most: the block was changed")
    return inflate(data[4:], (count,), dtype)


def join(pieces: Sequence[bytes]) -> bytes:
    """Return byte strings in one: their number (uint32), their lengths (uint64 each), then themselves."""
    return struct.pack(f"<I{len(pieces)}Q", len(pieces), *map(len, pieces)) + b"".join(pieces)


def split(data: bytes, n: int) -> list[bytes]:
    """Return the n byte strings that `join` put together.

    Raises
    ------
    FormatError
        If the lengths do not add up, or there are not `n` parts.
    """
    count = int.from_bytes(data[:4], "little")
    at = 4 + 8 * count
    if len(data) < max(4, at) or count != n:
        raise FormatError(f"the payload has {count} parts in {len(data)} bytes; expected {n}: the block was changed")
    lengths = struct.unpack_from(f"<{count}Q", data, 4)
    if at + sum(lengths) != len(data):
        raise FormatError("the lengths of the parts of the payload do not add up; the block was changed")
    pieces = []
    for length in lengths:
        pieces.append(data[at : at + length])
        at += length
    return pieces
