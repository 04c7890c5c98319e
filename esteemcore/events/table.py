"""Tables of events: which pixel was hit how often, frame after frame."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.events.bits import check_packed


@dataclasses.dataclass(frozen=True, slots=True)
class EventTable:
    """Electrons of consecutive frames, as rows of non-empty pixels.

    Attributes
    ----------
    offset : ndarray of int64, shape (frames + 1,)
        Rows ``offset[i]`` to ``offset[i + 1]`` belong to frame ``i``; starts at 0 and never falls.
    pixel : ndarray of uint32, shape (rows,)
        Flat detector pixel, ``row * kx + column``.
    count : ndarray of uint16, shape (rows,)
        Electrons in that pixel; all ones for one-bit frames.
    """

    offset: NDArray[np.int64]
    pixel: NDArray[np.uint32]
    count: NDArray[np.uint16]

    def __post_init__(self) -> None:
        offset, pixel, count = (np.asarray(getattr(self, name)) for name in ("offset", "pixel", "count"))
        for name, array in (("offset", offset), ("pixel", pixel), ("count", count)):
            if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
                raise ParameterError(
                    f"event {name} has shape {array.shape} and dtype {array.dtype}; expected a flat list of integers"
                )
        within = offset.size > 0 and int(offset.max()) <= pixel.size  # unsigned offsets that fall would wrap round
        if not within or offset[0] != 0 or offset[-1] != pixel.size or np.any(np.diff(offset.astype(np.int64)) < 0):
            raise ParameterError(
                f"event offsets must start at 0, never fall and end at the number of rows ({pixel.size})"
            )
        if count.size != pixel.size:
            raise ParameterError(f"there are {count.size} counts for {pixel.size} event pixels; expected as many")
        for name, array, dtype in (("pixel", pixel, np.uint32), ("count", count, np.uint16)):
            if array.dtype != dtype and array.size:
                low, high = int(array.min()), int(array.max())
                if low < 0 or high > np.iinfo(dtype).max:
                    raise ParameterError(f"event {name} holds {low} to {high}; expected 0 to {np.iinfo(dtype).max}")
        object.__setattr__(self, "offset", np.ascontiguousarray(offset, np.int64))
        object.__setattr__(self, "pixel", np.ascontiguousarray(pixel, np.uint32))
        object.__setattr__(self, "count", np.ascontiguousarray(count, np.uint16))

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.offset) - 1

    def to_frames(self, frame_shape: tuple[int, int]) -> NDArray[np.uint32]:
        """Return the dense frames, uint32 (frames, ky, kx); repeated pixels add up."""
        ky, kx = checks.shape_2d("frame_shape", frame_shape)
        if self.pixel.size and self.pixel.max() >= ky * kx:
            raise ParameterError(
                f"an event lies in pixel {self.pixel.max()}, but frames of {ky} x {kx} have {ky * kx} pixels"
            )
        frame = np.repeat(np.arange(len(self)), np.diff(self.offset))
        flat = np.bincount(frame * (ky * kx) + self.pixel, weights=self.count, minlength=len(self) * ky * kx)
        return flat.astype(np.uint32).reshape(len(self), ky, kx)


def events_from_packed(packed: ArrayLike, kx: int) -> EventTable:
    """Find the electrons in packed one-bit frames.

    Parameters
    ----------
    packed : array_like of uint8, shape (n, ky, ceil(kx / 8))
        Frames as `pack_bits` packs them.
    kx : int
        Number of pixels in a detector row.
    """
    from esteemcore.events import _kernels

    array = np.asarray(packed)
    check_packed("packed", array, kx)
    if array.ndim != 3 or not array.shape[1]:
        raise ParameterError(f"packed frames have shape {array.shape}; expected (n, ky, kx/8)")
    n, ky, row_bytes = array.shape
    frame_bytes = ky * row_bytes
    flat = np.ascontiguousarray(array).reshape(n, frame_bytes)
    if frame_bytes % 8:
        flat = np.pad(flat, ((0, 0), (0, -frame_bytes % 8)))
    words = flat.view("<u8")
    offset = np.zeros(n + 1, np.int64)
    sample = words[:: max(1, n // 8)]
    per_frame = int(np.bitwise_count(sample).sum()) // max(len(sample), 1)
    pixel = np.empty(_room(n, per_frame), np.uint32)
    done = _kernels.find_bits(words, 0, offset, pixel)
    while done < n:  # the sampled frames were dimmer than the others
        found = int(offset[done])
        room = found + 8 * frame_bytes + _room(n - done, found // max(done, 1))
        pixel = np.concatenate([pixel[:found], np.empty(room - found, np.uint32)])
        done = _kernels.find_bits(words, done, offset, pixel)
    pixel = pixel[: offset[-1]]
    if 8 * row_bytes != kx:
        row, column = np.divmod(pixel, np.uint32(8 * row_bytes))
        real = column < kx
        offset = np.concatenate([[0], np.cumsum(real)])[offset]
        pixel = (row * np.uint32(kx) + column)[real]
    return EventTable(offset, pixel, np.ones(pixel.size, np.uint16))


def _room(frames: int, per_frame: int) -> int:
    """Return places for the electrons of some frames, with a quarter to spare and what `find_bits` needs beyond."""
    return frames * (per_frame + per_frame // 4 + 8) + 64


def events_from_frames(frames: ArrayLike) -> EventTable:
    """Find the electrons in counting frames.

    Parameters
    ----------
    frames : array_like of integers or booleans, shape (n, ky, kx)
        Counts, 0 to 65,535 in a pixel.
    """
    from esteemcore.events import _kernels

    array = np.asarray(frames)
    if array.ndim != 3 or array.dtype.kind not in "biu":
        raise ParameterError(
            f"frames have shape {array.shape} and dtype {array.dtype}; expected integers or booleans (n, ky, kx)"
        )
    if array.size and (array.min() < 0 or array.max() > np.iinfo(np.uint16).max):
        raise ParameterError(f"frames hold {array.min()} to {array.max()}; expected counts of 0 to 65535")
    flat = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    flat = flat.reshape(len(array), array.shape[1] * array.shape[2])
    rows = int(np.count_nonzero(flat))
    offset, pixel, count = np.empty(len(flat) + 1, np.int64), np.empty(rows, np.uint32), np.empty(rows, np.uint16)
    _kernels.find_counts(flat, offset, pixel, count)
    return EventTable(offset, pixel, count)
