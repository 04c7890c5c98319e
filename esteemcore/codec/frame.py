"""The frame around every encoded block: it names the codec, what decoding needs to know, and a checksum.

Layout, little-endian: ``b"EsTm"``, version (uint8), length of the codec's id (uint8), id (ASCII), length of the
configuration (uint16), configuration (JSON), length of the payload (uint64), payload, CRC-32C of all before (uint32).
"""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Mapping
from typing import Any

import google_crc32c

from esteemcore._core.errors import FormatError, ParameterError

MAGIC = b"EsTm"
VERSION = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """What a block says about itself, and its payload.

    Attributes
    ----------
    codec : str
        Id of the codec, such as ``"esteem.events"``.
    config : dict
        What decoding needs to know: shape, dtype, method; values as JSON has them.
    payload : bytes
        The coded values.
    """

    codec: str
    config: dict[str, Any]
    payload: bytes


def pack(codec: str, config: Mapping[str, Any], payload: bytes) -> bytes:
    """Return a framed block.

    Parameters
    ----------
    codec : str
        Id of the codec, ASCII, up to 255 characters.
    config : mapping
        What decoding needs to know; must survive JSON, up to 65,535 bytes of it.
    payload : bytes
        The coded values.
    """
    name = codec.encode("ascii")
    words = json.dumps(dict(config), separators=(",", ":"), sort_keys=True).encode("ascii")
    if not 0 < len(name) < 256 or len(words) > 0xFFFF:
        raise ParameterError(f"the codec id has {len(name)} bytes and its configuration {len(words)}; too many")
    head = MAGIC + struct.pack("<BB", VERSION, len(name)) + name + struct.pack("<H", len(words)) + words
    body = head + struct.pack("<Q", len(payload)) + payload
    return body + struct.pack("<I", google_crc32c.value(body))


def unpack(data: bytes | bytearray | memoryview, codec: str | None = None) -> Frame:
    """Open a framed block and check it.

    Parameters
    ----------
    data : bytes-like
        One block, as `pack` made it.
    codec : str, optional
        Id that the block must have.

    Raises
    ------
    FormatError
        If it is no block, or one that is cut off, changed, of a later version or of another codec.
    """
    try:
        block = bytes(memoryview(data))
    except TypeError:
        raise FormatError(f"this is no block of Esteem's codecs, but a {type(data).__name__}; expected bytes") from None
    if block[:4] != MAGIC:
        raise FormatError("this is no block of Esteem's codecs: it does not start with 'EsTm'")
    if len(block) < 6:
        raise FormatError(f"the block has only {len(block)} bytes; it was cut off")
    version, n_name = block[4], block[5]
    if version != VERSION:
        raise FormatError(f"the block has version {version}; this Esteem reads version {VERSION}")
    try:
        (n_words,) = struct.unpack_from("<H", block, 6 + n_name)
        (n_payload,) = struct.unpack_from("<Q", block, 8 + n_name + n_words)
    except struct.error:
        raise FormatError(f"the block has only {len(block)} bytes; it was cut off") from None
    start = 16 + n_name + n_words
    if len(block) != start + n_payload + 4:
        raise FormatError(f"the block has {len(block)} bytes instead of {start + n_payload + 4}; it was cut off")
    if struct.pack("<I", google_crc32c.value(block[:-4])) != block[-4:]:
        raise FormatError("the block was changed: its checksum does not match")
    try:
        name = block[6 : 6 + n_name].decode("ascii")
        config = json.loads(block[8 + n_name : 8 + n_name + n_words].decode("ascii"))
    except (ValueError, RecursionError):
        raise FormatError("the head of the block cannot be read") from None
    if not isinstance(config, dict):
        raise FormatError("the head of the block cannot be read: its configuration is no dictionary")
    if codec is not None and name != codec:
        raise FormatError(f"the block was made by the codec {name!r}; expected {codec!r}")
    return Frame(name, config, block[start:-4])


def whole_numbers(
    config: Mapping[str, Any], key: str, *, length: int | None = None, maximum: int = 2**62
) -> tuple[int, ...]:
    """Return a list of whole numbers, zero or more, from the configuration of a block, or raise `FormatError`."""
    value = config.get(key)
    if (
        not isinstance(value, list)
        or (length is not None and len(value) != length)
        or not all(type(n) is int and 0 <= n <= maximum for n in value)
    ):
        raise FormatError(f"the head of the block has {key} {value!r}; expected whole numbers up to {maximum}")
    return tuple(value)


def whole_number(config: Mapping[str, Any], key: str, low: int, high: int) -> int:
    """Return a whole number within ``[low, high]`` from the configuration of a block, or raise `FormatError`."""
    value = config.get(key)
    if type(value) is not int or not low <= value <= high:
        raise FormatError(f"the head of the block has {key} {value!r}; expected a whole number from {low} to {high}")
    return value
