"""Frames in visit order with what is known about each of them, and the chunks they make."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.stream import Chunk


@dataclasses.dataclass(frozen=True, slots=True)
class FrameList:
    """Frames one after the other.

    Attributes
    ----------
    frames : ndarray, shape (n, ky, kx) or packed (n, ky, kx/8)
        The frames.
    index : ndarray of int64, shape (n,)
        Flat scan positions.
    visit : ndarray of int64, shape (n,)
        Pass numbers.
    time_s : ndarray of float64, shape (n,)
        Times in s; NaN where not known.
    position : ndarray of float64, shape (n, 2)
        True positions in px; NaN on the grid.
    """

    frames: NDArray[Any]
    index: NDArray[np.int64]
    visit: NDArray[np.int64]
    time_s: NDArray[np.float64]
    position: NDArray[np.float64]

    @classmethod
    def empty(cls, n: int, frame_shape: tuple[int, ...], dtype: np.dtype[Any]) -> FrameList:
        """Return room for ``n`` frames, all of them blank."""
        made = cls(
            np.zeros((n, *frame_shape), dtype),
            np.empty(n, np.int64),
            np.empty(n, np.int64),
            np.empty(n, np.float64),
            np.empty((n, 2), np.float64),
        )
        made.clear(0, frames=False)
        return made

    @classmethod
    def of_chunk(cls, chunk: Chunk, frames: NDArray[Any]) -> FrameList:
        """Return the frames of one chunk."""
        n = len(chunk)
        return cls(
            frames,
            chunk.index,
            np.full(n, chunk.visit, np.int64),
            np.full(n, np.nan) if chunk.time_s is None else chunk.time_s,
            np.full((n, 2), np.nan) if chunk.position is None else chunk.position,
        )

    def part(self, part: slice) -> FrameList:
        """Return views of a part."""
        return FrameList(*(getattr(self, field.name)[part] for field in dataclasses.fields(FrameList)))

    def copy(self) -> FrameList:
        """Return a copy that shares nothing."""
        return FrameList(*(getattr(self, field.name).copy() for field in dataclasses.fields(FrameList)))

    def put(self, at: int, other: FrameList) -> None:
        """Copy other frames to a place in this list."""
        for field in dataclasses.fields(FrameList):
            getattr(self, field.name)[at : at + len(other.index)] = getattr(other, field.name)

    def clear(self, start: int, *, frames: bool = True) -> None:
        """Blank everything from frame ``start`` on."""
        if frames:
            self.frames[start:] = 0
        self.index[start:], self.visit[start:] = -1, 0
        self.time_s[start:], self.position[start:] = np.nan, np.nan

    def chunks(self, columns: int) -> Iterator[Chunk]:
        """Yield chunks: one for each run of frames of the same pass whose times are all known or all unknown.

        Parameters
        ----------
        columns : int
            Positions in a row of the scan, to place frames that are on the grid among others that are not.
        """
        timed = np.isfinite(self.time_s)
        placed = np.isfinite(self.position).all(axis=1)
        breaks = np.flatnonzero((np.diff(self.visit) != 0) | (timed[1:] != timed[:-1])) + 1
        edges = [0, *breaks.tolist(), len(self.index)]
        for a, b in itertools.pairwise(edges):
            if a == b:
                continue
            position = None
            if placed[a:b].any():
                grid = np.stack(np.divmod(self.index[a:b], columns), axis=1)
                position = np.where(placed[a:b, None], self.position[a:b], grid)
            yield Chunk(
                self.index[a:b],
                self.frames[a:b],
                visit=int(self.visit[a]),
                time_s=self.time_s[a:b] if timed[a] else None,
                position=position,
            )
