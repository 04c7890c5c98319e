"""Where a spectrum lies on the energy axis against a reference: maximum likelihood, to a fraction of a channel."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import interpolate

Floats = NDArray[np.float64]

FEATURES = ("peak", "edge")
FLOOR = 0.01
"""What is added to the reference, in parts of its mean, for counts that it does not explain."""
STEPS = 15
SMALLEST_STEP = 1e-4
"""Channels; smaller steps end the search."""
BLOCK = 2**20
"""About how many values are looked at together."""


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """A spectrum to compare others with, around a feature.

    Attributes
    ----------
    spectrum : ndarray of float64, shape (energy,)
        Mean counts.
    first, last : int
        The feature lies in the channels from first to below last.
    reach : int
        By how many channels a spectrum may be off.
    feature : {"peak", "edge"}
        A peak has a height of its own in each spectrum, an edge also a straight background.
    gain, readout_sigma : float
        Variance of a value: gain * counts + readout_sigma².
    """

    spectrum: Floats
    first: int
    last: int
    reach: int
    feature: str
    gain: float = 1.0
    readout_sigma: float = 0.0

    def channels(self, start: float = 0.0) -> NDArray[np.int64]:
        """Return the channels that may hold the feature of a spectrum that must be moved by about ``start``."""
        low, high = self.first - self.reach - round(start), self.last + self.reach - round(start)
        return np.arange(max(low, 0), max(min(high, len(self.spectrum)), 0))


def measure(counts: Floats, reference: Reference, start: float = 0.0) -> tuple[Floats, Floats]:
    r"""Return by how many channels each spectrum must be moved to lie on the reference, and the standard deviation.

    A spectrum n is compared with :math:`a R(c + s)`, for edges with a straight background beside it. Whole channels are
    tried first; then Fisher's scoring maximises the likelihood of Poisson counts with readout noise, in a window that
    goes with the feature. The standard deviation is that of the scoring with all parameters unknown, the Cramér-Rao
    bound.

    Parameters
    ----------
    counts : ndarray of float64, shape (n, m)
        Spectra, in ``reference.channels(start)``.
    reference : Reference
    start : float
        What is known of the shift; only what lies within the reach around it is found.

    Returns
    -------
    shift, sigma : ndarray of float64, shape (n,)
        In channels; NaN and infinity where nothing can be told.
    """
    shift, sigma = np.full(len(counts), np.nan), np.full(len(counts), np.inf)
    if not counts.shape[1]:
        return shift, sigma
    step = max(BLOCK // counts.shape[1], 1)
    for low in range(0, len(counts), step):
        told = np.flatnonzero(counts[low : low + step].sum(axis=1) > 0) + low
        if told.size:
            whole = _whole(counts[told], reference, start)
            shift[told], sigma[told] = _refined(counts[told], reference, start, whole)
    lost = ~np.isfinite(shift) | ~(sigma < reference.reach) | (np.abs(shift - start) > reference.reach + 0.5)
    shift[lost], sigma[lost] = np.nan, np.inf
    return shift, sigma


def _whole(counts: Floats, reference: Reference, start: float) -> Floats:
    """Return the most likely whole shift of each spectrum."""
    tried = np.rint(start) + np.arange(-reference.reach, reference.reach + 1)
    channels = reference.channels(start)
    at = np.clip(channels[:, None] + tried.astype(np.int64), 0, len(reference.spectrum) - 1)
    models = np.maximum(reference.spectrum[at], 0)  # (channels, tried)
    middle = models.mean()
    readout = reference.readout_sigma**2 / reference.gain
    models = models + FLOOR * middle + readout * middle / counts.mean()
    if reference.feature == "peak":  # as if the sum were given; readout noise as counts of its variance
        seen = counts + readout
        score = seen @ np.log(models) - seen.sum(axis=1)[:, None] * np.log(models.sum(axis=0))
    else:  # least squares beside a straight background
        root = 1 / np.sqrt(models.mean(axis=1))
        straight = np.stack([np.ones(len(channels)), channels - channels.mean()], axis=1)
        score = np.empty((len(counts), len(tried)))
        for k in range(len(tried)):
            basis, _ = np.linalg.qr(np.column_stack([straight, models[:, k]]) * root[:, None])
            score[:, k] = (((counts * root) @ basis) ** 2).sum(axis=1)
    best: Floats = tried[score.argmax(axis=1)]
    return best


def _refined(counts: Floats, reference: Reference, start: float, whole: Floats) -> tuple[Floats, Floats]:
    """Return the shift of each spectrum and its standard deviation, from whole shifts that are right to a channel."""
    spline = interpolate.CubicSpline(np.arange(len(reference.spectrum)), reference.spectrum, bc_type="natural")
    window = np.arange(reference.first, reference.last)
    cubic = spline.c[::-1, np.minimum(window, len(reference.spectrum) - 2)]  # at window + d, 0 <= d < 1, powers of d
    begin = int(reference.channels(start)[0])
    level = float(np.abs(reference.spectrum[window]).mean()) or 1.0
    straight = np.linspace(-1, 1, len(window)) * level
    shift, sigma = whole.copy(), np.full(len(counts), np.inf)
    active = np.arange(len(counts))
    for _ in range(STEPS):
        base = np.floor(shift[active])
        powers = (shift[active] - base)[:, None] ** np.arange(4)
        place = window[None] - base[:, None].astype(np.int64) - begin
        inside = (place >= 0) & (place < counts.shape[1])
        seen = np.take_along_axis(counts[active], np.clip(place, 0, counts.shape[1] - 1), axis=1)
        shape, slope = powers @ cubic, powers[:, :3] @ (cubic[1:] * np.arange(1, 4)[:, None])
        columns = [slope, shape]
        if reference.feature == "edge":
            columns += [np.full_like(shape, level), np.broadcast_to(straight, shape.shape)]
        height = (seen * inside).sum(axis=1) / np.maximum((shape * inside).sum(axis=1), 1e-9 * level)
        height = np.maximum(height, 1e-9)[:, None]
        variance = reference.gain * height * (np.maximum(shape, 0) + FLOOR * level) + reference.readout_sigma**2
        design = np.stack(columns, axis=2)
        weighted = design * (inside / variance)[..., None]
        inverse = np.linalg.pinv(weighted.swapaxes(1, 2) @ design, rcond=1e-12, hermitian=True)
        found = (inverse @ (weighted.swapaxes(1, 2) @ seen[..., None]))[..., 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.where(found[:, 1] > 0, found[:, 0] / found[:, 1], 0.0)
            spread = np.sqrt(np.maximum(inverse[:, 0, 0], 0)) / found[:, 1]
        step = np.clip(step, -1.0, 1.0)
        shift[active] += step
        sigma[active] = np.where((found[:, 1] > 0) & (spread > 0), spread, np.inf)
        active = active[np.abs(step) > SMALLEST_STEP]
        if not active.size:
            break
    return shift, sigma
