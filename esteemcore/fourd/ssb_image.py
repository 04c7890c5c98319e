"""From the count images of the bins to the phase image, and to what a weak phase explains of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from esteemcore.fourd.ssb_bins import Bins, Overlaps
from esteemcore.stream import Sums

CHANNELS_AT_ONCE = 64
POSITIONS_AT_ONCE = 2048
MOST_OCCUPANCY = 0.999


@dataclasses.dataclass(frozen=True)
class MeanView:
    """Means over all frames, from which empty positions are filled and the gain of each bin follows."""

    totals: NDArray[Any]
    fill: NDArray[np.float32]
    gain: NDArray[np.float64]
    electrons: float
    occupancy: float
    per_pixel: float


def mean_view(state: Sums, bins: Bins, *, correct: bool) -> MeanView:
    """Return the means of what has come; ``correct`` for double hits of one-bit frames."""
    from esteemcore.fourd import _ssb_kernels

    counts = state["counts"]
    totals = np.zeros(bins.count, np.float64 if counts.dtype.kind == "f" else np.int64)
    _ssb_kernels.bin_totals(counts, totals)
    mean = totals / max(int(state["visits"].sum()), 1)
    share = np.clip(mean / bins.pixels, 0.0, MOST_OCCUPANCY)
    gain = 1 / (1 - share) if correct else np.ones(bins.count)
    electrons = float((-np.log1p(-share) * bins.pixels).sum() if correct else mean.sum())
    return MeanView(
        totals=totals,
        fill=mean.astype(np.float32),
        gain=gain,
        electrons=electrons,
        occupancy=float(mean.sum() / bins.pixels.sum()),
        per_pixel=electrons / bins.pixels.sum(),
    )


def phase_image(state: Sums, overlaps: Overlaps, weights: NDArray[np.complex64], view: MeanView) -> NDArray[np.float32]:
    """Transform the channels, some at a time, and add them up at the q inside the band."""
    from esteemcore.fourd import _ssb_kernels

    ny, nx = state.spec.scan_shape
    if view.per_pixel <= 0:
        return np.zeros((ny, nx), np.float32)
    values = np.zeros(len(overlaps.place), np.complex64)
    for batch, spectrum in channel_spectra(state, (overlaps.mixing * view.gain).astype(np.float32), view):
        _ssb_kernels.accumulate_weighted(spectrum, overlaps.place, weights[batch], values)
    full = np.zeros(ny * (nx // 2 + 1), np.complex64)
    full[overlaps.place] = values / np.float32(view.per_pixel)
    return np.asarray(scipy.fft.irfft2(full.reshape(ny, -1), s=(ny, nx)), np.float32)


def channel_spectra(
    state: Sums, mixing: NDArray[np.float32], view: MeanView
) -> Iterator[tuple[slice, NDArray[np.complex64]]]:
    """Yield (which channels, their half spectra (channels, flat)): mixtures of the mean count images of the bins."""
    from esteemcore.fourd import _ssb_kernels

    ny, nx = state.spec.scan_shape
    counts, visits = state["counts"], state["visits"]
    inverse_visits = np.zeros(visits.size, np.float32)
    np.divide(1.0, visits, out=inverse_visits, where=visits > 0, casting="same_kind")
    means = np.empty((min(POSITIONS_AT_ONCE, visits.size), counts.shape[1]), np.float32)
    images = np.empty((min(CHANNELS_AT_ONCE, len(mixing)), visits.size), np.float32)
    for first in range(0, len(mixing), CHANNELS_AT_ONCE):
        batch = slice(first, first + CHANNELS_AT_ONCE)
        weights = mixing[batch]
        for start in range(0, visits.size, POSITIONS_AT_ONCE):
            part = slice(start, start + POSITIONS_AT_ONCE)
            block = means[: len(counts[part])]
            _ssb_kernels.mean_counts(counts[part], inverse_visits[part], view.fill, block)
            if mixing.ndim == 2:
                np.matmul(weights, block.T, out=images[: len(weights), part])
            else:
                np.multiply(block[:, batch].T, weights[:, None], out=images[: len(weights), part])
        shown = images[: len(weights)].reshape(-1, ny, nx)
        yield batch, scipy.fft.rfft2(shown).reshape(len(weights), -1)


def explained_share(state: Sums, bins: Bins, every: Overlaps, *, correct: bool) -> float:
    """Return which share of the signal lies along gamma, see `esteemcore.fourd.SingleSideband.explained`.

    Parameters
    ----------
    state : Sums
        Counts of the bins.
    bins : Bins
        The bins.
    every : Overlaps
        With each bin a channel.
    correct : bool
        Correct for double hits.
    """
    from esteemcore.fourd import _ssb_kernels

    spec = state.spec
    view = mean_view(state, bins, correct=correct)
    scale = every.mixing * view.gain.astype(np.float32)
    visits = state["visits"].astype(np.float64)
    weights = np.divide(1.0, visits**2, out=np.zeros_like(visits), where=visits > 0)
    noise = scale.astype(np.float64) ** 2 * (weights @ state["counts"])
    if spec.one_bit:
        noise *= 1 - view.fill / bins.pixels
    if spec.dtype.kind == "f":
        noise[:] = 0.0
    power = np.zeros(len(every.place))
    along = np.zeros(len(every.place), np.complex64)
    for batch, spectrum in channel_spectra(state, scale, view):
        inside = spectrum[:, every.place]
        power += (np.abs(inside) ** 2).sum(axis=0)
        _ssb_kernels.accumulate_weighted(spectrum, every.place, every.gamma[batch].conj(), along)
    response = (np.abs(every.gamma) ** 2).sum(axis=0)
    seen = response > 1e-3 * response.max(initial=0.0)
    if not seen.any():
        return float("nan")
    signal = (power - noise.sum())[seen].sum()
    noise_along = (np.abs(every.gamma[:, seen]) ** 2 * noise[:, None]).sum(axis=0) / response[seen]
    explained = (np.abs(along[seen]) ** 2 / response[seen] - noise_along).sum()
    uncertainty = np.sqrt(np.count_nonzero(seen) * (noise**2).sum())
    return float(explained / signal) if signal > 5 * uncertainty else float("nan")
