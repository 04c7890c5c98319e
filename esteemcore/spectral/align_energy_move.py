"""Spectra moved along the energy axis, each by its own fraction of a channel, without losing a count."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.events import SparseSI

Floats = NDArray[np.float64]

SHARINGS = ("random", "linear")
ROWS_BYTES = 32_000_000
"""About how much of a dense image is moved at a time."""


def move_dense(spectra: NDArray[Any], shift: Floats, sharing: str, rng: np.random.Generator) -> NDArray[Any]:
    """Return dense spectra (n, energy) with channel c of row p at ``c + shift[p]``; what leaves the axis is cut off."""
    channels = spectra.shape[1]
    whole = np.clip(np.floor(shift), -channels - 1, channels + 1).astype(np.int64)
    part = shift - np.floor(shift)
    moved = np.empty(spectra.shape, moved_dtype(spectra.dtype, sharing, spectra))
    step = max(ROWS_BYTES // max(channels * 8, 1), 1)
    for low in range(0, len(spectra), step):
        rows = slice(low, low + step)
        counts = np.asarray(spectra[rows], moved.dtype)
        fraction = part[rows, None]
        if sharing == "random":
            beyond = np.zeros_like(counts)
            chosen = (counts > 0) & (fraction > 0)
            beyond[chosen] = rng.binomial(
                counts[chosen].astype(np.int64), np.broadcast_to(fraction, counts.shape)[chosen]
            )
        else:
            beyond = counts * fraction.astype(moved.dtype)
        staying = counts - beyond
        place = np.arange(channels) - whole[rows, None]
        moved[rows] = _taken(staying, place) + _taken(beyond, place - 1)
    return moved


def _taken(values: NDArray[Any], place: NDArray[np.int64]) -> NDArray[Any]:
    """Return values at the places of each row, 0 beside the axis."""
    channels = values.shape[1]
    taken = np.take_along_axis(values, np.clip(place, 0, channels - 1), axis=1)
    taken[(place < 0) | (place >= channels)] = 0
    return taken


def moved_dtype(dtype: np.dtype[Any], sharing: str, counts: NDArray[Any]) -> np.dtype[Any]:
    """Return a dtype that holds moved counts: that of the counts, wider where two of them may not fit together."""
    if sharing == "linear":
        return np.dtype(np.float32 if dtype.itemsize <= 2 or dtype == np.float32 else np.float64)
    if dtype.kind not in "iu":
        return dtype
    most = 2 * int(counts.max(initial=0))
    if most <= np.iinfo(dtype).max:
        return dtype
    return np.result_type(dtype, np.min_scalar_type(most))


def move_sparse(si: SparseSI, shift: Floats, rng: np.random.Generator) -> SparseSI:
    """Return events with those of channel c of position p at ``c + shift[p]``, each of them in one of two channels."""
    channels = si.shape[-1]
    pixel = np.repeat(np.arange(len(si.offset) - 1), np.diff(si.offset))
    whole = np.clip(np.floor(shift), -channels - 1, channels + 1).astype(np.int64)
    part = shift - np.floor(shift)
    count = si.count.astype(np.int64)
    beyond = rng.binomial(np.abs(count), part[pixel]) * np.sign(count)
    target = si.channel.astype(np.int64) + whole[pixel]
    places = np.concatenate([pixel * channels + target, pixel * channels + target + 1])
    on_axis = np.concatenate([(target >= 0) & (target < channels), (target >= -1) & (target < channels - 1)])
    counts = np.concatenate([count - beyond, beyond])
    kept = on_axis & (counts != 0)
    entry, back = np.unique(places[kept], return_inverse=True)
    summed = np.zeros(entry.size, np.int64)
    np.add.at(summed, back, counts[kept])
    entry, summed = entry[summed != 0], summed[summed != 0]
    offset = np.searchsorted(entry, np.arange(math.prod(si.shape[:-1]) + 1) * channels)
    dtype = moved_dtype(si.dtype, "random", np.array([summed.max(initial=0)]) // 2 + 1) if summed.size else si.dtype
    return SparseSI(si.shape, dtype, offset, (entry % channels).astype(np.uint32), summed.astype(dtype))
