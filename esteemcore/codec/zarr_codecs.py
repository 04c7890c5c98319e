"""Our codecs as Zarr v3 serializers, found through the entry points of group ``zarr.codecs``.

A chunk's bytes are the very block that the codec makes, so `esteemcore.codec.decode_events` reads a chunk from the
store without making it dense.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from zarr.abc.codec import ArrayBytesCodec

from esteemcore._core.errors import FormatError, ParameterError
from esteemcore.codec.binary import decode_binary, encode_binary
from esteemcore.codec.events import decode_events, encode_events

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer
    from zarr.core.common import JSON


@dataclass(frozen=True)
class _Serializer(ArrayBytesCodec):
    """What all of our serializers share: no configuration, chunk in, block out."""

    name: ClassVar[str]
    is_fixed_size = False

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        """Make the codec from its entry in Zarr metadata."""
        if data.get("name") != cls.name or data.get("configuration"):
            raise FormatError(f"{data!r} is not the codec {cls.name!r}, which has no configuration")
        return cls()

    def to_dict(self) -> dict[str, JSON]:
        """Return the codec's entry in Zarr metadata."""
        return {"name": self.name, "configuration": {}}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Refuse arrays that the codec is not made for, when they are created."""
        self._check(len(shape), dtype.to_native_dtype())

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Refuse, as Zarr asks of codecs whose size depends on the values."""
        raise NotImplementedError

    @abc.abstractmethod
    def _check(self, ndim: int, dtype: np.dtype[Any]) -> None:
        """Raise `ParameterError` for arrays that the codec is not made for."""

    @abc.abstractmethod
    def _encode(self, chunk: NDArray[Any]) -> bytes:
        """Return the block of a chunk."""

    @abc.abstractmethod
    def _decode(self, block: bytes, most: int, most_bytes: int) -> NDArray[Any]:
        """Return the chunk of a block, which may ask for no more values, and no more bytes, than the chunk has."""

    def _encode_sync(self, chunk_array: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        return chunk_spec.prototype.buffer.from_bytes(self._encode(np.asarray(chunk_array.as_numpy_array())))

    def _decode_sync(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        dtype, most = chunk_spec.dtype.to_native_dtype(), max(math.prod(chunk_spec.shape), 1)
        chunk = self._decode(chunk_bytes.to_bytes(), most, most * dtype.itemsize)
        if chunk.shape != chunk_spec.shape or chunk.dtype != dtype.newbyteorder("="):
            raise FormatError(
                f"the chunk holds {chunk.dtype} {chunk.shape}; the array has chunks of {dtype} {chunk_spec.shape}"
            )
        return chunk_spec.prototype.nd_buffer.from_numpy_array(chunk.astype(dtype, copy=False))

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        return self._encode_sync(chunk_data, chunk_spec)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        return self._decode_sync(chunk_data, chunk_spec)


@dataclass(frozen=True)
class EventsZarrCodec(_Serializer):
    """Serializer ``esteem.events`` for counts (..., y, x, energy); chunks (1, by, bx, energy) suit it best."""

    name: ClassVar[str] = "esteem.events"

    def _check(self, ndim: int, dtype: np.dtype[Any]) -> None:
        if ndim < 3 or dtype.kind not in "iu":
            raise ParameterError(
                f"{self.name} stores integer counts (..., y, x, energy); the array has {ndim} axes and dtype {dtype}"
            )

    def _encode(self, chunk: NDArray[Any]) -> bytes:
        return encode_events(chunk)

    def _decode(self, block: bytes, most: int, most_bytes: int) -> NDArray[Any]:
        return decode_events(block, max_values=most).to_dense()


@dataclass(frozen=True)
class BinaryFramesZarrCodec(_Serializer):
    """Serializer ``esteem.binary-frames`` for packed one-bit frames, uint8 (n, ky, kx/8), some hundred in a chunk."""

    name: ClassVar[str] = "esteem.binary-frames"

    def _check(self, ndim: int, dtype: np.dtype[Any]) -> None:
        if ndim != 3 or dtype != np.uint8:
            raise ParameterError(
                f"{self.name} stores packed frames, uint8 (n, ky, kx/8); the array has {ndim} axes and dtype {dtype}"
            )

    def _encode(self, chunk: NDArray[Any]) -> bytes:
        return encode_binary(chunk)

    def _decode(self, block: bytes, most: int, most_bytes: int) -> NDArray[Any]:
        return decode_binary(block, max_values=most)
