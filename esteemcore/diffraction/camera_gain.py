"""Whether the values of frames are numbers of electrons: how they scatter between neighbours."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.diffraction.data4d import spec_of

Floats = NDArray[np.float64]

SAMPLE_PIXELS = 2**20
"""Pixels of the sample; of 16 frames at least, and of 128 at most."""

RUN = 8
"""Neighbouring frames of the sample that are read at once."""

APART_PX = 3
"""Distance of two pixels that are compared: farther than one electron is counted twice, nearer than a disk is wide."""

TOGETHER = 12
"""Differences whose squares are added."""

LEVELS = 8
"""Groups of the detector from dark to bright."""

LEAST_PAIRS, LEAST_SUMS = 8, 128
"""Pairs of frames, and sums of squares, below which nothing is said."""

TOO_MUCH, TOO_LITTLE = 1.3, 0.75
"""Variance over mean that three quarters of the sums exceed, or stay below, where values are no electrons.

Of electrons these quartiles are about 0.7 and 1.3. Specimens that change from frame to frame make them larger, though
hardly in dark areas.
"""

MOST_LEVELS, SOME_LEVELS = 6, 2
"""Levels at which there must be too much, and too little."""

SMALL = 0.1
"""Offset in electrons that does no harm."""

BLOCK = 4
"""Sums whose mean is taken before a median: in dark areas most sums are zero, in bright ones some hold a disk."""

EMPTY = 0.05
"""Share of sums of four pixels without an electron in data with dark areas."""

CLIPPED = 0.05
"""Share of the frames in which a pixel is at the largest value from which it is left out."""

EXPLAINED = 0.25
"""Relative error of the variances of areas that a fit may leave."""

EVEN = 0.1
"""Part of the mean of dark areas that an offset must have to be told."""


def gain_notes(data4d: Any, valid: NDArray[np.bool_] | None = None) -> tuple[str, ...]:
    """Return what the user should do if the values of frames (y, x, ky, kx) are no numbers of electrons, in words.

    The variance of electrons is their mean. In a sample of the scan two pixels near each other are compared, and what
    their difference changes by between two neighbouring positions: whatever is the same at both pixels or in both
    frames drops out. Where the specimen still changes it scatters more, but hardly everywhere; so quartiles of many
    small areas are judged. A straight line through variance and mean of areas from dark to bright tells how much an
    electron gives, and on top of what.

    Nothing is said of one-bit frames, of fewer than 16 positions, and where there are too few electrons.
    """
    frames = neighbours(data4d)
    return notes_of_pairs(frames, np.ones(frames.shape[2:], np.bool_) if valid is None else valid)


def notes_of_pairs(frames: NDArray[np.float32], valid: NDArray[np.bool_]) -> tuple[str, ...]:
    """Return the same from pairs of neighbouring frames (n, 2, ky, kx), whose masked pixels become zero."""
    frames[..., ~valid] = 0
    if len(frames) < LEAST_PAIRS or not np.isfinite(frames).all() or frames.max() == 1:
        return ()
    if frames.min() == frames.max():
        return (f"all values are {frames.max():g}: there is no pattern in them",) if frames.any() else ()
    if (frames[:, 0] == frames[:, 1]).all():
        return ("frames at neighbouring positions are the same to the last value: their noise cannot be told",)
    unit = _unit(frames)
    multiples = f"all values are multiples of {unit or 1:.6g}, which numbers of electrons are not: divide them by it"
    if unit is not None and unit > 1:
        return (multiples,)
    mean, variance, doubtful = _levels(frames, valid)
    if doubtful and _single_electrons(frames):
        return ()
    if doubtful:  # grains smaller than a step of the scan change everything, but not the smooth parts of a frame
        below = np.stack([frames[:, 0, :-APART_PX], frames[:, 0, APART_PX:]], axis=1)
        doubtful = _levels(below, valid[:-APART_PX] & valid[APART_PX:])[2]
    if unit is not None and (doubtful or not len(mean)) and not _levels(frames / np.float32(unit), valid)[2]:
        return (multiples,)
    return (_words(mean, variance),) if doubtful else ()


def neighbours(data4d: Any) -> NDArray[np.float32]:
    """Return pairs of frames (n, 2, ky, kx) of neighbouring positions, from rows all over the scan."""
    spec = spec_of(data4d)
    ny, nx = spec.scan_shape
    n = min(max(SAMPLE_PIXELS // spec.pixels, 2 * LEAST_PAIRS), 128)
    columns = nx > 1
    length, lines = (nx, ny) if columns else (ny, nx)
    run = min(max(RUN, math.ceil(n / lines)), length) // 2 * 2
    chosen = np.unique(np.round(np.linspace(0, lines - 1, min(lines, max(1, n // max(run, 1))))).astype(np.int64))
    pairs = [np.zeros((0, 2, *spec.frame_shape), np.float32)]
    for i, line in enumerate(chosen):
        first = round((length - run) * (i * 0.618 % 1))
        here, along = slice(int(line), int(line) + 1), slice(first, first + run)
        block = np.asarray(data4d[(here, along) if columns else (along, here)], np.float32)
        pairs.append(block.reshape(-1, 2, *spec.frame_shape))
    return np.concatenate(pairs)


def _levels(frames: NDArray[np.float32], valid: NDArray[np.bool_]) -> tuple[Floats, Floats, bool]:
    """Return mean and variance of the values in areas from dark to bright, and whether they are no electrons.

    No areas where there are too few values to tell.
    """
    n, _, ky, kx = frames.shape
    rows, columns = TOGETHER // APART_PX, 2 * APART_PX
    shape = (ky // rows, rows, kx // columns, 2, APART_PX)
    cut = np.s_[..., : ky // rows * rows, : kx // columns * columns]
    good = (valid & ((frames == frames.max()).mean(axis=(0, 1)) < CLIPPED))[cut].reshape(shape).all(axis=3)
    sums = (frames[:, 0] + frames[:, 1])[cut].reshape(n, *shape)
    change = (frames[:, 0] - frames[:, 1])[cut].reshape(n, *shape)
    total = (sums[..., 0, :] + sums[..., 1, :]).transpose(0, 1, 3, 2, 4).reshape(n, -1, TOGETHER)
    square = ((change[..., 0, :] - change[..., 1, :]) ** 2).transpose(0, 1, 3, 2, 4).reshape(n, -1, TOGETHER)
    level = np.broadcast_to(total.mean(axis=(0, 2))[:, None], total.shape)
    known = (total != 0) & good.transpose(0, 2, 1, 3).reshape(-1, TOGETHER)
    m = np.count_nonzero(known) // TOGETHER
    if m < LEAST_SUMS:
        return np.zeros(0), np.zeros(0), False
    of = [each[known][: m * TOGETHER].reshape(m, TOGETHER).mean(axis=1) / 4 for each in (total, square, level)]
    total, square, level = of
    mean, variance = (
        np.array([_middle(each[group]) for group in np.array_split(np.argsort(level, kind="stable"), LEVELS)])
        for each in (total, square)
    )
    own = np.array_split(np.argsort(total, kind="stable"), LEVELS)  # a disk is bright in its frame
    more = [np.mean(square[group] > TOO_MUCH * total[group]) > 0.75 for group in own]
    less, clearly = (
        [np.mean(square[group] < TOO_LITTLE * (total[group] - small)) > 0.75 for group in own] for small in (0.0, SMALL)
    )
    doubtful = sum(more) >= MOST_LEVELS or sum(clearly) >= SOME_LEVELS or sum(less) >= LEVELS - 1
    return mean, variance, doubtful or (any(clearly) and sum(more) >= SOME_LEVELS)


def _middle(values: NDArray[np.float32]) -> float:
    """Return the median of means of a few."""
    return float(np.median(values[: len(values) // BLOCK * BLOCK].reshape(-1, BLOCK).mean(axis=1)))


def _single_electrons(frames: NDArray[np.float32]) -> bool:
    """Return whether dark areas hold nothing, and else mostly one: no camera with a gain or an offset shows that."""
    few = frames[:, 0, :, :-APART_PX] + frames[:, 0, :, APART_PX:]
    few += frames[:, 1, :, :-APART_PX] + frames[:, 1, :, APART_PX:]
    if few.min() != 0 or (few != np.rint(few)).any():
        return False
    often = np.array([np.count_nonzero(few == k) for k in range(5)])
    return bool(often[0] > EMPTY * few.size and often[1:].argmax() == 0 and often[1] > 0)


def _unit(frames: NDArray[np.float32]) -> float | None:
    """Return the number other than 1 of which all values are multiples, if it is the usual one; None without."""
    values, often = np.unique(frames[frames != 0], return_counts=True)
    if not len(values) or values[0] < 0 or often.sum() < 64 or often.argmax() != 0:
        return None
    unit = float(values[0])
    multiples = values / values[0]
    whole = multiples[-1] < 5000 and np.abs(multiples - np.rint(multiples)).max() < 0.01
    return unit if whole and abs(unit - 1) > 1e-3 else None


def _words(mean: Floats, variance: Floats) -> str:
    """Return what an electron gives, and on top of what, in words."""
    says = "the values do not scatter as numbers of electrons do, so that scores and errors are wrong"
    gain, offset = _line(mean, variance)
    if not (gain > 0 and math.isfinite(offset)):
        return f"{says}: convert them to electrons with offset and gain of the camera"
    if abs(offset) < EVEN * abs(mean[0]):
        return f"{says}: an electron seems to give about {gain:.2g}; divide by the gain of the camera"
    step = f"subtract {_short(offset)}" if offset > 0 else f"add {_short(-offset)}"
    if 0.8 < gain < 1.25:
        return f"{says}: they seem to have an offset; {step}"
    return f"{says}: an electron seems to give about {gain:.2g} on top of an offset; {step}, then divide by {gain:.2g}"


def _short(value: float) -> str:
    """Return a positive number with three digits, or all of those before the point."""
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _line(mean: Floats, variance: Floats) -> tuple[float, float]:
    """Return the slope of variance over mean at the mean without variance, and that mean.

    Variances have relative errors, and what changes in the specimen adds a square. Where that explains them, there is
    no offset.
    """
    known = variance > 0
    if known.sum() < 4:
        return math.nan, math.nan
    mean, variance = mean[known], variance[known]
    if mean.min() > 0:
        found, off = _fitted(mean, variance, (1, 2))
        if found[0] > 0 and np.abs(off).max() < EXPLAINED:
            return float(found[0]), 0.0
    found, _ = _fitted(mean, variance, (0, 1, 2))
    root = found[1] ** 2 - 4 * found[0] * found[2]
    if found[2] > 0 and root > 0:
        return math.sqrt(root), float(-2 * found[0] / (found[1] + math.sqrt(root)))
    found, _ = _fitted(mean, variance, (0, 1))
    return float(found[1]), float(-found[0] / found[1]) if found[1] else math.nan


def _fitted(mean: Floats, variance: Floats, powers: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Return the factors of powers of the mean, robust, and by what part the variances are off."""
    design, weight = mean[:, None] ** powers, 1 / variance
    for _ in range(20):
        found = np.linalg.lstsq(design * weight[:, None], variance * weight, rcond=None)[0]
        off = (variance - design @ found) / variance
        spread = 1.4826 * float(np.median(np.abs(off))) + 0.02
        weight = 1 / (variance * np.sqrt(1 + (off / (2 * spread)) ** 2))
    return found, off
