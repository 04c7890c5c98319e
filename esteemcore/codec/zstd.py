"""Zstandard as the codecs use it: level 3, and a size that must be known before anything is unpacked."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import FormatError

LEVEL = 3


@functools.cache
def _zstd(level: int) -> object:
    from numcodecs.zstd import Zstd

    return Zstd(level=level)


def compress(data: NDArray[np.uint8], level: int = LEVEL) -> bytes:
    """Return bytes compressed."""
    return bytes(_zstd(level).encode(np.ascontiguousarray(data)))  # type: ignore[attr-defined]


def decompress(data: bytes, size: int) -> NDArray[np.uint8]:
    """Return the ``size`` bytes that were compressed.

    Raises
    ------
    FormatError
        If the data are damaged or hold another number of bytes.
    """
    out = np.empty(size, np.uint8)
    if _content_size(data) != size:
        raise FormatError(f"the compressed bytes are damaged: they do not hold {size} bytes")
    try:
        if size:
            _zstd(LEVEL).decode(data, out=out)  # type: ignore[attr-defined]
    except Exception as error:
        raise FormatError(f"the compressed bytes are damaged ({error})") from error
    return out


def _content_size(data: bytes) -> int:
    """Return the size that the head of a Zstandard frame declares, -1 without one (RFC 8878, section 3.1.1.1)."""
    if len(data) < 6 or data[:4] != b"\x28\xb5\x2f\xfd":
        return -1
    single, field = data[4] >> 5 & 1, data[4] >> 6
    length = (single, 2, 4, 8)[field]
    start = 6 - single + (0, 1, 2, 4)[data[4] & 3]
    if not length or len(data) < start + length:
        return -1
    return int.from_bytes(data[start : start + length], "little") + (256 if field == 1 else 0)
