"""Frames of a series, dense or as events, made ready to be spread over the common grid."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import ParameterError
from esteemcore.events import SparseSI
from esteemcore.register import _accumulate_kernels as kernels

SLAB_BYTES = 32_000_000
"""About how much of a dense frame is converted at a time."""


@dataclasses.dataclass(frozen=True, eq=False)
class EventFrame:
    """Events of one frame: entries ``offset[p]`` to ``offset[p + 1]`` belong to flat position p.

    `value` is what a channel holds, `poisson` its variance where counts are Poisson distributed, `counts` the sum of
    each position's counts before any of them was shifted off the energy axis.
    """

    shape: tuple[int, int]
    channels: int
    offset: NDArray[np.int64]
    channel: NDArray[np.uint32]
    value: NDArray[Any]
    poisson: NDArray[Any]
    counts: NDArray[np.float64]

    @functools.cached_property
    def squares(self) -> NDArray[Any]:
        """The squares of `value`."""
        squares: NDArray[Any] = self.value * self.value
        return squares

    @functools.cached_property
    def kept(self) -> NDArray[np.float64]:
        """Counts of each position that are on the energy axis, (y, x)."""
        return _per_position(self.offset, self.value).reshape(self.shape)


@dataclasses.dataclass(frozen=True, eq=False)
class DenseFrame:
    """A dense frame (y, x, energy), or (y, x) of an image, read slab by slab; `whole` and `part` move its spectra."""

    shape: tuple[int, int]
    channels: int
    array: Any
    whole: int
    part: float
    name: str

    def slabs(
        self, dtype: np.dtype[Any], rows: slice, columns: slice
    ) -> Iterator[tuple[slice, NDArray[Any], NDArray[Any]]]:
        """Yield rows (counted from the first one asked for), spectra as measured and spectra as shifted."""
        width = len(range(*columns.indices(self.shape[1])))
        step = max(SLAB_BYTES // max(width * self.channels * dtype.itemsize, 1), 1)
        for low in range(rows.start, rows.stop, step):
            high = min(low + step, rows.stop)
            raw = np.asarray(self.array[low:high])[:, columns]
            spectra = np.ascontiguousarray(raw, dtype=dtype).reshape(high - low, width, self.channels)
            yield slice(low - rows.start, high - rows.start), spectra, self.shifted(spectra)

    def shifted(self, spectra: NDArray[Any], squared: bool = False) -> NDArray[Any]:
        """Return the spectra moved along the energy, each count shared by two channels (by squared shares if asked)."""
        if not (self.whole or self.part):
            return spectra
        moved = np.zeros_like(spectra)
        for step, share in ((0, 1 - self.part), (1, self.part)):
            shift = self.whole + step
            low, high = max(shift, 0), min(self.channels + shift, self.channels)
            if low < high:
                weight = spectra.dtype.type(share * share if squared else share)
                moved[..., low:high] += weight * spectra[..., low - shift : high - shift]
        return moved


Frame = EventFrame | DenseFrame


def frame_kind(frame: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and dtype of a frame without converting it."""
    if not (hasattr(frame, "shape") and hasattr(frame, "dtype")):
        frame = np.asarray(frame)
    try:
        return tuple(int(n) for n in frame.shape), np.dtype(frame.dtype)
    except TypeError as error:
        raise ParameterError(f"a frame has shape {frame.shape!r} and dtype {frame.dtype!r}: {error}") from None


def make_ready(
    frame: Any, name: str, shape: tuple[int, int], channels: int | None, dtype: np.dtype[Any], shift: float
) -> Frame:
    """Check a frame and make it ready for a grid of ``shape`` and ``channels`` (None: images)."""
    given, kind = frame_kind(frame)
    wanted = shape if channels is None else (*shape, channels)
    if given != wanted:
        raise ParameterError(f"{name} has shape {given}; expected {wanted}")
    if kind.kind not in "biuf":
        raise ParameterError(f"{name} has dtype {kind}; expected real numbers")
    if not math.isfinite(shift):
        raise ParameterError(f"the energy shift of {name} is {shift}; expected a finite number of channels")
    if channels is None and shift != 0:
        raise ParameterError(f"{name} is an image; only spectra have an energy shift")
    limit = (channels or 1) + 1
    shift = min(max(shift, -limit), limit)  # farther off is just as empty
    whole = math.floor(shift)
    part = shift - whole
    if isinstance(frame, SparseSI):
        return _ready_events(frame, shape, dtype, whole, part)
    if not hasattr(frame, "__getitem__") or isinstance(frame, (list, tuple)):
        frame = np.asarray(frame)
    return DenseFrame(shape, channels or 1, frame, whole, part, name)


def _ready_events(frame: SparseSI, shape: tuple[int, int], dtype: np.dtype[Any], whole: int, part: float) -> EventFrame:
    channels = frame.shape[-1]
    counts = _per_position(frame.offset, frame.count).reshape(shape)
    if not (whole or part):
        value = frame.count.astype(dtype)
        return EventFrame(shape, channels, frame.offset, frame.channel, value, value, counts)
    size = frame.count.size * (2 if part else 1)
    offset, channel = np.empty_like(frame.offset), np.empty(size, np.uint32)
    value, poisson = np.empty(size, dtype), np.empty(size, dtype)
    filled = kernels.shift_events(
        frame.offset, frame.channel, frame.count, whole, part, channels, offset, channel, value, poisson
    )
    return EventFrame(shape, channels, offset, channel[:filled], value[:filled], poisson[:filled], counts)


def _per_position(offset: NDArray[np.int64], value: NDArray[Any]) -> NDArray[np.float64]:
    """Return the sum of the entries of each position."""
    running = np.zeros(value.size + 1)
    np.cumsum(value, dtype=np.float64, out=running[1:])
    return np.diff(running[offset])
