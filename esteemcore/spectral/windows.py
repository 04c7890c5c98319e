"""Parts of the energy axis, given in its unit, and the counts in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core.errors import CalibrationError, ParameterError
from esteemcore._core.provenance import digest
from esteemcore.events import SparseSI

Window = tuple[float, float]

BLOCK_BYTES = 32 * 2**20
"""Memory that a part of lazy data takes, besides the channels that are kept."""

PART_BYTES = 2**23
"""Size of an array of those spectra that are worked on at a time; a fit makes some ten of them."""


def energy_axis(energy: ArrayLike, channels: int) -> NDArray[np.float64]:
    """Return the energies of all channels, checked: finite, rising, one per channel."""
    axis = np.asarray(energy, np.float64)
    if axis.shape != (channels,):
        raise CalibrationError(
            f"the energy axis has shape {axis.shape}, but the spectra have {channels} channels; give the energy of each"
        )
    if not np.isfinite(axis).all() or (np.diff(axis) <= 0).any():
        raise CalibrationError("the energy axis must be finite and rise from channel to channel")
    return axis


def channels_of(
    name: str, windows: Window | Sequence[Window], axis: NDArray[np.float64], least: int = 1
) -> NDArray[np.int64]:
    """Return the channels whose energy lies in one of the windows ``(start, stop)``, stop excluded.

    Raises
    ------
    ParameterError
        If a window is no pair of rising energies, lies off the axis, or all hold too few channels together.
    """
    pairs = np.atleast_2d(np.asarray(windows, np.float64))
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.isfinite(pairs).all() or (pairs[:, 0] >= pairs[:, 1]).any():
        raise ParameterError(f"{name} is {windows!r}; expected (start, stop), or several such pairs, that rise")
    inside = np.zeros(len(axis), np.bool_)
    for start, stop in pairs:
        part = (axis >= start) & (axis < stop)
        if not part.any():
            raise ParameterError(
                f"{name} {start:g} to {stop:g} holds no channel; the axis goes from {axis[0]:g} to {axis[-1]:g}"
            )
        inside |= part
    found = np.flatnonzero(inside)
    if len(found) < least:
        raise ParameterError(f"{name} holds {len(found)} channels; the background needs at least {least}")
    return found


def counts_in(si: Any, channels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the values of some channels, shape (..., len(channels)); only these become dense and stay in memory.

    Of lazy data some rows of the image are read at a time, from the first to the last of the channels.
    """
    if isinstance(si, SparseSI):
        import scipy.sparse

        pixels = len(si.offset) - 1
        rows = scipy.sparse.csr_array(
            (si.count.astype(np.float64), si.channel.astype(np.int64), si.offset), shape=(pixels, si.shape[-1])
        )
        dense: NDArray[np.float64] = rows[:, channels].toarray().reshape(*si.shape[:-1], len(channels))
        return dense
    if isinstance(si, np.ndarray):
        return si[..., channels].astype(np.float64)
    first, last = int(channels[0]), int(channels[-1]) + 1
    shape = tuple(si.shape)
    if len(shape) == 1:
        return np.asarray(si[first:last])[channels - first].astype(np.float64)
    lines = max(1, BLOCK_BYTES // (np.dtype(si.dtype).itemsize * math.prod(shape[1:-1]) * (last - first)))
    found = np.empty((*shape[:-1], len(channels)))
    for low in range(0, shape[0], lines):
        found[low : low + lines] = np.asarray(si[low : low + lines, ..., first:last])[..., channels - first]
    return found


def parts_of(rows: int, channels: int) -> list[slice]:
    """Return parts of the rows of which an array of numbers is no larger than `PART_BYTES`, one row at least."""
    step = max(1, PART_BYTES // (8 * channels))
    return [slice(low, min(low + step, rows)) for low in range(0, rows, step)]


def checked_spectra(si: Any) -> tuple[Any, tuple[int, ...]]:
    """Return spectra and their shape, of real numbers, none of them masked, at least one spectrum."""
    if isinstance(si, SparseSI):
        return si, tuple(si.shape)
    if isinstance(si, np.ma.MaskedArray):
        if np.ma.is_masked(si):
            raise ParameterError(
                "the spectra are a masked array, whose masked values would be taken for measured ones: give its data, "
                "and leave out of the result what was masked"
            )
        si = si.data
    data = si if all(hasattr(si, a) for a in ("shape", "dtype", "__getitem__")) else np.asarray(si)
    shape, dtype = tuple(data.shape), np.dtype(data.dtype)
    if not shape or not all(shape) or dtype.kind not in "biuf":
        raise ParameterError(f"the spectra have shape {shape} and dtype {dtype}; expected real numbers (..., energy)")
    return data, shape


def digest_of(si: Any) -> str | None:
    """Return the digest of spectra that are in memory; None of lazy data, which would have to be read for it."""
    if isinstance(si, SparseSI):
        return digest(si.offset, si.channel, si.count)
    return digest(si) if isinstance(si, np.ndarray) else None
