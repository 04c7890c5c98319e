"""Our codecs as those of numcodecs, found through the entry points of group ``numcodecs.codecs``.

Whatever speaks numcodecs (Zarr version 2, references to the chunks of other files) reads our blocks as dense arrays. A
block is the same as in a container: the compressor of an array is one of these codecs, alone.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self

import numpy as np
from numcodecs.abc import Codec as Numcodec
from numcodecs.compat import ensure_bytes, ensure_ndarray_like, ndarray_copy
from numpy.typing import NDArray

from esteemcore._core.errors import FormatError, ParameterError
from esteemcore.codec import registry
from esteemcore.codec.lossless import MAX_BYTES
from esteemcore.events import SparseSI


class _Numcodec(Numcodec):  # type: ignore[misc]  # numcodecs has no types
    """One of our codecs, with its choices; arrays in, blocks out."""

    codec_id: ClassVar[str]

    def __init__(self, **choices: Any) -> None:
        try:
            self._codec = registry.by_name(self.codec_id, **choices)
        except TypeError as error:
            raise ParameterError(f"codec {self.codec_id!r} cannot be used: {error}") from None

    def encode(self, buf: Any) -> bytes:
        """Return the block of an array.

        Raises
        ------
        ParameterError
            If the codec is not made for such an array, or numcodecs could not tell its axes or bytes when it reads.
        """
        array = np.asarray(ensure_ndarray_like(buf))
        if array.dtype.newbyteorder("<") != array.dtype:
            raise ParameterError(f"the array has dtype {array.dtype.str}; {self.codec_id} takes little-endian values")
        if array.flags.f_contiguous and not array.flags.c_contiguous:
            raise ParameterError(f"the chunk lies in memory in Fortran's order; {self.codec_id} takes order='C'")
        return self._codec.encode(array)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Return the array of a block, or write it to ``out``.

        Raises
        ------
        FormatError
            If the bytes are damaged, of another codec, or hold more than ``out``, or than 4 GB without it.
        """
        values = self._codec.decode(ensure_bytes(buf))
        most = MAX_BYTES if out is None else ensure_ndarray_like(out).nbytes
        size = math.prod(values.shape) * values.dtype.itemsize
        if size > most or (out is not None and size < most):
            raise FormatError(f"the block holds {values.dtype} {values.shape}, {size} bytes; expected {most}")
        array: NDArray[Any] = values.to_dense() if isinstance(values, SparseSI) else values
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        return array if out is None else ndarray_copy(array, out)

    def get_config(self) -> dict[str, Any]:
        """Return the id and the choices of the encoder, as JSON has them."""
        return {"id": self.codec_id, **self._codec.config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make the codec from what `get_config` said, without the id."""
        return cls(**config)

    def __repr__(self) -> str:
        choices = ", ".join(f"{name}={value!r}" for name, value in self._codec.config.items())
        return f"{type(self).__name__}({choices})"


class EventsNumcodec(_Numcodec):
    """``esteem.events``: counts (..., y, x, energy) that are mostly zero."""

    codec_id = "esteem.events"


class BinaryFramesNumcodec(_Numcodec):
    """``esteem.binary-frames``: packed one-bit frames, uint8 (n, ky, kx/8)."""

    codec_id = "esteem.binary-frames"


class LosslessNumcodec(_Numcodec):
    """``esteem.lossless``: any array of values, bit by bit."""

    codec_id = "esteem.lossless"


class EelsBoundedNumcodec(_Numcodec):
    """``esteem.eels-bounded``: spectra (..., energy), lossy, the error bounded on every voxel."""

    codec_id = "esteem.eels-bounded"


class EelsBlocksNumcodec(_Numcodec):
    """``esteem.eels-blocks``: spectra (..., energy), lossy, coarse blocks of channels."""

    codec_id = "esteem.eels-blocks"
