"""Between chunks of frames and the compiled loops that look for disks: one row of numbers per disk."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import ParameterError
from esteemcore.diffraction.look import MOST_DISKS, Look
from esteemcore.diffraction.table import COLUMNS, DiskTable
from esteemcore.diffraction.template_search import TemplateLook
from esteemcore.events import EventTable
from esteemcore.stream import Chunk, Spec

Rows = NDArray[np.float32]
Numbers = NDArray[np.int64]

NOTHING_FOUND: tuple[Rows, Numbers | None] = (np.zeros((0, len(COLUMNS)), np.float32), None)
"""No disks of a first pass: all are looked for."""
FULL_COUNTERS = (63, 4095, 16383)
"""Largest values of counters of 6, 12 and 14 bits, which are stored in whole bytes."""
LEAST_FULL = 8
"""Pixels of a frame at such a value, and none above, that counts do not have by chance."""


class FoundDisks:
    """The disks that a first pass has found, by position.

    Attributes
    ----------
    known : ndarray of float32, shape (n, columns)
        Their rows, in the order of positions.
    first : ndarray of int64, shape (positions + 1,)
        Where the rows of each position begin.
    once : ndarray of bool, shape (positions,)
        Positions visited once: only there it is known which frame has which disks.
    """

    def __init__(self, table: DiskTable) -> None:
        columns = [getattr(table, name) for name in COLUMNS]
        if table.visits is None or any(column is None for column in columns):
            raise ParameterError("the table of found disks lacks visits or columns; take one that Disks has made")
        order = np.argsort(table.frame, kind="stable")
        positions = table.visits.size
        self.known: Rows = np.stack(columns, axis=1)[order]
        self.first = np.searchsorted(table.frame[order], np.arange(positions + 1)).astype(np.int64)
        self.once = table.visits.ravel() == 1
        self._shape = table.visits.shape

    def check(self, spec: Spec) -> None:
        """Raise `ParameterError` unless the scan is the one of the first pass."""
        if self._shape != spec.scan_shape:
            raise ParameterError(f"the disks were found on a scan of {self._shape}, but this one is {spec.scan_shape}")

    def rows_of(self, index: Numbers) -> tuple[Rows, Numbers]:
        """Return all rows, and where those of each frame begin and end; negative where disks must be looked for."""
        limits = np.stack([self.first[index], self.first[index + 1]], axis=1)
        limits[~self.once[index]] = -1
        return self.known, limits


def checked_frames(chunk: Chunk, look: Look) -> tuple[NDArray[Any], Numbers]:
    """Return finite dense frames, and how many good pixels of each are saturated."""
    frames = chunk.frames
    if frames is None:
        raise ParameterError("a chunk without frames and without events")
    saturated = np.zeros(len(frames), np.int64)
    if frames.dtype.kind == "f":
        wrong = ~np.isfinite(frames) & look.valid
        if wrong.any():
            where = tuple(int(i) for i in np.argwhere(wrong)[0])
            raise ParameterError(
                f"pixel {where[1:]} of the frame at position {chunk.index[where[0]]} is {frames[where]}; mend the "
                "frames, or give a mask with False where pixels are bad"
            )
    elif frames.dtype != np.bool_ and frames.size:
        saturated = _full(frames, look.valid)
    return frames, saturated


def _full(frames: NDArray[Any], valid: NDArray[np.bool_]) -> Numbers:
    """Return how many good pixels of each frame are as full as its integers, or a counter of fewer bits, can be."""
    top, largest = frames.max(axis=(1, 2)), int(np.iinfo(frames.dtype).max)
    pixels = np.zeros(len(frames), np.int64)
    for value in (*FULL_COUNTERS, largest):
        some = np.flatnonzero(top == value)
        full = ((frames[some] == value) & valid).sum(axis=(1, 2))
        pixels[some] = np.where((full >= LEAST_FULL) | (value == largest), full, 0)
    return pixels


def rows_of_frames(
    frames: NDArray[Any], part: slice, look: Look, known: Rows, first: Numbers | None
) -> tuple[Numbers, Rows]:
    """Return the number of disks of each frame of a part of dense ones, and their rows."""
    from esteemcore.diffraction import _frame_kernels

    frames, look = frames[part], of_part(look, part)
    few_bits = frames.dtype.kind in "bu" and frames.dtype.itemsize <= 2
    frames = np.ascontiguousarray(frames, np.uint16 if few_bits else np.float64)  # loops are compiled for these two
    zero: Any = np.int32(0) if few_bits else np.float64(0)
    number, rows = room(len(frames))
    limits = limits_of(first, part, len(frames))
    n = _frame_kernels.find_in_frames(frames, look, zero, known, limits, number, rows)
    if look.split:
        return _told_apart(frames, look, limits, number, rows)
    return number, rows[:n].copy()


def rows_of_events(
    electrons: EventTable, part: slice, spec: Spec, look: Look, known: Rows, first: Numbers | None
) -> tuple[Numbers, Rows]:
    """Do the same for frames of events."""
    from esteemcore.diffraction import _frame_kernels

    offset, look = electrons.offset[part.start : part.stop + 1], of_part(look, part)
    number, rows = room(len(offset) - 1)
    limits = limits_of(first, part, len(number))
    n = _frame_kernels.find_in_events(
        offset, electrons.pixel, electrons.count, *spec.frame_shape, look, known, limits, number, rows
    )
    if look.split:
        pieces = (slice(a, b) for a, b in itertools.pairwise(offset))
        frames = (np.bincount(electrons.pixel[s], electrons.count[s], look.valid.size) for s in pieces)
        return _told_apart(frames, look, limits, number, rows)
    return number, rows[:n].copy()


def of_part[AnyLook: (Look, TemplateLook)](look: AnyLook, part: slice) -> AnyLook:
    """Return what is looked for in a part of the frames: with their own direct beams, where each frame has one."""
    return look if len(look.axis) == 1 else look._replace(axis=look.axis[part])


def _told_apart(
    frames: Iterable[NDArray[Any]], look: Look, limits: Numbers, number: Numbers, rows: Rows
) -> tuple[Numbers, Rows]:
    """Return the number of disks of each frame and their rows, with those that lie on the ones that were fitted."""
    from esteemcore.diffraction import _overlap_kernels

    told, at, number = [rows[:0]], np.concatenate([[0], np.cumsum(number)]), number.copy()
    for f, frame in enumerate(frames):
        mine = rows[at[f] : at[f + 1]]
        if limits[f, 0] >= 0:
            counts = np.where(look.valid, frame.reshape(look.valid.shape), 0).astype(np.float64)
            axis = np.array(look.axis[f % len(look.axis)])
            enough = np.empty((MOST_DISKS, len(COLUMNS)), np.float32)
            enough[: len(mine)] = mine
            number[f] = _overlap_kernels.tell_apart(counts, len(mine), axis, look, enough)
            mine = enough[: number[f]]
        told.append(mine)
    return number, np.concatenate(told)


def room(frames: int) -> tuple[Numbers, Rows]:
    """Return arrays for the number of disks of each frame, and for the rows."""
    return np.zeros(frames, np.int64), np.empty((frames * MOST_DISKS, len(COLUMNS)), np.float32)


def limits_of(first: Numbers | None, part: slice, n: int) -> Numbers:
    """Return where the known rows of each frame of a part begin and end."""
    return np.full((n, 2), -1) if first is None else np.ascontiguousarray(first[part])
