"""What is wrong with frames in which disks were found, from a sample of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from esteemcore.diffraction.beam_radius import largest_at, sums_around
from esteemcore.diffraction.camera_gain import LEAST_PAIRS, neighbours, notes_of_pairs
from esteemcore.diffraction.counts import hot_pixels, silent_lines
from esteemcore.diffraction.descan import SATURATED, TIES, area_in_middle

MOST_NAMED = 4
"""Lines and pixels that a note names."""

EXPECTED = 3.0
"""Counts of the usual pixel round an area without any from which such an area is no chance."""

BRIGHT, ALONG = 1.5, 0.8
"""How many times the counts of the lines beside it a bright line has, in what part of its pixels."""

FADES = 0.85
"""Part of the counts of the line further out that the edge of a disk has at most."""

LEAST_LENGTH = 16
"""Pixels of a line that is judged."""

INNER = 0.75
"""Part of the counts of a disk in a circle of half of its radius; of an even disk it is a quarter."""

CLEAR = 3.0
"""How many times the counts of the ring round it a disk has, per pixel, that is judged so."""

LEAST_ELECTRONS, LOOKED_AT = 50, 16
"""Electrons of a disk that is judged, and frames whose brightest disks are."""


def frame_notes(
    data4d: Any, valid: NDArray[np.bool_], radius: float, *, known_beam: bool, told: tuple[str, ...]
) -> tuple[str, ...]:
    """Return what the user should mend before disks are believed: detector, beam stop, saturation, no electrons.

    ``valid`` is False at masked pixels, ``known_beam`` says that the direct beam was not taken for the brightest disk,
    and ``told`` is what was told already; the notes begin with it, less the saturation of frames of one bit.
    """
    pairs = neighbours(data4d)
    pairs[..., ~valid] = 0
    frames = pairs.reshape(-1, *valid.shape)
    doubts = []
    if len(frames) and np.isfinite(frames).all() and frames.min() < frames.max():
        same = bool((pairs[:, 0] == pairs[:, 1]).all())  # twice the same frame tells no more than once
        unit = _unit(frames)
        frames = (pairs[:1, 0] if same else frames) / np.float32(unit)
        total = np.maximum(frames.sum(axis=0, dtype=np.float64), 0)
        if frames.max() == 1:
            told = tuple(note for note in told if "saturated" not in note)
        hot, bright = hot_pixels(total), np.zeros(valid.shape, np.bool_)
        if len(pairs) >= LEAST_PAIRS and not same:
            doubts += _dead(total, valid)
            words, bright = _bright(total, valid)
            doubts += words
        doubts += _hot(hot)
        doubts += [] if known_beam else _hidden(total, valid, radius)
        frames[:, hot | bright] = 0
        top = float(frames.max())
        clipped = np.count_nonzero(frames == top)
        known = any("saturated" in note for note in told)
        if not known and top >= 3 and clipped > max(SATURATED * math.pi * radius**2 * len(frames), TIES):
            doubts.append(
                f"{clipped} pixels of {len(frames)} frames are at the largest value of the data, {_value(top * unit)}: "
                "saturated; disks there are too faint, and their places less sure than they seem"
            )
        if not known_beam and not any("radius" in note for note in told) and _too_large(frames, radius):
            doubts.append(
                f"the direct beam looks much smaller than a disk of radius {radius:g} px: give its own radius, which "
                "find_descan measures"
            )
    return (*told, *doubts, *notes_of_pairs(pairs, valid))


def _unit(frames: NDArray[np.float32]) -> float:
    """Return the number of which all values are multiples, if they are whole or the only one; else 1."""
    values = frames[frames != 0]
    if (values == values[0]).all():
        return abs(float(values[0]))
    if (values != np.rint(values)).any() or np.abs(values).max() >= 2**62:
        return 1.0
    return float(np.gcd.reduce(values.astype(np.int64)))


def _dead(total: NDArray[np.float64], valid: NDArray[np.bool_]) -> list[str]:
    """Return what dead lines there are, in words."""
    doubts = []
    for axis, word in ((0, "row"), (1, "column")):
        sums = total.sum(axis=1 - axis)
        lines = [int(k) for k in silent_lines(sums) if valid.any(axis=1 - axis)[k] and not _faint_beside(sums, k)]
        if lines:
            doubts.append(f"detector {word}{_names(lines)} no counts: mask what is dead, or disks there are displaced")
    return doubts


def _faint_beside(sums: NDArray[np.float64], k: int) -> bool:
    """Return whether counts fade on both sides of a line without any, as between disks that have no background."""
    lit = np.flatnonzero(sums)
    low, high = lit[lit < k][-2:], lit[lit > k][:2]
    if len(low) < 2 or len(high) < 2:
        return True
    return bool(sums[low[1]] < FADES * sums[low[0]] and sums[high[0]] < FADES * sums[high[1]])


def _bright(total: NDArray[np.float64], valid: NDArray[np.bool_]) -> tuple[list[str], NDArray[np.bool_]]:
    """Return what lines, one or two side by side, are far brighter than those beside them nearly from end to end."""
    doubts, where = [], np.zeros(total.shape, np.bool_)
    for word, image, good, marked in (("row", total, valid, where), ("column", total.T, valid.T, where.T)):
        lines = []
        for k in range(2, len(image) - 2):
            known = good[k - 2] & good[k] & good[k + 2]
            own, beside = image[k, known], np.maximum(image[k - 2, known], image[k + 2, known])
            if len(own) >= LEAST_LENGTH and np.mean(own > BRIGHT * beside + 1) > ALONG:
                lines.append(k)
        marked[lines] = True
        if lines:
            many = "far more counts than those beside: mask what is bright, or false disks are found along it"
            doubts.append(f"detector {word}{_names(lines)} {many}")
    return doubts, where


def _hot(hot: NDArray[np.bool_]) -> list[str]:
    """Return what hot pixels there are, in words."""
    places = [f"({y}, {x})" for y, x in np.argwhere(hot)]
    if not places:
        return []
    listed = ", ".join(places[:MOST_NAMED]) + (", ..." if len(places) > MOST_NAMED else "")
    return [f"hot pixels at (row, column) = {listed} look like disks: leave them out with a mask"]


def _hidden(total: NDArray[np.float64], valid: NDArray[np.bool_], radius: float) -> list[str]:
    """Return that a beam stop may hide the beam, where an area without counts is no chance, in words."""
    hole = area_in_middle(total, radius)
    if hole is None or _between_disks(total, hole, radius):
        return []
    beside = (ndimage.distance_transform_edt(~hole) <= max(radius, 2.0)) & valid & ~hole
    places, pixels = np.argwhere(hole), np.argwhere(beside)
    off = np.hypot(*(places - np.array(ndimage.center_of_mass(total))).T)
    near = np.hypot(*(pixels - places[off.argmin()]).T) <= 3 * radius
    if not near.any() or np.median(total[beside][near]) < EXPECTED:
        return []
    y, x = places.mean(axis=0)
    return [
        f"{len(places)} detector pixels round (row, column) = ({y:.0f}, {x:.0f}), in the middle of the pattern, never "
        "have counts: if they are a beam stop, the brightest disks are not the direct beam; mask the stop, and give "
        "center"
    ]


def _between_disks(total: NDArray[np.float64], hole: NDArray[np.bool_], radius: float) -> bool:
    """Return whether an area without counts is what lies between disks that have no background.

    Such an area has several disks beside it that nothing joins, or is one of several near each other.
    """
    least = 0.5 * math.pi * radius**2
    islands, _ = ndimage.label(total > 0)
    beside = np.setdiff1d(islands[ndimage.binary_dilation(hole)], [0])
    far = np.hypot(*(np.indices(total.shape) - np.argwhere(hole).mean(axis=0)[:, None, None]))
    areas, _ = ndimage.label(total == 0)
    edge = np.concatenate([areas[[0, -1]].ravel(), areas[:, [0, -1]].ravel()])
    others = np.setdiff1d(areas[far < math.sqrt(hole.sum() / math.pi) + 3 * radius], [*edge, *areas[hole], 0])
    return bool((np.bincount(islands.ravel())[beside] >= least).sum() > 2) or bool(
        (np.bincount(areas.ravel())[others] >= least).any()
    )


def _too_large(frames: NDArray[np.float32], radius: float) -> bool:
    """Return whether the brightest disks of frames lie within half of a radius."""
    reach = math.ceil(radius / 2)
    small = np.hypot(*np.mgrid[-reach : reach + 1, -reach : reach + 1]) <= radius / 2
    parts = []
    for frame in frames[:: math.ceil(len(frames) / LOOKED_AT)].astype(np.float64):
        middle = largest_at(sums_around(frame, small.astype(np.float64), "constant"))
        far = np.hypot(*(np.mgrid[: frame.shape[0], : frame.shape[1]] - np.array(middle)[:, None, None]))
        ring = frame[(far > 1.5 * radius) & (far <= 2 * radius)]
        around = float(np.median(ring)) if len(ring) else 0.0
        inner, whole = (float((frame[far <= part] - around).sum()) for part in (radius / 2, radius))
        if whole > LEAST_ELECTRONS and frame[far <= radius / 2].mean() > CLEAR * around:
            parts.append(inner / whole)
    return len(parts) > 0 and float(np.median(parts)) > INNER


def _names(lines: list[int]) -> str:
    """Return lines in words, with their verb."""
    if len(lines) == 1:
        return f" {lines[0]} has"
    return "s " + ", ".join(map(str, lines[:MOST_NAMED])) + (", ..." if len(lines) > MOST_NAMED else "") + " have"


def _value(value: float) -> str:
    """Return a value of the data, with all its digits if it is whole."""
    return f"{value:.0f}" if value == round(value) or abs(value) >= 1000 else f"{value:.3g}"
