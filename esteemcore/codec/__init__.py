"""Codecs for counted data and spectra: each block names its codec, carries a checksum and is safe to decode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from esteemcore.codec.binary import BinaryFramesCodec, decode_binary, encode_binary
from esteemcore.codec.events import EventsCodec, decode_events, encode_events
from esteemcore.codec.lossless import LosslessCodec, decode_lossless, encode_lossless
from esteemcore.codec.registry import CODECS, Codec, by_name, decode

if TYPE_CHECKING:
    from esteemcore.codec.eels import EelsBlocksCodec, EelsBoundedCodec, decode_eels, encode_eels

__all__ = [
    "CODECS",
    "BinaryFramesCodec",
    "Codec",
    "EelsBlocksCodec",
    "EelsBoundedCodec",
    "EventsCodec",
    "LosslessCodec",
    "by_name",
    "decode",
    "decode_binary",
    "decode_eels",
    "decode_events",
    "decode_lossless",
    "encode_binary",
    "encode_eels",
    "encode_events",
    "encode_lossless",
]


def __getattr__(name: str) -> Any:
    if name in __all__:  # the codecs for spectra need SciPy, which takes longer to import than all the others
        from esteemcore.codec import eels

        return getattr(eels, name)
    raise AttributeError(f"module 'esteemcore.codec' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
