"""The bytes of one block: little-endian values, zstd, CRC-32C, as Zarr's codecs ``bytes, zstd, crc32c`` write them."""

from __future__ import annotations

import functools
import math
from typing import Any

import google_crc32c
import numpy as np
from numcodecs.zstd import Zstd
from numpy.typing import NDArray

LEVEL = 1
"""Compression level of zstd: higher ones cost more time and gain nothing on sparse frames."""

CODECS: list[dict[str, Any]] = [
    {"name": "bytes", "configuration": {"endian": "little"}},
    {"name": "zstd", "configuration": {"level": LEVEL, "checksum": False}},
    {"name": "crc32c"},
]


EXPANSION = 1 << 15
"""zstd cannot expand further: a block that claims more is refused before memory is asked for."""


class BlockError(Exception):
    """The bytes of a block are not what was written; the message says what is wrong with them."""


@functools.cache
def _zstd() -> Zstd:
    return Zstd(level=LEVEL)


def little_endian(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype as it is stored."""
    return dtype.newbyteorder("<")


def encode(block: NDArray[Any]) -> tuple[bytes, bytes]:
    """Return the compressed values of a block and their checksum, to be written one after the other."""
    payload = _zstd().encode(np.ascontiguousarray(block, little_endian(block.dtype)).reshape(-1).view(np.uint8))
    return payload, int(google_crc32c.value(payload)).to_bytes(4, "little")


def decode(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the values of a block.

    Raises
    ------
    BlockError
        If the bytes were changed or cut off.
    """
    if len(data) < 5:
        raise BlockError(f"it has only {len(data)} bytes")
    payload = data[:-4]
    if int(google_crc32c.value(payload)).to_bytes(4, "little") != data[-4:]:
        raise BlockError("its checksum does not match")
    if math.prod(shape) * dtype.itemsize > EXPANSION * len(payload):
        raise BlockError(f"its {len(data)} bytes cannot hold {dtype} of shape {shape}")
    try:
        block = np.empty(shape, little_endian(dtype))
        _zstd().decode(payload, out=block.reshape(-1).view(np.uint8))
    except Exception as error:
        raise BlockError(f"it cannot be decompressed ({error})") from error
    return block.astype(dtype, copy=False)
