"""A Markov chain through the spectra and maps that data with Gaussian noise allow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FAR = -8.0
"""Means so many standard deviations below zero: the tail is exponential within 2 %."""


class GaussianChain:
    """Gibbs sampler of non-negative factors of data with noise of equal variance.

    Abundances and spectra are drawn component by component from truncated normal distributions, as in Bayesian linear
    unmixing [1]_, but with free thickness: the prior of the abundances of a component is exponential, with a rate that
    is learnt, that of the spectra is level. The variance is drawn too (inverse Gamma).

    Parameters
    ----------
    data : ndarray or sparse, shape (rows, energy)
        Weighted, so that the noise is equal.
    squares : float
        Sum of the squares of the data.
    abundances, spectra : ndarray, shapes (rows, n) and (energy, n)
        Start, of the weighted data.
    fixed : int
        The first so many spectra stay what they are.
    rng : numpy.random.Generator

    References
    ----------
    .. [1] N. Dobigeon et al., IEEE Trans. Signal Process. 57, 4355 (2009).
    """

    def __init__(
        self,
        data: Any,
        squares: float,
        abundances: NDArray[np.float64],
        spectra: NDArray[np.float64],
        fixed: int,
        rng: np.random.Generator,
    ) -> None:
        self._data, self._squares, self._fixed, self._rng = data, squares, fixed, rng
        self.abundances = np.maximum(abundances, 1e-9 * max(float(abundances.max()), 1e-300))
        self.spectra = np.maximum(spectra, 1e-9 * max(float(spectra.max()), 1e-300))
        self.spectra[:, :fixed] = spectra[:, :fixed]
        self.variance = 1.0

    def sweep(self) -> None:
        """Draw everything once."""
        rng, rows = self._rng, len(self.abundances)
        rate = rng.gamma(1 + rows, 1 / np.maximum(self.abundances.sum(axis=0), 1e-300))
        products = np.asarray(self._data @ self.spectra)
        gram = self.spectra.T @ self.spectra
        for k in range(self.abundances.shape[1]):
            others = self.abundances @ gram[:, k] - self.abundances[:, k] * gram[k, k]
            mean = (products[:, k] - others - rate[k] * self.variance) / gram[k, k]
            self.abundances[:, k] = positive_normal(rng, mean, np.sqrt(self.variance / gram[k, k]))
        turned = np.asarray(self._data.T @ self.abundances)
        gram = self.abundances.T @ self.abundances
        for k in range(self._fixed, self.spectra.shape[1]):
            others = self.spectra @ gram[:, k] - self.spectra[:, k] * gram[k, k]
            mean = (turned[:, k] - others) / gram[k, k]
            self.spectra[:, k] = positive_normal(rng, mean, np.sqrt(self.variance / gram[k, k]))
        left = self._squares - 2 * float((turned * self.spectra).sum())
        left += float((gram * (self.spectra.T @ self.spectra)).sum())
        entries = rows * self.spectra.shape[0]
        self.variance = max(left, 1e-12 * self._squares) / (2 * rng.standard_gamma(entries / 2))


def positive_normal(rng: np.random.Generator, mean: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Draw from normal distributions that are cut off below zero."""
    from scipy.special import ndtr, ndtri

    at = mean / sigma
    uniform = 1 - rng.random(mean.shape)  # never zero
    drawn = at - ndtri(uniform * ndtr(np.maximum(at, FAR)))
    tail = -np.log(uniform) / np.maximum(-at, 1.0)
    return np.asarray(sigma * np.maximum(np.where(at < FAR, tail, drawn), 1e-12))
