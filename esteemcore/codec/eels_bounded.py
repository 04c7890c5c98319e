"""Spectrum images with an error below a given part of the noise, on every voxel.

Each value becomes the number of its level (`quantiser`), the matrix of numbers (pixels, channels) goes to `integers`.
The encoder reads its own levels back and compares: what is further than the bound from its level, lies beyond the
levels, is NaN or infinite, is an exception and stored exactly, apart.

Payload: for each group of rows, levels of whole numbers (nothing for floats), matrix, places of the exceptions
(differences, uint32), their values (bit by bit).
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import FormatError, ParameterError
from esteemcore.codec import apart, frame, integers, parts, spectra
from esteemcore.codec.quantiser import EXACT, LEVELS, NoiseLevels

STRICT = 1 - 1e-6
"""The bound that is verified, in parts of the one that was asked for: whoever checks rounds a little differently."""
LEVEL_BYTES, EXCEPTION_BYTES = 1, 12
"""What a level and an exception cost, roughly, when the encoder decides where levels end."""


@dataclasses.dataclass(frozen=True)
class EelsBoundedCodec:
    """Spectra with an error of at most `bound_sigma` standard deviations of their noise.

    Parameters
    ----------
    bound_sigma : float
        Largest error, in units of ``sqrt(gain * max(value, 0) + readout_sigma**2)``.
    gain : float
        Variance per value: counts per electron. Zero where the noise does not depend on the signal.
    readout_sigma : float
        Standard deviation of the readout noise, in the units of the values.

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore.codec.eels_bounded import EelsBoundedCodec
    >>> counts = np.random.default_rng(0).poisson(100, (8, 8, 64)).astype(np.float32)
    >>> codec = EelsBoundedCodec(bound_sigma=0.5)
    >>> bool((abs(codec.decode(codec.encode(counts)) - counts) <= 0.5 * np.sqrt(counts)).all())
    True
    """

    bound_sigma: float = 0.5
    gain: float = 1.0
    readout_sigma: float = 0.0

    id: ClassVar[str] = "esteem.eels-bounded"

    def __post_init__(self) -> None:
        checks.positive("bound_sigma", self.bound_sigma)
        checks.not_negative("gain", self.gain)
        checks.not_negative("readout_sigma", self.readout_sigma)
        if self.gain == 0 == self.readout_sigma:
            raise ParameterError("gain and readout_sigma are both zero; without noise there is no bound in its units")

    @property
    def config(self) -> dict[str, Any]:
        """Choices of the encoder."""
        return {"bound_sigma": self.bound_sigma, "gain": self.gain, "readout_sigma": self.readout_sigma}

    def encode(self, data: ArrayLike, /) -> bytes:
        """Return the block of an array (..., energy) of floats of up to 64 bits or integers."""
        array = spectra.checked(data)
        rows = spectra.as_rows(array)
        levels = NoiseLevels(float(self.bound_sigma), float(self.gain), float(self.readout_sigma))
        payload = parts.join([piece for group in spectra.groups(rows.shape) for piece in _encode(rows[group], levels)])
        config = {**self.config, "shape": list(array.shape), "dtype": array.dtype.str}
        return frame.pack(self.id, config, payload)

    def decode(self, data: bytes, /) -> NDArray[Any]:
        """Return the array of a block, of the shape and dtype that were encoded.

        Raises
        ------
        FormatError
            If the bytes are damaged or of another codec.
        """
        return self.decode_up_to(data, spectra.MAX_VALUES)

    def decode_up_to(self, data: bytes, max_values: int) -> NDArray[Any]:
        """Return the array of a block that holds no more than `max_values` voxels."""
        block = frame.unpack(data, self.id)
        shape, dtype = spectra.stored(block.config, max_values)
        try:
            codec = EelsBoundedCodec(*(cast(float, block.config.get(name)) for name in self.config))
        except ParameterError as error:
            raise FormatError(f"the head of the block cannot be right: {error}") from None
        levels = NoiseLevels(float(codec.bound_sigma), float(codec.gain), float(codec.readout_sigma))
        size = spectra.matrix_shape(shape)
        every = spectra.groups(size)
        pieces = parts.split(block.payload, 4 * len(every))
        native = dtype.newbyteorder("=")
        with np.errstate(all="ignore"):  # numbers that no encoder wrote may overflow
            done = [
                _decode(pieces[4 * i : 4 * i + 4], (group.stop - group.start, size[1]), native, levels)
                for i, group in enumerate(every)
            ]
        return spectra.joined(done, shape, dtype)


def _encode(rows: NDArray[Any], levels: NoiseLevels) -> list[bytes]:
    """Return the four parts of a group of rows."""
    x = rows.astype(np.float64, copy=False)
    usable = np.isfinite(x)
    usable &= np.abs(x) <= (EXACT if rows.dtype.kind in "iu" else np.inf)
    x = np.where(usable, x, 0)
    table, stored = np.zeros(0, np.int64), b""
    if rows.dtype.kind == "f":
        k = levels.nearest(x)
    else:
        table, last, zero = levels.whole_levels(int(x.min()), int(x.max()))
        place = np.searchsorted(last, x.astype(np.int64))
        usable &= place < len(last)
        k = (np.minimum(place, len(last) - 1) - zero).astype(np.int32)
    low, high = _ends(k)
    usable &= (k >= low) & (k <= high)
    np.clip(k, low, high, out=k)
    if rows.dtype.kind == "f":
        back = _levels(k, rows.dtype, levels)
    else:
        table = table[zero + low : zero + high + 1]
        back = table[k - low].astype(rows.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        usable &= np.abs(x - back.astype(np.float64)) <= levels.bound * STRICT * levels.sigma(x)
    if not usable.all():
        count = usable.sum(axis=0)
        filling = np.rint((k * usable).sum(axis=0) / np.maximum(count, 1)).astype(np.int32)
        k = np.where(usable, k, np.clip(filling, low, high))
    if rows.dtype.kind != "f":
        k -= np.int32(low)
        stored = parts.deflate_list(np.diff(table, prepend=np.int64(0)).astype("<i8"))
    return [stored, integers.encode(k), *apart.pack(rows, np.flatnonzero(~usable.reshape(-1)))]


def _ends(k: NDArray[np.int32]) -> tuple[int, int]:
    """Return the lowest and highest level worth having: a few spikes far above the rest are cheaper as exceptions."""
    least = int(np.clip(k.min(), -LEVELS, LEVELS))
    counts = np.bincount((np.clip(k, least, LEVELS + 1) - least).reshape(-1))
    above = counts.sum() - np.cumsum(counts)
    cost = LEVEL_BYTES * np.arange(len(counts)) + EXCEPTION_BYTES * above
    cost[LEVELS - least + 1 :] = np.iinfo(np.int64).max
    return least, least + int(cost.argmin())


def _levels(k: NDArray[np.int32], dtype: np.dtype[Any], levels: NoiseLevels) -> NDArray[Any]:
    """Return the levels of numbers as floats of a dtype."""
    low = int(k.min())
    with np.errstate(over="ignore"):
        table = levels.level(np.arange(low, int(k.max()) + 1, dtype=np.int32)).astype(dtype)
    return table[k - low]


def _decode(pieces: list[bytes], shape: tuple[int, int], dtype: np.dtype[Any], levels: NoiseLevels) -> NDArray[Any]:
    """Return a group of rows."""
    stored, matrix, *exceptions = pieces
    k = integers.decode(matrix, shape)
    low, high = int(k.min()), int(k.max())
    if dtype.kind == "f":
        if max(-low, high) > LEVELS:
            raise FormatError("the block has levels out of range; it was changed")
        rows = _levels(k, dtype, levels)
    else:
        table = np.cumsum(parts.inflate_list(stored, "<i8", 2 * LEVELS + 2), dtype=np.int64)
        if not 0 <= low <= high < len(table):
            raise FormatError(f"the block has {len(table)} levels and uses {high}; it was changed")
        rows = table.astype(dtype)[k]
    apart.restore(exceptions, rows)
    return rows
