"""How the chunks of an array become bytes: by zstd as in version 1, or by one of Esteem's codecs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import EsteemError, FormatError, ParameterError
from esteemcore.events import SparseSI
from esteemcore.io import blocks

if TYPE_CHECKING:
    from esteemcore.codec.registry import Codec

ZSTD = "zstd"
EVENTS, BINARY, LOSSLESS = "esteem.events", "esteem.binary-frames", "esteem.lossless"
BOUNDED, BLOCKS = "esteem.eels-bounded", "esteem.eels-blocks"
STORED = (ZSTD, EVENTS, BINARY, LOSSLESS, BOUNDED, BLOCKS)
"""Codecs that plain Zarr finds too, by their entry points; a container has no others."""

EXACT = (ZSTD, EVENTS, BINARY, LOSSLESS)
"""Codecs that give back what they were given; all others lose something."""


@dataclasses.dataclass(frozen=True)
class ChunkCodec:
    """The codec of one array.

    Attributes
    ----------
    codec : Codec or None
        One of Esteem's codecs, which frames and checks each block itself; None: the values, zstd, CRC-32C.
    """

    codec: Codec | None = None

    @property
    def name(self) -> str:
        """Its name, such as ``"esteem.events"``, or ``"zstd"``."""
        return ZSTD if self.codec is None else str(self.codec.id)

    @property
    def lossy(self) -> bool:
        """True when the values that come back may differ from those that were given."""
        return self.name not in EXACT

    @property
    def zarr(self) -> list[dict[str, Any]]:
        """The ``codecs`` of Zarr's metadata."""
        if self.codec is None:
            return blocks.CODECS
        return [{"name": self.name, "configuration": dict(self.codec.config)}]

    def encode(self, block: NDArray[Any] | SparseSI) -> tuple[bytes, ...]:
        """Return the bytes of a block, in pieces to be written one after the other.

        Raises
        ------
        ParameterError
            If the codec cannot hold these values.
        """
        if self.codec is None:
            if isinstance(block, SparseSI):
                raise ParameterError(f"events are stored with {EVENTS!r}; for zstd make them dense first")
            return blocks.encode(block)
        return (self.codec.encode(block),)

    def decode(self, data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any] | SparseSI:
        """Return the values of a block: a `SparseSI` from the codec of events, else an array.

        Raises
        ------
        blocks.BlockError
            If the bytes were changed or cut off, or hold another block.
        """
        if self.codec is None:
            return blocks.decode(data, shape, dtype)
        try:
            self._check_head(data, shape)
            values = self.codec.decode(data)
        except (EsteemError, MemoryError) as error:
            raise blocks.BlockError(str(error) or "it needs more memory than there is") from error
        if isinstance(values, SparseSI):
            if values.shape != shape or values.dtype != dtype:
                raise blocks.BlockError(f"it holds {values.dtype} of shape {values.shape}, not {dtype} of {shape}")
            return values
        if values.size != math.prod(shape) or values.dtype.newbyteorder("=") != dtype:
            raise blocks.BlockError(f"it holds {values.dtype} of shape {values.shape}, not {dtype} of {shape}")
        return np.asarray(values.reshape(shape).astype(dtype, copy=False))

    def decode_events(
        self, data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], energy: tuple[int, int]
    ) -> SparseSI:
        """Return a range of energy channels of a block of events; the others are not decoded.

        Raises
        ------
        blocks.BlockError
            See `decode`.
        """
        from esteemcore.codec.events import decode_events

        try:
            self._check_head(data, shape)
            values = decode_events(data, energy=energy)
        except (EsteemError, MemoryError) as error:
            raise blocks.BlockError(str(error) or "it needs more memory than there is") from error
        expected = (*shape[:-1], energy[1] - energy[0])
        if values.shape != expected or values.dtype != dtype:
            raise blocks.BlockError(f"it holds {values.dtype} of shape {values.shape}, not {dtype} of {expected}")
        return values

    def _check_head(self, data: bytes, shape: tuple[int, ...]) -> None:
        """See that a block says it has the size that is expected, before memory is asked for."""
        from esteemcore.codec import frame

        said = frame.unpack(data, self.name).config.get("shape")
        if isinstance(said, list) and math.prod(n if isinstance(n, int) else 0 for n in said) != math.prod(shape):
            raise FormatError(f"it holds a block of shape {said}, not {list(shape)}")


def chunk_codec(spec: Any) -> ChunkCodec:
    """Return the codec that a user asks for.

    Parameters
    ----------
    spec : str, mapping or codec
        ``"zstd"``, the id of one of Esteem's codecs, a mapping with its ``"name"`` and its parameters, or the codec.

    Raises
    ------
    ParameterError
        If there is no such codec, or its parameters are wrong.
    """
    if isinstance(spec, ChunkCodec):
        return spec
    if all(hasattr(spec, name) for name in ("id", "config", "encode", "decode")):
        spec = {**spec.config, "name": spec.id}
    parameters = dict(spec) if isinstance(spec, Mapping) else {"name": spec}
    name = parameters.pop("name", None)
    if name == ZSTD and not parameters:
        return ChunkCodec()
    if not isinstance(name, str):
        raise ParameterError(
            f"codec is {spec!r}; expected a name such as {ZSTD!r} or {LOSSLESS!r}, or a mapping with 'name' and "
            f"parameters, e.g. {{'name': {BOUNDED!r}, 'bound_sigma': 0.5}}"
        )
    if name not in STORED:
        raise ParameterError(f"there is no codec {name!r} for containers; there are {', '.join(map(repr, STORED))}")
    from esteemcore.codec import registry

    try:
        return ChunkCodec(registry.by_name(name, **parameters))
    except (FormatError, TypeError) as error:
        raise ParameterError(f"codec {spec!r} cannot be used: {error}") from error


def from_zarr(entries: Any) -> ChunkCodec:
    """Return the codec that an array's metadata name.

    Raises
    ------
    FormatError
        If it is none that the container uses.
    """
    names = [entry["name"] for entry in entries]
    if names == [codec["name"] for codec in blocks.CODECS]:
        return ChunkCodec()
    if len(names) == 1 and names[0] in STORED[1:]:
        from esteemcore.codec import registry

        try:
            return ChunkCodec(registry.by_name(names[0], **entries[0].get("configuration", {})))
        except (EsteemError, TypeError) as error:
            raise FormatError(f"{error}; install a newer Esteem") from error
    raise FormatError(
        f"codecs {', '.join(map(str, names))} are none that this Esteem knows; install a newer one, or try zarr.open"
    )
