"""What maps and spectra may look like: blurs of something that is nowhere negative."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

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
        from scipy.ndimage import gaussian_filter

        image = np.zeros((*self.mask.shape, values.shape[1]))
        image[self.mask] = values
        width = (self.pixels, self.pixels, 0)
        blurred: NDArray[np.float64] = gaussian_filter(image, width, mode="constant", truncate=TRUNCATE)[self.mask]
        return blurred

    def of_spectra(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the blur of spectra (energy, n)."""
        if self.channels == 0 or self.fixed == values.shape[1]:
            return values
        from scipy.ndimage import gaussian_filter1d

        blurred = np.empty_like(values)
        blurred[:, : self.fixed] = values[:, : self.fixed]
        free = values[:, self.fixed :]
        blurred[:, self.fixed :] = gaussian_filter1d(free, self.channels, axis=0, mode="constant", truncate=TRUNCATE)
        return blurred
