"""The noise of a spectrum image as a weight of each pixel and each channel."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from esteemcore import lowrank
from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.lowrank import RowBlocks
from esteemcore.lowrank.operators import Sums, is_sparse, row_squares, times
from esteemcore.spectral._rank_model import is_of_counts, scatter
from esteemcore.spectral._rank_tests import leading_vectors, noise_scales
from esteemcore.spectral._spectra import FEW_PER_CHANNEL, Spectra
from esteemcore.spectral.pca import LEAST_COUNTS

SAMPLE = 4096
"""Pixels that tell the noise of the channels where it is not known; spread evenly over the image."""

LEAST_PIXELS = 4
"""Whole numbers of fewer pixels do not tell how they scatter, and are not taken for counts."""

LEAST_NOISE = 1e-4
"""No channel is taken to have less noise than this share of the root mean square of the data."""

MORE = 4
"""Estimated noise is what so many components more leave than are asked for: what those miss must not pass for noise."""


class Noise(NamedTuple):
    """Name of the model, and the weights (rows,) and (energy,) that make its noise equal."""

    name: str
    row: NDArray[np.float64]
    channel: NDArray[np.float64]


def noise_of(spectra: Spectra, total: Sums, n: int, noise: str, gain: float, readout_sigma: float) -> Noise:
    """Return the model of the noise that was asked for, or the one that suits the data.

    Parameters
    ----------
    spectra : Spectra
    total : Sums
        Of its matrix.
    n : int
        Components; what they and some more leave is the noise where it is estimated.
    noise : {"auto", "poisson", "gaussian"}
    gain, readout_sigma : float
        Of counts.
    """
    checks.choice("noise", noise, ("auto", "poisson", "gaussian"))
    gain, readout_sigma = checks.positive("gain", gain), checks.not_negative("readout_sigma", readout_sigma)
    rows, channels = spectra.matrix.shape
    if noise == "gaussian":
        return Noise("gaussian", np.ones(rows), np.ones(channels))
    camera = gain != 1 or readout_sigma > 0
    if (noise == "poisson" or camera) and total.lowest < 0 and readout_sigma == 0:
        raise ParameterError(
            f"the data hold values down to {total.lowest:g}, which counts cannot be, whatever their gain; use "
            "noise='gaussian', or give readout_sigma if the camera adds noise to counts, or leave both to an estimate"
        )
    if noise == "poisson" or camera or (total.lowest >= 0 and _counts(spectra.matrix)):
        row, channel = lowrank.noise_weights(
            spectra.matrix, gain=gain, readout_sigma=readout_sigma, least_counts=LEAST_COUNTS * gain
        )
        return Noise("poisson", row, channel)
    return Noise("estimated", *_estimated(spectra.matrix, n + MORE))


def unit_of(spectra: Spectra, total: Sums) -> int:
    """Return the whole number that divides all values, where these are counts in units of it; 1 otherwise."""
    matrix = spectra.matrix
    sample = matrix.data if is_sparse(matrix) else _some_rows(matrix)
    if total.lowest < 0 or not (sample == np.rint(sample)).all():
        return 1
    unit = max(int(np.gcd.reduce(np.asarray(sample).astype(np.int64), axis=None)), 1)
    if unit == 1 or is_sparse(matrix):
        return unit
    return unit if _scatters_as_counts(sample / unit) else 1


def _counts(matrix: Any) -> bool:
    """Return whether values, none below zero, are whole and scatter as counts do."""
    if isinstance(matrix, RowBlocks):
        whole = all(bool((block == np.rint(block)).all()) for _, block in matrix.blocks())
    else:
        values = matrix.data if is_sparse(matrix) else matrix
        whole = values.dtype.kind in "biu" or bool((values == np.rint(values)).all())
    if not whole or is_sparse(matrix):
        return whole
    return _scatters_as_counts(_some_rows(matrix))


def _scatters_as_counts(sample: NDArray[np.float64]) -> bool:
    few = float(sample.mean()) < FEW_PER_CHANNEL
    return few or (len(sample) >= LEAST_PIXELS and is_of_counts(scatter(sample)))


def _estimated(matrix: Any, n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights from what `n` components leave: by channel from a sample of pixels, then by pixel.

    The weights of a typical pixel are 1. Where components leave nothing, as in simulated or denoised data, the noise is
    the least one.
    """
    channels = matrix.shape[1]
    sample = _some_rows(matrix)
    floor = LEAST_NOISE * float(np.sqrt(np.square(sample).mean()))
    typical, channel = noise_scales(sample, n)
    channel = 1 / np.hypot(1 / (channel * float(np.median(typical))), floor)
    k = min(n, min(sample.shape) // 4)
    squares = row_squares(matrix, channel**2)
    if k:
        _, directions, _ = leading_vectors(sample * channel, k)
        squares = squares - np.square(times(matrix, channel[:, None] * directions)).sum(axis=1)
    variance = np.maximum(squares, 0) / (channels - k)
    least = max(1e-3 * float(np.median(variance)), float(np.square(floor * channel).mean()))
    row = 1 / np.sqrt(np.maximum(variance, least))
    size = float(np.median(row))
    return row / size, channel * size


def _some_rows(matrix: Any) -> NDArray[np.float64]:
    """Return rows spread over the matrix as a dense array."""
    rows = matrix.shape[0]
    chosen = np.unique(np.linspace(0, rows - 1, min(rows, SAMPLE)).astype(np.int64))
    if isinstance(matrix, RowBlocks):
        parts = []
        for place, block in matrix.blocks():
            low, high = np.searchsorted(chosen, (place.start, place.stop))
            parts.append(block[chosen[low:high] - place.start])
        return np.concatenate(parts).astype(np.float64)
    part = matrix[chosen]
    return np.asarray(part.toarray() if is_sparse(part) else part, np.float64)
