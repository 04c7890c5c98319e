"""Diffraction patterns moved back by their descan: binned for the mixture, added up for the patterns of classes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import ParameterError
from esteemcore.diffraction.amorphous import SECTORS
from esteemcore.diffraction.counts import Counts
from esteemcore.diffraction.descan import Descan

ROWS = 4096
"""Positions whose binned counts are real numbers at the same time."""

BY_CHANCE = 1e-3
"""Frames of a whole scan, on average, that have no counts outside the beam by chance."""

SCARCE = 60.0
"""Mean counts outside the beam per frame, below which bins are made larger."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Binned:
    """Counts outside the direct beam in square bins, moved back by the descan.

    Attributes
    ----------
    counts : ndarray of unsigned integers, shape (positions, bins)
        Whole counts.
    scan_shape : tuple of int
        ``(y, x)``.
    size : int
        Side of a bin in detector px.
    center : ndarray of float64, shape (bins, 2)
        Middle of each bin (row, column) in px, relative to the beam.
    empty : ndarray of bool, shape (positions,)
        Frames without any count outside the direct beam where that is no chance, or with none at all.
    """

    counts: NDArray[Any]
    scan_shape: tuple[int, int]
    size: int
    center: NDArray[np.float64]
    empty: NDArray[np.bool_]

    def blocks(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """Yield some positions and their counts as real numbers."""
        for start in range(0, len(self.counts), ROWS):
            place = slice(start, min(start + ROWS, len(self.counts)))
            yield place, self.counts[place].astype(np.float32)

    def total(self) -> float:
        """Return all counts."""
        return float(self.counts.sum(dtype=np.int64))

    def thinned(self, rng: np.random.Generator) -> tuple[Binned, Binned]:
        """Return two halves: each electron goes to one or the other by chance, which makes them independent."""
        one = np.empty_like(self.counts)
        for place in range(0, len(one), ROWS):
            part = slice(place, place + ROWS)
            one[part] = rng.binomial(self.counts[part].astype(np.int64), 0.5)
        other = self.counts - one
        return dataclasses.replace(self, counts=one), dataclasses.replace(self, counts=other)


def bin_size(counts: Counts, radius: float) -> int:
    """Return the side of the bins: about the radius of a disk, more where electrons are few."""
    ky, kx = counts.spec.frame_shape
    y, x = np.mgrid[:ky, :kx]
    peak = np.unravel_index(int(counts.sample.argmax()), counts.sample.shape)
    outside = counts.sample[np.hypot(y - peak[0], x - peak[1]) > 2 * radius].sum()
    size = round((1.2 if outside < SCARCE else 0.8) * radius)
    return int(max(1, min(size, min(ky, kx) // 8)))


def binned(counts: Counts, descan: Descan, radius: float, size: int) -> Binned:
    """Bin the counts outside the direct beam, moved back by the descan to whole pixels."""
    from esteemcore.diffraction import _pattern_kernels as kernels

    shift = _shift(descan)
    margin = int(np.abs(shift).max()) + 1
    label, center = _bins(counts.spec.frame_shape, descan.reference, radius, size, margin)
    if not len(center):
        raise ParameterError(
            f"no bin of {size} px fits outside the beam of radius {radius:g} px; use a smaller binning"
        )
    result = np.zeros((counts.spec.positions, len(center)), np.uint16)
    empty = np.zeros(counts.spec.positions, np.bool_)
    for index, frames in counts.pieces():
        empty[index] = ~frames.any(axis=(1, 2))
        most = int(frames.max(initial=0)) * size * size
        if most > np.iinfo(result.dtype).max and result.dtype == np.uint16:
            result = result.astype(np.uint32)
        kernels.bin_frames(frames, shift[index], label, margin, result[index])
    if result.max(initial=0) < 256:
        result = result.astype(np.uint8)
    total = result.sum(axis=1, dtype=np.int64)
    usual = float((total.astype(np.float64) ** 2).sum()) / max(float(total.sum()), 1.0)  # of a mean electron's frame
    if len(total) * math.exp(-usual) < BY_CHANCE:
        empty |= total == 0
    return Binned(result, counts.spec.scan_shape, size, center, empty)


def cells(data: Binned, radius: float) -> tuple[NDArray[np.int64], int]:
    """Return ring and sector of each bin as one number, -1 beyond the rings, and the number of rings."""
    r = np.hypot(*data.center.T)
    first, width = 1.5 * radius + 1, max(1.6 * radius, 2.0 * data.size)
    reach = min(*-data.center.min(axis=0), *data.center.max(axis=0))
    rings = max(1, int((reach - first) // width))
    ring = np.floor((r - first) / width).astype(np.int64)
    sector = np.floor((np.arctan2(*data.center.T) / (2 * np.pi) + 0.5) * SECTORS).astype(np.int64) % SECTORS
    return np.where((ring >= 0) & (ring < rings), ring * SECTORS + sector, -1), rings


def sums(counts: Counts, descan: Descan, number: NDArray[np.int64], n: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Add up frames by their number, moved back by the descan.

    Parameters
    ----------
    number : ndarray of int64, shape (positions,)
        Which sum each frame goes to; negative: none.
    n : int
        Sums.

    Returns
    -------
    total : ndarray of float64, shape (n, ky, kx)
        Counts.
    covered : ndarray of float64, shape (n, ky, kx)
        Frames that have this pixel.
    """
    from esteemcore.diffraction import _pattern_kernels as kernels

    total = np.zeros((n, *counts.spec.frame_shape))
    covered = np.zeros_like(total)
    shift = _shift(descan)
    for index, frames in counts.pieces():
        kernels.add_frames(frames, shift[index], number[index], total, covered)
    return total, covered


def _shift(descan: Descan) -> NDArray[np.int64]:
    return np.rint(descan.center.reshape(-1, 2) - descan.reference).astype(np.int64)


def _bins(
    frame_shape: tuple[int, int], reference: NDArray[np.float64], radius: float, size: int, margin: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the bin of each pixel of a frame with a margin, -1 for none, and the middles of the bins."""
    ky, kx = frame_shape
    y, x = np.mgrid[-margin : ky + margin, -margin : kx + margin].astype(float)
    dy, dx = y - reference[0], x - reference[1]
    row, column = np.floor(dy / size + 0.5).astype(np.int64), np.floor(dx / size + 0.5).astype(np.int64)
    width = int(column.max() - column.min()) + 1
    every, which = np.unique((row - row.min()) * width + column - column.min(), return_inverse=True)
    which = which.reshape(y.shape)
    nearest = np.full(len(every), np.inf)
    np.minimum.at(nearest, which.ravel(), np.hypot(dy, dx).ravel())
    seen = np.zeros(len(every), np.bool_)
    seen[which[margin : margin + ky, margin : margin + kx]] = True
    used = seen & (nearest > 1.3 * radius + 1)
    number = np.full(len(every), -1, np.int64)
    number[used] = np.arange(int(used.sum()))
    middle = np.stack([every // width + row.min(), every % width + column.min()], axis=1)[used] * float(size)
    return np.ascontiguousarray(number[which]), middle
