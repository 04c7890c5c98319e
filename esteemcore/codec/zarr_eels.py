"""The codecs of spectra and of anything else as Zarr v3 serializers; see `zarr_codecs` for those of counts."""

from __future__ import annotations

import abc
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import FormatError, ParameterError
from esteemcore.codec.eels import OUTLIER_SIGMA, EelsBlocksCodec
from esteemcore.codec.eels_bounded import EelsBoundedCodec
from esteemcore.codec.energy_blocks import Blocks, rising_blocks
from esteemcore.codec.lossless import LosslessCodec, decode_lossless
from esteemcore.codec.zarr_codecs import _Serializer

if TYPE_CHECKING:
    from zarr.core.common import JSON


@dataclass(frozen=True)
class _Configured(_Serializer):
    """A serializer whose entry in Zarr metadata holds the choices of the encoder."""

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        """Make the codec from its entry in Zarr metadata."""
        choices = data.get("configuration", {})
        if data.get("name") != cls.name or not isinstance(choices, dict):
            raise FormatError(f"{data!r} is not the codec {cls.name!r}")
        try:
            return cls(**choices)
        except (TypeError, ParameterError) as error:
            raise FormatError(f"{data!r} is not the codec {cls.name!r}: {error}") from None

    def to_dict(self) -> dict[str, JSON]:
        """Return the codec's entry in Zarr metadata."""
        return {"name": self.name, "configuration": self._configuration()}

    @abc.abstractmethod
    def _configuration(self) -> dict[str, JSON]:
        """Return the choices of the encoder."""


class _Spectra(_Configured):
    """A serializer of spectra (..., energy) in one of the two codecs that lose something."""

    @abc.abstractmethod
    def _codec(self) -> EelsBoundedCodec | EelsBlocksCodec:
        """Return the codec with these choices."""

    def _configuration(self) -> dict[str, JSON]:
        return self._codec().config

    def _check(self, ndim: int, dtype: np.dtype[Any]) -> None:
        if ndim < 1 or dtype.kind not in "iuf" or dtype.itemsize > 8:
            raise ParameterError(f"{self.name} stores integers or floats (..., energy); the array has dtype {dtype}")

    def _encode(self, chunk: NDArray[Any]) -> bytes:
        return self._codec().encode(chunk.astype(chunk.dtype.newbyteorder("="), copy=False))

    def _decode(self, block: bytes, most: int, most_bytes: int) -> NDArray[Any]:
        return self._codec().decode_up_to(block, most)


@dataclass(frozen=True)
class EelsBoundedZarrCodec(_Spectra):
    """Serializer ``esteem.eels-bounded`` for spectra (..., energy): lossy, the error bounded on every voxel.

    Parameters are those of `EelsBoundedCodec`. The prediction averages over the pixels of a chunk: chunks of some
    thousand spectra suit it best.
    """

    bound_sigma: float = 0.5
    gain: float = 1.0
    readout_sigma: float = 0.0

    name: ClassVar[str] = "esteem.eels-bounded"

    def __post_init__(self) -> None:
        self._codec()

    def _codec(self) -> EelsBoundedCodec:
        return EelsBoundedCodec(self.bound_sigma, self.gain, self.readout_sigma)


@dataclass(frozen=True)
class EelsBlocksZarrCodec(_Spectra):
    """Serializer ``esteem.eels-blocks`` for spectra (..., energy): lossy, coarse blocks of channels.

    Parameters are those of `EelsBlocksCodec`; without blocks each chunk chooses its own. The principal components are
    those of a chunk: make a chunk of a whole spectrum image.
    """

    blocks: Blocks | None = None
    n_components: int = 30
    smoothing: bool = True
    outliers: str = "remove"
    outlier_sigma: float | None = OUTLIER_SIGMA
    gain: float = 1.0
    readout_sigma: float = 0.0

    name: ClassVar[str] = "esteem.eels-blocks"

    def __post_init__(self) -> None:
        checked = self._codec()
        if checked.blocks is not None:  # hashable, as Zarr wants its codecs
            object.__setattr__(self, "blocks", tuple(rising_blocks(checked.blocks)))

    def _codec(self) -> EelsBlocksCodec:
        return EelsBlocksCodec(**{field.name: getattr(self, field.name) for field in fields(self)})


@dataclass(frozen=True)
class LosslessZarrCodec(_Configured):
    """Serializer ``esteem.lossless`` for any array of values; `level` is that of zstd."""

    level: int = 3

    name: ClassVar[str] = "esteem.lossless"

    def _configuration(self) -> dict[str, JSON]:
        return LosslessCodec(self.level).config

    def _check(self, ndim: int, dtype: np.dtype[Any]) -> None:
        if dtype.hasobject:
            raise ParameterError(f"{self.name} stores values, not Python objects; the array has dtype {dtype}")

    def _encode(self, chunk: NDArray[Any]) -> bytes:
        return LosslessCodec(self.level).encode(chunk.astype(chunk.dtype.newbyteorder("="), copy=False))

    def _decode(self, block: bytes, most: int, most_bytes: int) -> NDArray[Any]:
        return decode_lossless(block, max_bytes=most_bytes)
