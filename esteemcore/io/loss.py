"""What a lossy codec leaves of the values it is given: measured on every one of them, and held to its promise."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import StreamError
from esteemcore.io.chunk_codecs import BLOCKS, ChunkCodec

FAR = 8.0
"""Voxels that were changed by more than this many standard deviations are counted: cosmic rays that were removed."""
FOUR_FIGURES = 0.5e-3 * (1 + 1e-6)
"""Largest relative error of a value that is kept to four significant figures, before the rounding to its dtype."""
APART = 1e12
"""Values of coarse blocks from here on are stored exactly."""


class LossCheck:
    """Compares what a lossy codec stores with what it was given.

    Parameters
    ----------
    name : str
        Name of the signal.
    codec : ChunkCodec
        A lossy one.
    """

    def __init__(self, name: str, codec: ChunkCodec) -> None:
        self._name, self._codec = name, codec
        self._config: dict[str, Any] = {} if codec.codec is None else dict(codec.codec.config)
        self._largest = self._squares = self._sigmas = self._sigma_squares = 0.0
        self._values = self._far = 0
        self._channels: NDArray[np.float64] = np.zeros((2, 0))  # of each channel: sum of the errors, and of how many

    def add(self, block: NDArray[Any], data: bytes, inside: tuple[int, ...] | None = None) -> None:
        """Take one block and its bytes.

        Parameters
        ----------
        block : ndarray
            What was encoded.
        data : bytes
            What it became.
        inside : tuple of int, optional
            Shape of the part of the block that lies within the signal; what the block has beyond it is held to the
            promise, but not counted. Default: all of it.

        Raises
        ------
        StreamError
            If the codec did not keep what it promises; nothing may be stored in this way.
        """
        back = np.asarray(self._codec.decode(data, block.shape, block.dtype.newbyteorder("=")))
        given, stored = block.astype(np.float64), back.astype(np.float64)
        finite = np.isfinite(given)
        clean = np.where(finite, given, 0)
        error = np.where(finite, stored - clean, 0)
        allowed, noise = self._allowed(clean, stored, data, back.dtype)
        if not np.array_equal(given[~finite], stored[~finite], equal_nan=True) or not (np.abs(error) <= allowed).all():
            raise StreamError(
                f"signal {self._name!r}: {self._codec.name} does not keep its bound on these data; nothing was "
                "written, store them without loss"
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            sigmas = np.where(error != 0, error / noise, 0)
        part = tuple(map(slice, block.shape if inside is None else inside))
        self._count(error[part], sigmas[part], finite[part])

    def record(self) -> dict[str, Any]:
        """Return what was lost, for the metadata of the signal."""
        count = max(self._values, 1)
        entry = {
            "codec": self._codec.name,
            "configuration": dict(self._config),
            "largest_error": self._largest,
            "rms_error": (self._squares / count) ** 0.5,
        }
        if "gain" in self._config:
            entry |= {"largest_error_sigma": self._sigmas, "rms_error_sigma": (self._sigma_squares / count) ** 0.5}
        if self._codec.name == BLOCKS:
            shift = np.abs(self._channels[0]) / np.maximum(self._channels[1], 1)
            entry |= {"voxels_beyond_8_sigma": self._far, "shift_of_mean_sigma": float(shift.max(initial=0))}
        return entry

    def _count(self, error: NDArray[np.float64], sigmas: NDArray[np.float64], finite: NDArray[np.bool_]) -> None:
        """Add up the errors within the signal; arrays are replaced, so that a copy of this check stays what it was."""
        self._largest = max(self._largest, float(np.abs(error).max(initial=0)))
        self._squares += float(np.square(error).sum())
        self._sigmas = max(self._sigmas, float(np.abs(sigmas).max(initial=0)))
        self._sigma_squares += float(np.square(sigmas).sum())
        self._values += int(finite.sum())
        if self._codec.name == BLOCKS:
            near = finite & (np.abs(sigmas) <= FAR)
            self._far += int(np.count_nonzero(np.abs(sigmas) > FAR))
            pixels = tuple(range(error.ndim - 1))
            sums = np.stack([np.where(near, sigmas, 0).sum(axis=pixels), near.sum(axis=pixels)])
            self._channels = sums if not self._channels.size else self._channels + sums

    def _allowed(
        self, clean: NDArray[np.float64], stored: NDArray[np.float64], data: bytes, dtype: np.dtype[Any]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the largest error that the codec promises for each value, and the noise of the value."""
        gain, readout = self._config.get("gain", 1.0), self._config.get("readout_sigma", 0.0)
        if self._codec.name != BLOCKS:
            noise = np.sqrt(gain * np.maximum(clean, 0) + readout**2)
            return self._config.get("bound_sigma", np.inf) * noise, noise
        from esteemcore.codec import frame

        # components average: the noise of what is stored is nearer to the truth than that of one noisy value
        usable = np.where(np.isfinite(stored), stored, 0)
        noise = np.sqrt(gain * np.maximum(usable, gain) + readout**2)
        allowed = np.where(np.abs(clean) < APART, np.finfo(np.float64).max, 0)
        slack = 1 + 1e3 * float(np.finfo(dtype).eps) if dtype.kind == "f" else 1.0
        least = float(np.finfo(dtype).smallest_subnormal) if dtype.kind == "f" else 0.0
        for start, stop, factor in frame.unpack(data).config["blocks"]:
            if factor == 1:
                allowed[..., start:stop] = FOUR_FIGURES * slack * np.abs(clean[..., start:stop]) + least
        return allowed, noise
