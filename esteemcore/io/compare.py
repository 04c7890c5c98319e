"""What two data sets have in common: every value of a copy, decoded and compared with the original."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import FormatError
from esteemcore.events import SparseSI
from esteemcore.io.choose_codec import block_shape
from esteemcore.io.dataset import Signal
from esteemcore.io.export_blocks import EventBlocks
from esteemcore.io.sparse_tiles import frame_of
from esteemcore.io.stored_events import StoredEvents

Piece = tuple[NDArray[Any], NDArray[Any], int]
"""Values of the original and of the copy, and how many there are with the zeros that are left out."""


@dataclasses.dataclass(frozen=True)
class Difference:
    """How far one signal of a copy is from the original.

    Attributes
    ----------
    signal : str
        Its name.
    values : int
        Values that were compared.
    different : int
        Those that are not the same number. NaN equals NaN and -0.0 equals 0.0; whole numbers are compared exactly,
        beyond 2**53 too.
    largest, rms : float
        Largest and root-mean-square difference; infinite where only one of two values is NaN.
    """

    signal: str
    values: int
    different: int
    largest: float
    rms: float

    def describe(self) -> str:
        """Return one line."""
        if not self.different:
            return f"{self.signal}: decoded and compared, all {self.values:,} values are the same"
        return (
            f"{self.signal}: decoded and compared, {self.different:,} of {self.values:,} values differ, by at most "
            f"{self.largest:.4g}, {self.rms:.4g} in the root mean square"
        )


def compare(original: Signal, copy: Signal, name: str, progress: Callable[[int], object]) -> Difference:
    """Read a signal and its copy, part by part, and compare all values.

    Parameters
    ----------
    original, copy : Signal
        Dense, packed or events; events may be compared with a dense copy.
    name : str
        Of the signal.
    progress : callable
        Called with the number of values after each part.

    Raises
    ------
    FormatError
        If their shapes differ, or a block cannot be read.
    """
    if tuple(original.data.shape) != tuple(copy.data.shape):
        raise FormatError(f"{name} has shape {original.data.shape}, its copy {copy.data.shape}")
    if original.kind == copy.kind == "events":
        pieces = _events(original, copy)
    else:
        views = [EventBlocks(s.data) if s.kind == "events" else s.data for s in (original, copy)]
        pieces = _dense(views[0], views[1])
    values = different = 0
    largest = squares = 0.0
    for a, b, size in pieces:
        values += size
        differs = ~same_numbers(a, b)
        if differs.any():
            error = distance(a[differs], b[differs])
            different += error.size
            largest, squares = max(largest, float(error.max())), squares + float(np.square(error).sum())
        progress(size)
    return Difference(name, values, different, largest, (squares / max(values, 1)) ** 0.5)


def same_numbers(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell, for each pair of values of any dtypes, whether they are the same number; NaN is the same as NaN."""
    if "c" in (a.dtype.kind, b.dtype.kind):
        same: NDArray[np.bool_] = same_numbers(np.real(a), np.real(b)) & same_numbers(np.imag(a), np.imag(b))
        return same
    if a.dtype.kind != "f" and b.dtype.kind != "f":
        return np.asarray(a == b)  # NumPy compares int64 with uint64 exactly
    if a.dtype.kind == "f" and b.dtype.kind == "f":
        return np.asarray((a == b) | ((a != a) & (b != b)))
    whole, real = (b, a) if a.dtype.kind == "f" else (a, b)
    if whole.dtype.itemsize < 8:
        return np.asarray(whole == real.astype(np.float64))
    kind = whole.dtype if whole.dtype.kind in "iu" else np.dtype(np.int64)
    low, high = float(np.iinfo(kind).min), float(np.iinfo(kind).max)  # the latter is rounded up to a power of two
    fits = (real >= low) & (real < high) & (np.floor(real) == real)
    return np.asarray(fits & (np.where(fits, real, 0).astype(kind) == whole))


def distance(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Return the absolute difference of each pair of values, to the precision of float64; infinite for NaN."""
    if a.dtype.kind in "biu" and b.dtype.kind in "biu":
        parts = []
        for values in (a, b):
            wide = values if values.dtype == np.uint64 else values.astype(np.int64)
            parts.append(((wide >> 32).astype(np.int64), (wide & 0xFFFFFFFF).astype(np.int64)))
        (high, low), (other_high, other_low) = parts
        return np.abs((high - other_high) * 2.0**32 + (low - other_low))
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(a.astype(np.complex128) - b.astype(np.complex128))
    return np.where(np.isnan(error), np.inf, error)


def _dense(original: Any, copy: Any) -> Iterator[Piece]:
    """Yield the values of both, in parts of the size of a stored block."""
    shape = tuple(map(int, copy.shape))
    chunks = copy.chunks if isinstance(getattr(copy, "chunks", None), tuple) else None
    if chunks is None or not all(isinstance(c, int) for c in chunks):
        chunks = block_shape(shape, np.dtype(copy.dtype).itemsize)
    for place in itertools.product(*(range(-(-s // c)) for s, c in zip(shape, chunks, strict=True))):
        part = tuple(slice(b * c, min((b + 1) * c, s)) for b, c, s in zip(place, chunks, shape, strict=True))
        a, b = np.asarray(original[part]), np.asarray(copy[part])
        yield a, b, a.size


def _events(original: Signal, copy: Signal) -> Iterator[Piece]:
    """Yield the counts of both, frame by frame; where the places of the counts differ, both as keys and counts."""
    pairs = zip(_frames(original.data), _frames(copy.data), strict=True)
    for a, b in pairs:
        size = int(np.prod(a.shape, dtype=np.int64))
        if np.array_equal(a.offset, b.offset) and np.array_equal(a.channel, b.channel):
            yield a.count, b.count, size
            continue
        keys = [np.repeat(np.arange(len(e.offset) - 1), np.diff(e.offset)) * e.shape[-1] + e.channel for e in (a, b)]
        every = np.union1d(*keys)
        dense = []
        for events, key in zip((a, b), keys, strict=True):
            counts = np.zeros(len(every), events.dtype)
            counts[np.searchsorted(every, key)] = events.count
            dense.append(counts)
        yield dense[0], dense[1], size


def _frames(events: SparseSI | StoredEvents) -> Iterator[SparseSI]:
    if isinstance(events, StoredEvents):
        yield from events.frames()
    elif len(events.shape) == 4:
        for number in range(events.shape[0]):
            yield frame_of(events, number)
    else:
        yield events
