"""What is wrong with frames in which disks were found, from a sample of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.diffraction.camera_gain import LEAST_PAIRS, neighbours, notes_of_pairs
from esteemcore.diffraction.counts import hot_pixels, silent_lines
from esteemcore.diffraction.descan import SATURATED, TIES, hole_in_middle

MOST_NAMED = 4
"""Lines and pixels that a note names."""


def frame_notes(
    data4d: Any, valid: NDArray[np.bool_], radius: float, *, known_beam: bool, told: tuple[str, ...]
) -> tuple[str, ...]:
    """Return what the user should mend before disks are believed: detector, beam stop, saturation, no electrons.

    ``valid`` is False at masked pixels, ``known_beam`` says that the direct beam was not taken for the brightest disk,
    and ``told`` is what was told already.
    """
    pairs = neighbours(data4d)
    pairs[..., ~valid] = 0
    frames = pairs.reshape(-1, *valid.shape)
    doubts = []
    if len(frames) and np.isfinite(frames).all() and frames.min() < frames.max():
        total = np.maximum(frames.sum(axis=0, dtype=np.float64), 0)
        hot = hot_pixels(total)
        doubts += _dead(total, valid) if len(pairs) >= LEAST_PAIRS else []
        doubts += _hot(hot)
        hole = None if known_beam else hole_in_middle(total, radius)
        if hole is not None:
            doubts.append(
                f"{hole[0]} detector pixels round (row, column) = ({hole[1]:.0f}, {hole[2]:.0f}), in the middle of the "
                "pattern, never have counts: if they are a beam stop, the brightest disks are not the direct beam; "
                "mask the stop, and give center"
            )
        frames[:, hot] = 0
        top = float(frames.max())
        clipped = np.count_nonzero(frames == top)
        known = any("saturated" in note for note in told)
        if not known and top >= 3 and clipped > max(SATURATED * math.pi * radius**2 * len(frames), TIES):
            doubts.append(
                f"some {clipped / len(frames):.3g} pixels of a frame are at the largest value of the data, {top:g}: "
                "saturated; disks there are too faint, and their places less sure than they seem"
            )
    return (*doubts, *notes_of_pairs(pairs, valid))


def _dead(total: NDArray[np.float64], valid: NDArray[np.bool_]) -> list[str]:
    """Return what dead lines there are, in words."""
    doubts = []
    for axis, word in ((0, "row"), (1, "column")):
        lines = [int(k) for k in silent_lines(total.sum(axis=1 - axis)) if valid.any(axis=1 - axis)[k]]
        if lines:
            doubts.append(f"detector {word}{_names(lines)} no counts: mask what is dead, or disks there are displaced")
    return doubts


def _hot(hot: NDArray[np.bool_]) -> list[str]:
    """Return what hot pixels there are, in words."""
    places = [f"({y}, {x})" for y, x in np.argwhere(hot)]
    if not places:
        return []
    listed = ", ".join(places[:MOST_NAMED]) + (", ..." if len(places) > MOST_NAMED else "")
    return [f"hot pixels at (row, column) = {listed} look like disks: leave them out with a mask"]


def _names(lines: list[int]) -> str:
    """Return lines in words, with their verb."""
    if len(lines) == 1:
        return f" {lines[0]} has"
    return "s " + ", ".join(map(str, lines[:MOST_NAMED])) + (", ..." if len(lines) > MOST_NAMED else "") + " have"
