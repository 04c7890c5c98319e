"""What every codec looks like, and which ones there are, by the id that their blocks carry."""

from __future__ import annotations

import importlib
from typing import Any, Protocol, cast

from esteemcore._core.errors import FormatError
from esteemcore.codec import frame

CODECS: dict[str, tuple[str, str]] = {
    "esteem.binary-frames": ("esteemcore.codec.binary", "BinaryFramesCodec"),
    "esteem.eels-blocks": ("esteemcore.codec.eels", "EelsBlocksCodec"),
    "esteem.eels-bounded": ("esteemcore.codec.eels_bounded", "EelsBoundedCodec"),
    "esteem.events": ("esteemcore.codec.events", "EventsCodec"),
    "esteem.lossless": ("esteemcore.codec.lossless", "LosslessCodec"),
}
"""Where the class of each codec is: module and name."""


class Codec(Protocol):
    """Turns arrays into blocks that name themselves, and back."""

    @property
    def id(self) -> str:
        """Name in blocks and in Zarr metadata."""

    @property
    def config(self) -> dict[str, Any]:
        """Choices of the encoder, as JSON has them; ``type(codec)(**config)`` makes the same codec again."""

    def encode(self, data: Any, /) -> bytes:
        """Return the block of an array."""

    def decode(self, data: bytes, /) -> Any:
        """Return the values of a block."""


def by_name(name: str, **config: Any) -> Codec:
    """Return the codec with an id, such as ``"esteem.events"``.

    Raises
    ------
    FormatError
        If there is no such codec.
    """
    if name not in CODECS:
        raise FormatError(f"there is no codec {name!r}; known are {', '.join(repr(n) for n in sorted(CODECS))}")
    module, attribute = CODECS[name]
    return cast(Codec, getattr(importlib.import_module(module), attribute)(**config))


def decode(data: bytes) -> Any:
    """Return the values of a block, whichever codec made it.

    Raises
    ------
    FormatError
        If the bytes are no block, damaged, or of an unknown codec.
    """
    return by_name(frame.unpack(data).codec).decode(data)
