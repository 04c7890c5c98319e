"""The frames of a series of spectrum images, dense, lazy or sparse, one at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import ParameterError
from esteemcore.events import SparseSI
from esteemcore.spectral.align_energy_reference import even_weights
from esteemcore.spectral.windows import counts_in

Floats = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Frames:
    """The frames of a series, or an image as the only one."""

    data: Any
    shape: tuple[int, ...]

    def __len__(self) -> int:
        return self.shape[0] if len(self.shape) == 4 else 1

    def __getitem__(self, k: int) -> Any:
        """Return frame k: an array, or SparseSI, (y, x, energy)."""
        if len(self.shape) == 3:
            return self.data if isinstance(self.data, SparseSI) else np.asarray(self.data)
        if not isinstance(self.data, SparseSI):
            return np.asarray(self.data[k])
        pixels = self.shape[1] * self.shape[2]
        offset = self.data.offset[k * pixels : (k + 1) * pixels + 1]
        entries = slice(offset[0], offset[-1])
        return SparseSI(
            self.shape[1:], self.data.dtype, offset - offset[0], self.data.channel[entries], self.data.count[entries]
        )

    def pooled(self, k: int, channels: NDArray[np.int64], size: int) -> Floats:
        """Return counts of a frame in some channels, summed over squares of pixels, (rows, columns, channels)."""
        if not channels.size:
            return np.zeros((-(-self.shape[-3] // size), -(-self.shape[-2] // size), 0))
        counts = counts_in(self[k], channels)
        if not np.isfinite(counts.sum()):
            raise ParameterError(f"the spectra of frame {k} hold NaN or infinite values; leave it out")
        for i in (0, 1) if size > 1 else ():
            counts = np.add.reduceat(counts, np.arange(0, counts.shape[i], size), axis=i)
        return counts

    def mean(self, k: int) -> Floats:
        """Return the mean spectrum of a frame, to which no place gives much more than others."""
        frame = self[k]
        if isinstance(frame, SparseSI):
            pixel = np.repeat(np.arange(len(frame.offset) - 1), np.diff(frame.offset))
            weight = even_weights(np.bincount(pixel, frame.count, len(frame.offset) - 1))
            total: Floats = np.bincount(frame.channel, frame.count * weight[pixel], self.shape[-1])
            return total / weight.sum()
        rows = frame.reshape(-1, frame.shape[-1])
        weight = even_weights(rows.sum(axis=1, dtype=np.float64))
        mean: Floats = weight @ rows / weight.sum()
        return mean

    def first_with_counts(self) -> int:
        """Return the first frame that has any."""
        for k in range(len(self)):
            total = self.mean(k).sum()
            if not np.isfinite(total):
                raise ParameterError(f"the spectra of frame {k} hold NaN or infinite values; leave it out")
            if total > 0:
                return k
        raise ParameterError("the spectra hold no counts")


def joined(parts: Sequence[SparseSI], shape: tuple[int, ...]) -> SparseSI:
    """Return frames one after the other as one SparseSI."""
    if len(shape) == 3:
        return parts[0]
    ends = np.cumsum([0, *(len(part.channel) for part in parts)])
    offset = np.concatenate([[0], *(part.offset[1:] + end for part, end in zip(parts, ends[:-1], strict=True))])
    dtype = np.result_type(*(part.dtype for part in parts))
    count = np.concatenate([part.count.astype(dtype) for part in parts])
    return SparseSI(shape, dtype, offset, np.concatenate([part.channel for part in parts]), count)
