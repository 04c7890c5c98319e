"""What an accumulation gives: the sum of the counts, its variance, and how many samples made it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.provenance import Provenance


@dataclasses.dataclass(frozen=True, eq=False)
class Accumulated:
    """Frames summed on the common grid.

    Attributes
    ----------
    data : ndarray of float32 or float64, shape (y * upsample, x * upsample[, energy])
        **Sum** of the counts that fell on each fine pixel, ``sum w n`` over all samples with count n and weight w.
    variance : ndarray like `data`, or None
        Variance of `data`, see `variance_kind`. NaN where it cannot be told.
    variance_kind : {"counting", "between", ""}
        ``"counting"``: ``sum w² n``, the unbiased estimate for Poisson counts. ``"between"``: from the scatter of the
        samples that fell on the pixel, whatever their noise.
    coverage : ndarray of float64, shape (y * upsample, x * upsample)
        Number of samples that fell on each fine pixel, in fractions: the sum of their weights w.
    channel_coverage : ndarray of float64, shape (energy,), or None
        Share of the frames that reached each channel; below 1 only at the ends, where spectra were shifted. None for
        images.
    common_region : ndarray of bool, shape (y * upsample, x * upsample), or None
        Where every accepted frame has data, from the alignment.
    upsample : int
        Fine pixels along one side of a pixel of the frames.
    drop_px : float
        Side of the square that a sample is spread over, in px of the frames.
    frames : int
        Frames that were summed.
    counts : float
        Sum of all counts of these frames at measured positions.
    outside : float
        Counts among them that fell beside the grid or off the energy axis, and are not in `data`.
    provenance : Provenance
        Where the result comes from.
    """

    data: NDArray[Any]
    variance: NDArray[Any] | None
    variance_kind: str
    coverage: NDArray[np.float64]
    channel_coverage: NDArray[np.float64] | None
    common_region: NDArray[np.bool_] | None
    upsample: int
    drop_px: float
    frames: int
    counts: float
    outside: float
    provenance: Provenance

    @property
    def mean(self) -> NDArray[Any]:
        """Mean counts per sample, ``data / coverage``, of the dtype of `data`; NaN where nothing fell."""
        return divided(self.data, self.coverage, self.channel_coverage)

    @property
    def mean_variance(self) -> NDArray[Any] | None:
        """Variance of `mean`, ``variance / coverage²``; NaN where nothing fell. None without variance."""
        if self.variance is None:
            return None
        channels = None if self.channel_coverage is None else self.channel_coverage**2
        return divided(self.variance, self.coverage**2, channels)


def divided(
    total: NDArray[Any], coverage: NDArray[np.float64], channels: NDArray[np.float64] | None = None
) -> NDArray[Any]:
    """Return a sum over its weights, in the dtype of the sum; NaN where there are none."""
    with np.errstate(divide="ignore"):
        per_pixel = np.where(coverage > 0, 1 / coverage, np.nan).astype(total.dtype)
        if total.ndim > coverage.ndim:
            per_pixel = per_pixel[..., None]
        result: NDArray[Any] = total * per_pixel
        if channels is not None and not np.all(channels == 1):
            result *= np.where(channels > 0, 1 / channels, np.nan).astype(total.dtype)
    return result
