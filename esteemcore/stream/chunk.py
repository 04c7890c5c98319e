"""Pieces of a stream: some frames, and the scan positions at which they were taken."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.events import EventTable, events_from_packed
from esteemcore.events.bits import check_packed
from esteemcore.stream.spec import Spec


@dataclasses.dataclass(frozen=True, slots=True)
class Chunk:
    """Frames in the order in which they were taken; positions may repeat, be missing and come in any order.

    Parameters
    ----------
    index : array_like of int, shape (n,)
        Flat scan position ``y * nx + x`` of each frame.
    frames : ndarray, optional
        Dense frames (n, ky, kx) or packed ones (n, ky, ceil(kx / 8)), as the `Spec` says; frames in a foreign byte
        order are turned round.
    events : EventTable, optional
        The frames as events; exactly one of ``frames`` and ``events`` is given.
    visit : int
        Pass number of a repeated scan.
    time_s : array_like, shape (n,), optional
        Time of each frame since the start, in s.
    position : array_like, shape (n, 2), optional
        True (row, column) in scan pixels where it differs from the grid (jitter, drift).
    """

    index: NDArray[np.int64]
    frames: NDArray[Any] | None = None
    events: EventTable | None = None
    visit: int = 0
    time_s: NDArray[np.float64] | None = None
    position: NDArray[np.float64] | None = None
    _found: list[EventTable] = dataclasses.field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        index = np.asarray(self.index)
        if index.ndim != 1 or (index.size and index.dtype.kind not in "iu"):
            raise ParameterError(
                f"chunk index has shape {index.shape} and dtype {index.dtype}; expected flat integer scan positions"
            )
        object.__setattr__(self, "index", np.ascontiguousarray(index, np.int64))
        if (self.frames is None) == (self.events is None):
            raise ParameterError("a chunk holds either frames or events; give exactly one of them")
        if self.frames is not None:
            frames = np.asarray(self.frames)
            if frames.ndim != 3:
                raise ParameterError(
                    f"chunk frames have shape {frames.shape}; expected (n, ky, kx), or packed (n, ky, kx/8)"
                )
            object.__setattr__(self, "frames", frames.astype(frames.dtype.newbyteorder("="), copy=False))
            n = len(frames)
        elif isinstance(self.events, EventTable):
            n = len(self.events)
        else:
            raise ParameterError(f"chunk events are of type {type(self.events).__name__}; expected an EventTable")
        if n != len(index):
            raise ParameterError(f"the chunk has {n} frames but {len(index)} scan positions; expected as many")
        object.__setattr__(self, "visit", checks.integer("visit", self.visit, minimum=0))
        for name, shape in (("time_s", (n,)), ("position", (n, 2))):
            value = getattr(self, name)
            if value is None:
                continue
            try:
                array = np.ascontiguousarray(value, np.float64)
            except (TypeError, ValueError):
                raise ParameterError(f"chunk {name} is {value!r}; expected numbers of shape {shape}") from None
            if array.shape != shape:
                raise ParameterError(f"chunk {name} has shape {array.shape}; expected {shape}, a row for each frame")
            if not np.isfinite(array).all():
                raise ParameterError(
                    f"chunk {name} holds values that are not finite; leave it out where it is not known"
                )
            object.__setattr__(self, name, array)

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.index)

    @property
    def nbytes(self) -> int:
        """Bytes that the chunk keeps in memory."""
        held = [self.index, self.time_s, self.position, self.frames]
        if self.events is not None:
            held += [self.events.offset, self.events.pixel, self.events.count]
        return sum(array.nbytes for array in held if array is not None)

    def check(self, spec: Spec) -> None:
        """Raise `ParameterError` unless the chunk fits what the stream announced."""
        checks.flat_indices("chunk index", self.index, spec.positions)
        if self.frames is not None:
            if spec.packed:
                check_packed("packed", self.frames, spec.frame_shape[1])
            if self.frames.shape[1:] != spec.stored_shape or self.frames.dtype != spec.dtype:
                raise ParameterError(
                    f"frames have shape {self.frames.shape[1:]} and dtype {self.frames.dtype}; this stream announced "
                    f"{'packed ' if spec.packed else ''}{spec.stored_shape} of {spec.dtype}"
                )
        elif self.events is not None and self.events.pixel.size and self.events.pixel.max() >= spec.pixels:
            raise ParameterError(
                f"an event lies in pixel {self.events.pixel.max()}, but the detector has {spec.pixels} pixels"
            )

    def electrons(self, spec: Spec) -> EventTable | None:
        """Return the electrons of event or packed frames, found once for all reducers; None for dense frames."""
        if self.events is not None:
            return self.events
        if not spec.packed:
            return None
        if not self._found:
            self._found.append(events_from_packed(self.frames, spec.frame_shape[1]))  # type: ignore[arg-type]
        return self._found[0]

    def forget_electrons(self) -> None:
        """Free what `electrons` found."""
        self._found.clear()

    def copy(self) -> Chunk:
        """Return a chunk that shares no memory with this one, so that the giver may use its buffers again."""
        frames, time_s, position = (
            None if array is None else np.array(array) for array in (self.frames, self.time_s, self.position)
        )
        table = self.events
        events = None if table is None else EventTable(table.offset.copy(), table.pixel.copy(), table.count.copy())
        return Chunk(self.index.copy(), frames, events, self.visit, time_s, position)


def chunks(
    data: ArrayLike, order: ArrayLike | None = None, size: int = 1024, packed_kx: int | None = None
) -> Iterator[Chunk]:
    """Cut a 4D-STEM data set into chunks, in any visit order.

    Parameters
    ----------
    data : array_like, shape (y, x, ky, kx) or, packed, (y, x, ky, ceil(kx / 8)) of uint8
        The data, in image order.
    order : array_like of int, shape (n,), optional
        Flat positions in the order of visits; repeats and gaps are allowed. Default: raster.
    size : int
        Frames in a chunk.
    packed_kx : int, optional
        Detector width in pixels, when the data are packed bits.

    Yields
    ------
    Chunk
    """
    array = np.asarray(data)
    if array.ndim != 4 or not array.size:
        raise ParameterError(f"data have shape {array.shape}; expected four axes (y, x, ky, kx), none of them empty")
    if packed_kx is not None:
        check_packed("data:", array, packed_kx)
    size = checks.integer("size", size, minimum=1)
    ny, nx = array.shape[:2]
    visits = np.arange(ny * nx) if order is None else checks.flat_indices("order", order, ny * nx).copy()
    parts = (visits[i : i + size] for i in range(0, len(visits), size))
    return (Chunk(index, array[index // nx, index % nx]) for index in parts)
