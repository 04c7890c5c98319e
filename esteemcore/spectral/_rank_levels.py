"""The bins in which components are looked for: all pixels, or many of them at random, and blocks of them."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.lowrank.operators import is_sparse
from esteemcore.spectral._binning import binned
from esteemcore.spectral._rank_counts import EVENTS
from esteemcore.spectral._spectra import Spectra

MATRIX_ENTRIES = 4_000_000
"""Dense matrices of more entries are not made."""

LEAST_BLOCKS = 64
"""Fewer blocks than this are no level of their own."""


@dataclasses.dataclass(frozen=True, slots=True)
class Level:
    """One width of bins.

    Attributes
    ----------
    pixels, channels : int
        Side of the blocks of pixels, and channels, that are added up.
    sample : int or None
        How many pixels, chosen at random, take part; None for all.
    """

    pixels: int
    channels: int
    sample: int | None = None

    def __str__(self) -> str:
        """Return the bins in words."""
        plural = "s" if self.channels > 1 else ""
        words = f"bins of {self.pixels} x {self.pixels} pixels and {self.channels} channel{plural}"
        return words if self.sample is None else f"{words}, in {self.sample} pixels chosen at random"


def levels_of(spectra: Spectra) -> list[Level]:
    """Return the widths of bins from fine to coarse: single pixels always, and one level of all pixels at least."""
    n, channels = spectra.matrix.shape
    events = float(spectra.matrix.sum()) if spectra.sparse else math.inf
    levels: list[Level] = []
    for pixels in (1, 2, 4, 8, 16, 32):
        energy = max(1, math.ceil(channels / (512 if pixels < 4 else 256)))
        blocks = n / pixels**2
        share = max(MATRIX_ENTRIES / (blocks * channels / energy), EVENTS / max(events, 1))
        if pixels == 1:
            levels.append(Level(1, energy, None if share >= 1 else max(LEAST_BLOCKS, int(n * share))))
        elif blocks >= LEAST_BLOCKS and share >= 1 and (pixels <= 4 or all(level.sample for level in levels)):
            levels.append(Level(pixels, energy))
    return levels


def level_matrix(spectra: Spectra, level: Level, seed: int) -> tuple[Any, NDArray[np.float64]]:
    """Return the binned spectra of a level, dense or compressed rows of float64, and the pixels in each bin."""
    if level.sample is not None:
        spectra = _some_pixels(spectra, level.sample, seed)
    matrix, filled = binned(spectra, level.pixels, level.channels)
    if not is_sparse(matrix) and np.count_nonzero(matrix) < 0.1 * matrix.size:
        import scipy.sparse

        matrix = scipy.sparse.csr_array(matrix)
    return matrix, filled


def _some_pixels(spectra: Spectra, number: int, seed: int) -> Spectra:
    """Return the spectra of some pixels at random as a line of them."""
    n = spectra.matrix.shape[0]
    chosen = np.sort(np.random.default_rng(seed).choice(n, min(number, n), replace=False))
    if spectra.lazy:
        parts = []
        for place, block in spectra.matrix.blocks():
            low, high = np.searchsorted(chosen, (place.start, place.stop))
            parts.append(block[chosen[low:high] - place.start])
        rows = np.concatenate(parts)
    else:
        rows = spectra.matrix[chosen]
    return Spectra(rows, np.ones((len(chosen), 1), np.bool_), None)
