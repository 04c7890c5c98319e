"""Whether the values of frames are numbers of electrons: how they scatter between neighbours."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

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
"""Offset in electrons that does no harm; where an electron gives less than one, so much less."""

BLOCK = 4
"""Sums whose mean is taken before a median: in dark areas most sums are zero, in bright ones some hold a disk."""

FEW = 32
"""Whole numbers below this one are looked at for how often they occur."""

OFTEN = 100
"""Values from which a number occurs often enough for that."""

FALL, SURE = 0.8, 4.0
"""Part of an earlier ratio to which a later one falls, and by how many standard errors, where values are no counts."""

STEADY = (0.5, 1.6)
"""Variance of sums over variance of differences at levels where nothing but electrons changes."""

RANGE, ENOUGH_LEVELS = 3.0, 5
"""Ratio of variances from dark to bright, and such levels, that a line needs."""

CLIPPED = 0.05
"""Share of the frames in which a pixel is at the largest value from which it is left out."""

EXPLAINED = 0.25
"""Relative error of the variances of areas that a fit may leave."""

EVEN = 0.1
"""Part of the mean of dark areas that an offset must have to be told."""


class Levels(NamedTuple):
    """How values scatter in areas from dark to bright, `LEVELS` of them, or none where there are too few values.

    ``verdict`` is 1 where they scatter more than electrons do, -1 where less, 0 as electrons or not known; ``steady``
    says at which levels nothing but electrons changes between the frames of a pair.
    """

    mean: Floats
    variance: Floats
    verdict: int
    steady: NDArray[np.bool_]


def gain_notes(data4d: Any, valid: NDArray[np.bool_] | None = None) -> tuple[str, ...]:
    """Return what the user should do if the values of frames (y, x, ky, kx) are no numbers of electrons, in words.

    The variance of electrons is their mean. In a sample of the scan two pixels near each other are compared, and what
    their difference changes by between two neighbouring positions: whatever is the same at both pixels or in both
    frames drops out. Where the specimen still changes it scatters more; so quartiles of many small areas are judged,
    pairs of pixels of one frame must say the same, and whole numbers that occur as often as counts do are never told
    to scatter too much. A straight line through variance and mean of areas from dark to bright tells how much an
    electron gives, and on top of what, if the sums of many pixels scatter as the differences of two do: a specimen
    that changes is seen in sums.

    Nothing is said of one-bit frames, of fewer than 16 positions, and where there are too few electrons.
    """
    frames = neighbours(data4d)
    return notes_of_pairs(frames, np.ones(frames.shape[2:], np.bool_) if valid is None else valid)


def notes_of_pairs(frames: NDArray[np.float32], valid: NDArray[np.bool_]) -> tuple[str, ...]:
    """Return the same from pairs of neighbouring frames (n, 2, ky, kx), whose masked pixels become zero."""
    frames[..., ~valid] = 0
    if len(frames) < LEAST_PAIRS or not np.isfinite(frames).all() or ((frames == 0) | (frames == 1)).all():
        return ()
    if frames.min() == frames.max():
        return (f"all values are {frames.max():g}: there is no pattern in them",)
    if (frames[:, 0] == frames[:, 1]).all():
        return ("frames at neighbouring positions are the same to the last value: their noise cannot be told",)
    unit = _unit(frames)
    multiples = f"all values are multiples of {unit or 1:.6g}, which numbers of electrons are not: divide them by it"
    if unit is not None and unit > 1:
        return (multiples,)
    levels = _judged(frames, valid)
    if unit is not None and (levels.verdict or not len(levels.mean)):
        whole = np.rint(frames / np.float32(unit))
        if _counted(whole, valid) or not _judged(whole, valid).verdict:
            return (multiples,)
    return (_words(levels),) if levels.verdict else ()


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


def _judged(frames: NDArray[np.float32], valid: NDArray[np.bool_]) -> Levels:
    """Return levels whose verdict is no mistake of a specimen that changes, which only makes values scatter more."""
    levels = _levels(frames, valid)
    if not levels.verdict:
        return levels
    counted = _counted(frames, valid)
    if levels.verdict > 0 and not counted:  # grains smaller than a step change everything, but not what is smooth
        below = np.stack([frames[:, 0, :-APART_PX], frames[:, 0, APART_PX:]], axis=1)
        counted = not _levels(below, valid[:-APART_PX] & valid[APART_PX:]).verdict
    if levels.verdict > 0 and counted:
        return levels._replace(verdict=0)
    return levels._replace(steady=levels.steady & (not counted))


def _levels(frames: NDArray[np.float32], valid: NDArray[np.bool_]) -> Levels:
    """Return mean and variance of the values in areas from dark to bright, and whether they are no electrons."""
    n, _, ky, kx = frames.shape
    rows, columns = TOGETHER // APART_PX, 2 * APART_PX
    shape = (ky // rows, rows, kx // columns, 2, APART_PX)
    cut = np.s_[..., : ky // rows * rows, : kx // columns * columns]
    good = (valid & ((frames == frames.max()).mean(axis=(0, 1)) < CLIPPED))[cut].reshape(shape).all(axis=3)
    sums = (frames[:, 0] + frames[:, 1])[cut].reshape(n, *shape)
    change = (frames[:, 0] - frames[:, 1])[cut].reshape(n, *shape)
    parts = (
        sums[..., 0, :] + sums[..., 1, :],
        (change[..., 0, :] - change[..., 1, :]) ** 2,
        change[..., 0, :] + change[..., 1, :],
    )
    total, square, both = (each.transpose(0, 1, 3, 2, 4).reshape(n, -1, TOGETHER) for each in parts)
    level = np.broadcast_to(total.mean(axis=(0, 2))[:, None], total.shape)
    known = (total != 0) & good.transpose(0, 2, 1, 3).reshape(-1, TOGETHER)
    m = np.count_nonzero(known) // TOGETHER
    if m < LEAST_SUMS:
        return Levels(np.zeros(0), np.zeros(0), 0, np.zeros(0, np.bool_))
    total, square, level, both = (
        each[known][: m * TOGETHER].reshape(m, TOGETHER).mean(axis=1) / 4 for each in (total, square, level, both)
    )
    groups = np.array_split(np.argsort(level, kind="stable"), LEVELS)
    mean, variance, common = (
        np.array([_middle(each[group]) for group in groups]) for each in (total, square, 4 * TOGETHER * both**2)
    )
    steady = (common >= STEADY[0] * variance) & (common <= STEADY[1] * variance)
    own = np.array_split(np.argsort(total, kind="stable"), LEVELS)  # a disk is bright in its frame
    more = sum(np.mean(square[group] > TOO_MUCH * total[group]) > 0.75 for group in own)
    small = SMALL * min(1.0, variance[-1] / mean[-1] if mean[-1] > 0 else 1.0)
    less, clearly = (
        sum(np.mean(square[group] < TOO_LITTLE * (total[group] - harmless)) > 0.75 for group in own)
        for harmless in (0.0, small)
    )
    much = more >= MOST_LEVELS or (clearly and more >= SOME_LEVELS)
    little = clearly >= SOME_LEVELS or less >= LEVELS - 1
    return Levels(mean, variance, -1 if little else 1 if much else 0, steady)


def _middle(values: NDArray[np.float32]) -> float:
    """Return the median of means of a few."""
    return float(np.median(values[: len(values) // BLOCK * BLOCK].reshape(-1, BLOCK).mean(axis=1)))


def _counted(frames: NDArray[np.float32], valid: NDArray[np.bool_]) -> bool:
    """Return whether values are whole numbers from 0 that occur as often as counts do.

    Whatever changes in the specimen, counts are a mixture of Poisson distributions: for them (k + 1) p(k + 1) / p(k) is
    the mean to expect where k was counted, which never falls with k (Robbins 1956). A gain leaves gaps, and noise of
    reading makes the ratio fall.
    """
    values = frames[..., valid]
    if values.min() != 0 or (values != np.rint(values)).any():
        return False
    often = np.bincount(np.minimum(values, FEW).astype(np.int64).ravel(), minlength=FEW + 1).astype(float)
    often = often[: min(FEW, int(values.max()))]  # the largest value may hold all that are larger
    rare = np.flatnonzero(often < OFTEN)
    if len(rare):
        if (often[rare[0] + 1 :] > OFTEN).any() and often[rare[0]] == 0:
            return False
        often = often[: rare[0]]
    k = np.arange(1, len(often))
    ratio = k * often[1:] / often[:-1]
    error = ratio * np.sqrt(1 / often[1:] + 1 / often[:-1])
    highest = np.maximum.accumulate(ratio - SURE * error)
    return not (ratio + SURE * error < FALL * highest).any()


def _unit(frames: NDArray[np.float32]) -> float | None:
    """Return the number other than 1 of which all values are multiples, if it is the usual one; None without."""
    values, often = np.unique(frames[frames != 0], return_counts=True)
    if not len(values) or values[0] < 0 or often.sum() < 64 or often.argmax() != 0:
        return None
    unit = float(values[0])
    multiples = values / values[0]
    whole = multiples[-1] < 5000 and np.abs(multiples - np.rint(multiples)).max() < 0.01
    return unit if whole and abs(unit - 1) > 1e-3 else None


def _words(levels: Levels) -> str:
    """Return what is wrong in words, with what an electron gives, and on top of what, where that can be trusted."""
    says = "the values do not scatter as numbers of electrons do, so that scores and errors are wrong"
    known = levels.steady & (levels.variance > 0)
    mean, variance = levels.mean[known], levels.variance[known]
    gain, offset = 0.0, 0.0
    if len(mean) >= ENOUGH_LEVELS and variance.max() > RANGE * variance.min():
        gain, offset = _line(mean, variance)
    if not (gain > 0 and math.isfinite(offset)):
        if levels.verdict < 0:
            return f"{says}, but less: they have an offset, a gain below one, or are means; convert them to electrons"
        return (
            "the values scatter more than numbers of electrons would: either the camera has a gain or an offset, and "
            "scores and errors are wrong until values are converted with them; or the specimen changes everywhere "
            "between neighbouring positions, and values that are known to be electrons should be left as they are"
        )
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
    """Return the slope of variance over mean, and the mean without variance; not finite if they are on no line.

    Where relative errors of the variances explain them without an offset, there is none.
    """
    for powers in (1,), (0, 1):
        found, off = _fitted(mean, variance, powers)
        if np.abs(off).max() < EXPLAINED and found[-1] > 0:
            return float(found[-1]), float(-found[0] / found[1]) if len(found) > 1 else 0.0
    return math.nan, math.nan


def _fitted(mean: Floats, variance: Floats, powers: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Return the factors of powers of the mean, robust, and by what part the variances are off."""
    design, weight = mean[:, None] ** powers, 1 / variance
    for _ in range(20):
        found = np.linalg.lstsq(design * weight[:, None], variance * weight, rcond=None)[0]
        off = (variance - design @ found) / variance
        spread = 1.4826 * float(np.median(np.abs(off))) + 0.02
        weight = 1 / (variance * np.sqrt(1 + (off / (2 * spread)) ** 2))
    return found, off
