"""In which order the samples of a frame were taken: its lines, and the time of each sample."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.scan import ScanPattern


@dataclasses.dataclass(frozen=True, eq=False)
class Visits:
    """Order of the samples of a frame.

    Attributes
    ----------
    axis : int
        0: the lines are rows. 1: the lines are columns. -1: there are no lines.
    lines : ndarray of int64
        Lines in the order of their visit, where there are lines.
    time : ndarray of float32, shape (lines,) or (y, x)
        Time of each line (in the order of the axis), or of each sample, as a fraction of the frame from -1/2 to 1/2.
    seen : ndarray of bool, shape (y, x), or None
        Which positions were visited; None if all were.
    """

    axis: int
    lines: NDArray[np.int64]
    time: NDArray[np.float32]
    seen: NDArray[np.bool_] | None = None


def raster_visits(shape: tuple[int, int]) -> Visits:
    """Return the visits of an ordinary raster."""
    return Visits(0, np.arange(shape[0]), ((np.arange(shape[0]) + 0.5) / shape[0] - 0.5).astype(np.float32))


def series_visits(patterns: Any, n: int, shape: tuple[int, int]) -> list[Visits]:
    """Return the visits of each frame from the argument ``patterns`` of `align`."""
    if patterns is None:
        return [raster_visits(shape)] * n
    if isinstance(patterns, ScanPattern):
        patterns = [patterns] * n
    if not isinstance(patterns, Sequence | np.ndarray) or len(patterns) != n:
        given = f"{len(patterns)} of them" if hasattr(patterns, "__len__") else repr(patterns)
        raise ParameterError(
            f"patterns: {given} for {n} frames; give one ScanPattern or visit order per frame, or None"
        )
    known: dict[int, Visits] = {}
    result = []
    for k, pattern in enumerate(patterns):
        if id(pattern) not in known:
            known[id(pattern)] = frame_visits(pattern, shape, f"patterns[{k}]")
        result.append(known[id(pattern)])
    return result


def frame_visits(pattern: Any, shape: tuple[int, int], name: str) -> Visits:
    """Return the visits of one frame from its pattern, flat visit order, or None for a raster."""
    if pattern is None:
        return raster_visits(shape)
    order = pattern
    if isinstance(pattern, ScanPattern):
        if pattern.shape != shape:
            raise ParameterError(f"{name} has shape {pattern.shape}, but the frames have {shape}")
        order = pattern.order
    order = checks.flat_indices(name, order, shape[0] * shape[1])
    if order.size == 0:
        raise ParameterError(f"{name} visits nothing; give the visit order of the frame, or None for a raster")
    count = np.bincount(order, minlength=shape[0] * shape[1])
    visited = None if count.all() else (count > 0).reshape(shape)
    fraction = (np.arange(order.size) + 0.5) / order.size - 0.5
    for axis, line in enumerate((order // shape[1], order % shape[1])):
        first = np.concatenate([[True], line[1:] != line[:-1]])
        lines = line[first]
        per_line = order.size / lines.size
        if lines.size == np.unique(lines).size and per_line > 2 and lines.size > 1:
            count = np.bincount(line, minlength=shape[axis])
            time = np.bincount(line, fraction, minlength=shape[axis]) / np.maximum(count, 1)
            seen = np.flatnonzero(count)
            time = np.interp(np.arange(shape[axis]), seen, time[seen])  # lines that were left out
            return Visits(axis, np.argsort(time, kind="stable"), time.astype(np.float32), visited)
    when = np.zeros(shape[0] * shape[1], np.float32)
    when[order] = fraction
    return Visits(-1, np.zeros(0, np.int64), when.reshape(shape), visited)
