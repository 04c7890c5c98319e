"""What maps and spectra may look like: blurs of something that is nowhere negative."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray

from esteemcore.spectral.methods._sieve_kernels import blurred_along_columns, blurred_along_rows

TRUNCATE = 3.0
"""Gaussians end at so many standard deviations."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Sieve:
    """Gaussian blurs of maps and of spectra, both their own transposes.

    A map that is the blur of a non-negative map is smooth, and stays non-negative, so the likelihood of counts can be
    maximised exactly among such maps (the method of sieves [1]_). The same holds for spectra, whose lines are no
    narrower than the detector makes them.

    Attributes
    ----------
    mask : ndarray of bool, shape (y, x)
        The pixels that take part, in image order the rows of maps.
    pixels : float
        Standard deviation of the blur of maps, in pixels; 0: none.
    channels : float
        That of spectra, in channels; 0: none.
    fixed : int
        The first so many spectra are given and not blurred.

    References
    ----------
    .. [1] D. L. Snyder, M. I. Miller, IEEE Trans. Nucl. Sci. 32, 3864 (1985).
    """

    mask: NDArray[np.bool_]
    pixels: float = 0.0
    channels: float = 0.0
    fixed: int = 0

    def of_maps(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the blur of maps (rows, n); nothing comes from or goes to outside the mask."""
        if self.pixels == 0:
            return values
        (ny, nx), n = self.mask.shape, values.shape[1]
        weights = _gaussian(self.pixels)
        whole = len(values) == self.mask.size
        image = np.ascontiguousarray(values) if whole else np.zeros((self.mask.size, n))
        if not whole:
            image[self.mask.ravel()] = values
        along, both = np.empty((ny, nx * n)), np.empty((ny, nx * n))
        blurred_along_rows(image.reshape(ny, nx * n), weights, n, along)
        blurred_along_columns(along, weights, both)
        blurred = both.reshape(-1, n)
        return blurred if whole else blurred[self.mask.ravel()]

    def of_spectra(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the blur of spectra (energy, n)."""
        if self.channels == 0 or self.fixed == values.shape[1]:
            return values
        free = np.ascontiguousarray(values[:, self.fixed :])
        blurred = np.empty_like(free)
        blurred_along_rows(free.reshape(1, -1), _gaussian(self.channels), free.shape[1], blurred.reshape(1, -1))
        return np.hstack([values[:, : self.fixed], blurred]) if self.fixed else blurred


@functools.lru_cache
def _gaussian(sigma: float) -> NDArray[np.float64]:
    """Return the weights of a Gaussian at distances from 0 on, those of both sides adding up to 1."""
    weights = np.exp(-0.5 * (np.arange(int(TRUNCATE * sigma + 0.5) + 1) / sigma) ** 2)
    total: NDArray[np.float64] = weights / (2 * weights.sum() - weights[0])
    return total
