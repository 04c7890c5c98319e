"""Which channels may be sampled more coarsely: blocks given by the user, or chosen from the mean spectrum."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, ndimage, sparse

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore.codec.spectra import MOST_CHANNELS

Blocks = Sequence[tuple[float, float, int]]

COARSEST, LEAST_COARSE = 64, 8
"""Largest and smallest factor above 1 that are chosen automatically."""
GUARD = 4
"""Channels on each side of a region of factor 1 that keep factor 1 too."""


def channel_blocks(blocks: Blocks, channels: int, energy_ev: ArrayLike | None = None) -> list[tuple[int, int, int]]:
    """Return blocks in channels that cover the spectrum from its first to its last one.

    Parameters
    ----------
    blocks : sequence of (start, stop, factor)
        In channels, or in eV when `energy_ev` is given: a block has the channels ``start <= energy < stop``. They must
        rise and not overlap. What no block covers has factor 1.
    channels : int
        Length of the spectrum.
    energy_ev : array_like, shape (channels,), optional
        Energy of each channel in eV, rising.

    Raises
    ------
    ParameterError
        If a block is empty, overlaps with the one before or leaves the spectrum.
    """
    energy = None if energy_ev is None else energy_axis(energy_ev, channels)
    covered, at = [], 0
    for i, block in enumerate(blocks):
        try:
            start, stop, factor = block
        except (TypeError, ValueError):
            raise ParameterError(f"block {i} is {block!r}; expected (start, stop, factor)") from None
        factor = checks.integer(f"the factor of block {i}", factor, minimum=1, maximum=MOST_CHANNELS)
        if energy is None:
            first = checks.integer(f"the start of block {i}", start, minimum=0, maximum=channels)
            last = checks.integer(f"the stop of block {i}", stop, minimum=0, maximum=channels)
        else:
            low, high = checks.finite(f"the start of block {i}", start), checks.finite(f"the stop of block {i}", stop)
            first, last = (int(n) for n in np.searchsorted(energy, [low, high]))
        unit = "channels" if energy is None else "eV"
        if first >= last:
            raise ParameterError(f"block {i}, {start} to {stop} {unit}, holds no channel of the spectrum")
        if first < at:
            raise ParameterError(f"block {i} starts at {start} {unit}, before the end of the block before it")
        if first > at:
            covered.append((at, first, 1))
        covered.append((first, last, factor))
        at = last
    if at < channels:
        covered.append((at, channels, 1))
    return covered


def rising_blocks(blocks: Blocks) -> list[tuple[int, int, int]]:
    """Return the blocks of a spectrum of any length, in channels and as given, or raise as `channel_blocks` does."""
    if not isinstance(blocks, Sequence) or isinstance(blocks, str):
        raise ParameterError(f"blocks is {blocks!r}; expected a list of (start, stop, factor)")
    channel_blocks(blocks, MOST_CHANNELS)
    return [(int(start), int(stop), int(factor)) for start, stop, factor in blocks]


def energy_axis(energy_ev: ArrayLike, channels: int) -> NDArray[np.float64]:
    """Return the energies of the channels, checked."""
    energy = checks.array("energy_ev", energy_ev)
    if energy.shape != (channels,) or energy.dtype.kind not in "iuf":
        raise ParameterError(
            f"energy_ev has shape {energy.shape} and dtype {energy.dtype}; expected one number per "
            f"channel, ({channels},)"
        )
    energy = energy.astype(np.float64)
    if not np.isfinite(energy).all() or np.any(np.diff(energy) <= 0):
        raise ParameterError("energy_ev must be finite and rise from channel to channel")
    return energy


def automatic_blocks(
    spectrum: NDArray[np.float64], noise: NDArray[np.float64], tolerance: float = 0.002, coarsest: int = COARSEST
) -> list[tuple[int, int, int]]:
    """Choose blocks from the mean spectrum.

    The spectrum is halved again and again, and the factor with it, until straight lines between the samples of the
    logarithm reproduce each piece within the tolerance or the noise. Where a factor of 8 fails, at edges and on the
    zero-loss peak, it is 1. What a few pixels have and the mean spectrum does not show is not seen: give blocks then.

    Parameters
    ----------
    spectrum : ndarray of float64, shape (channels,)
        Mean spectrum.
    noise : ndarray of float64, shape (channels,)
        Its standard deviation.
    tolerance : float
        Relative error of the mean spectrum that is allowed.
    coarsest : int
        Largest factor, a power of two.
    """
    channels = len(spectrum)
    factor = np.ones(channels, np.int64)
    pieces = [(a, min(a + 4 * coarsest, channels), coarsest) for a in range(0, channels, 4 * coarsest)]
    while pieces:
        start, stop, f = pieces.pop()
        if f < LEAST_COARSE:
            continue
        if _straight(spectrum[start:stop], noise[start:stop], f, tolerance):
            factor[start:stop] = f
        else:
            middle = (start + stop) // 2
            pieces += [(start, middle, f // 2), (middle, stop, f // 2)]
    factor[ndimage.binary_dilation(factor == 1, iterations=GUARD)] = 1
    edges = [0, *(np.flatnonzero(np.diff(factor)) + 1), channels]
    return [(int(a), int(b), int(factor[a])) for a, b in itertools.pairwise(edges)]


def _straight(spectrum: NDArray[np.float64], noise: NDArray[np.float64], factor: int, tolerance: float) -> bool:
    """Return whether lines between samples of the logarithm follow a piece of spectrum."""
    n = len(spectrum)
    sigma = float(np.sqrt(np.mean(noise**2)))
    if n < 2 or spectrum.min() <= 0:
        return bool(n < 2 or np.ptp(spectrum) <= 4 * sigma * np.sqrt(2 * np.log(n)))
    lines = interpolation(n, factor) @ sample(np.log(spectrum)[None], factor, True)[0]
    misfit = np.exp(lines) - spectrum
    width = min(5, n)
    smooth = np.convolve(misfit, np.ones(width) / width, mode="valid")
    return bool(
        np.all(np.abs(misfit) <= tolerance * spectrum + 4 * noise)
        and np.abs(smooth).max() <= tolerance * spectrum.max() + 2 * sigma
    )


def nodes_of(length: int, factor: int) -> NDArray[np.int64]:
    """Return the sampled channels of a block: every ``factor``-th and the last one."""
    return np.unique(np.append(np.arange(0, length, factor), length - 1))


def interpolation(length: int, factor: int) -> sparse.csr_array:
    """Return linear interpolation from the samples of a block to its channels, shape (length, samples)."""
    nodes = nodes_of(length, factor)
    if length == 1:
        return sparse.csr_array(np.ones((1, 1)))
    channel = np.arange(length)
    left = np.minimum(channel // factor, len(nodes) - 2)
    part = (channel - nodes[left]) / (nodes[left + 1] - nodes[left])
    return sparse.csr_array(
        (np.concatenate([1 - part, part]), (np.tile(channel, 2), np.concatenate([left, left + 1]))),
        shape=(length, len(nodes)),
    )


def sample(spectra: NDArray[Any], factor: int, smoothing: bool) -> NDArray[np.float64]:
    """Return the samples of a block of spectra (n, length), shape (n, samples).

    With smoothing they are the ends of the straight lines that fit the channels best; the residual of the fit has no
    sum, so that the sum of the block stays. Without, the sampled channels are taken as they are.
    """
    length = spectra.shape[1]
    if not smoothing or factor == 1 or length < 3:
        return spectra[:, nodes_of(length, factor)].astype(np.float64)
    hats = interpolation(length, factor)
    normal = (hats.T @ hats).tocsr()
    banded = np.stack([np.append(normal.diagonal(1), 0.0), normal.diagonal()])
    banded[0] = np.roll(banded[0], 1)
    right = hats.T @ spectra.T.astype(np.float64)
    samples: NDArray[np.float64] = linalg.solveh_banded(banded, right, check_finite=False).T
    return samples
