"""Spectrum images that are mostly zeros, kept as their non-zero counts."""

from __future__ import annotations

import dataclasses
import math
import operator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core.errors import ParameterError


@dataclasses.dataclass(frozen=True, slots=True)
class SparseSI:
    """A counted spectrum image as compressed rows: one row per pixel, one entry per non-empty channel.

    Attributes
    ----------
    shape : tuple of int
        ``(..., y, x, energy)`` of the dense image.
    dtype : numpy.dtype
        Integer dtype of the dense image.
    offset : ndarray of int64, shape (pixels + 1,)
        Entries ``offset[i]`` to ``offset[i + 1]`` belong to pixel ``i`` (flat over all axes but the last).
    channel : ndarray of uint32
        Energy channel of each entry, rising within a pixel.
    count : ndarray
        Counts of each entry, of `dtype`, never zero.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: NDArray[np.int64]
    channel: NDArray[np.uint32]
    count: NDArray[Any]

    def __post_init__(self) -> None:
        try:
            shape, dtype = tuple(operator.index(n) for n in self.shape), np.dtype(self.dtype)
        except TypeError:
            shape, dtype = (), np.dtype(np.void)
        if len(shape) < 3 or min(shape) < 0 or dtype.kind not in "iu":
            raise ParameterError(
                f"a sparse spectrum image has shape {self.shape} and dtype {self.dtype}; "
                "expected integers (..., y, x, energy)"
            )
        offset = _integers("offset", self.offset, 0, np.size(self.channel), np.dtype(np.int64))
        channel = _integers("channel", self.channel, 0, shape[-1] - 1, np.dtype(np.uint32))
        count = _integers("count", self.count, np.iinfo(dtype).min, np.iinfo(dtype).max, dtype)
        pixels = math.prod(shape[:-1])
        if len(offset) != pixels + 1 or offset[0] != 0 or offset[-1] != channel.size or np.any(np.diff(offset) < 0):
            raise ParameterError(
                f"a spectrum image of shape {shape} needs {pixels + 1} offsets that start at 0, never fall and end at "
                f"the number of entries ({channel.size})"
            )
        if count.size != channel.size or not count.all():
            raise ParameterError(f"{channel.size} channels need as many counts, none of them zero")
        rises = np.diff(channel.astype(np.int64)) > 0
        inner = offset[1:-1]
        rises[inner[(inner > 0) & (inner < channel.size)] - 1] = True
        if not rises.all():
            raise ParameterError("the channels of a pixel must rise; add up the counts of repeated channels")
        for name, value in (
            ("shape", shape),
            ("dtype", dtype),
            ("offset", offset),
            ("channel", channel),
            ("count", count),
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def from_dense(cls, array: ArrayLike) -> SparseSI:
        """Keep the non-zero counts of a dense spectrum image.

        Parameters
        ----------
        array : array_like of integers, shape (..., y, x, energy)
            Counts.
        """
        dense = np.asarray(array)
        if dense.ndim < 3 or dense.dtype.kind not in "iu":
            raise ParameterError(
                f"the spectrum image has shape {dense.shape} and dtype {dense.dtype}; "
                "expected integer counts (..., y, x, energy)"
            )
        rows = dense.reshape(math.prod(dense.shape[:-1]), dense.shape[-1])
        pixel, channel = np.nonzero(rows)
        offset = np.zeros(len(rows) + 1, np.int64)
        np.cumsum(np.bincount(pixel, minlength=len(rows)), out=offset[1:])
        return cls(dense.shape, dense.dtype, offset, channel.astype(np.uint32), rows[pixel, channel])

    def to_dense(self) -> NDArray[Any]:
        """Return the dense spectrum image, of `shape` and `dtype`."""
        rows = np.zeros((len(self.offset) - 1, self.shape[-1]), self.dtype)
        rows[np.repeat(np.arange(len(rows)), np.diff(self.offset)), self.channel] = self.count
        return rows.reshape(self.shape)


def _integers(name: str, value: ArrayLike, low: int, high: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return a flat array of integers within ``[low, high]`` in the given dtype."""
    array = np.asarray(value)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ParameterError(
            f"{name} has shape {array.shape} and dtype {array.dtype}; expected a flat list of integers"
        )
    if array.size and not low <= int(array.min()) <= int(array.max()) <= high:
        raise ParameterError(f"{name} holds {array.min()} to {array.max()}; expected {low} to {high}")
    return np.ascontiguousarray(array, dtype)
