"""A Markov chain through the spectra and maps that data with Gaussian noise allow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.spectral.methods._gaussian_kernels import draw_abundances

MOVES, SPREAD = 2, 1.0
"""Metropolis steps of each concentration, per sweep, and standard deviation of their logarithms."""

FAR = -8.0
"""Means so many standard deviations below zero: the tail is exponential within 2 %."""


class GaussianChain:
    """Gibbs sampler of non-negative factors of data with noise of equal variance.

    Spectra are drawn component by component from truncated normal distributions, as in Bayesian linear unmixing [1]_;
    their prior is level, and they are brought back to unit sum after each sweep, with the abundances scaled inversely:
    the data do not tell the scale, and shares mean something only for spectra of equal size. A component that no pixel
    has keeps its spectrum. Thickness is free: the amount of a pixel is exponentially distributed, with a rate that is
    learnt. A pixel has one, two or more of the components and none of the others; how often it has so many is learnt.
    That some pixels are pure, if they are, tells how far apart the spectra are. The shares of those that a pixel has
    are Dirichlet distributed, with concentrations of at most one that are learnt: nothing is presumed of mixtures near
    the middle, which spectra ever farther apart would explain ever better. The variance is drawn too (inverse Gamma).

    Parameters
    ----------
    data : ndarray or sparse, shape (rows, energy)
        Weighted, so that the noise is equal.
    squares : float
        Sum of the squares of the data.
    abundances, spectra : ndarray, shapes (rows, n) and (energy, n)
        Start, of the weighted data.
    channel : ndarray, shape (energy,)
        Weights of the channels: sums of spectra are those without them.
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
        channel: NDArray[np.float64],
        fixed: int,
        rng: np.random.Generator,
    ) -> None:
        self._data, self._squares, self._fixed, self._rng = data, squares, fixed, rng
        self._unweighted = 1 / channel
        floor = 1e-9 * max(float(abundances.max()), 1e-300)
        empty = abundances.sum(axis=1, keepdims=True) <= floor
        self.abundances = np.ascontiguousarray(np.maximum(abundances, np.where(empty, floor, 0)))
        self.concentration = np.ones(abundances.shape[1])
        self.spectra = np.maximum(spectra, 1e-9 * max(float(spectra.max()), 1e-300))
        self.spectra[:, :fixed] = spectra[:, :fixed]
        self.variance = 1.0
        self._rescale(0)

    def sweep(self) -> None:
        """Draw everything once."""
        rng, rows = self._rng, len(self.abundances)
        rate = rng.gamma(1 + rows, 1 / max(float(self.abundances.sum()), 1e-300))
        products = np.ascontiguousarray(self._data @ self.spectra)
        gram = self.spectra.T @ self.spectra
        sets = self._sets()
        draw_abundances(rng, products, gram, self.variance, rate, sets, self.concentration, self.abundances)
        self._learn()
        turned = np.asarray(self._data.T @ self.abundances)
        gram = self.abundances.T @ self.abundances
        for k in range(self._fixed, self.spectra.shape[1]):
            if gram[k, k] <= 0:
                continue
            others = self.spectra @ gram[:, k] - self.spectra[:, k] * gram[k, k]
            mean = (turned[:, k] - others) / gram[k, k]
            self.spectra[:, k] = positive_normal(rng, mean, np.sqrt(self.variance / gram[k, k]))
        left = self._squares - 2 * float((turned * self.spectra).sum())
        left += float((gram * (self.spectra.T @ self.spectra)).sum())
        entries = rows * self.spectra.shape[0]
        self.variance = max(left, 1e-12 * self._squares) / (2 * rng.standard_gamma(entries / 2))
        self._rescale(self._fixed)

    def _rescale(self, first: int) -> None:
        """Bring spectra to unit sum (of magnitudes, for known ones below zero), from the given one on."""
        size = np.maximum(self._unweighted @ np.abs(self.spectra[:, first:]), 1e-300)
        self.spectra[:, first:] /= size
        self.abundances[:, first:] *= size

    def _sets(self) -> NDArray[np.float64]:
        """Draw how often pixels have so many components; return the logarithm of the probability of one set of each."""
        from scipy.special import comb

        n = self.abundances.shape[1]
        number = np.bincount(np.count_nonzero(self.abundances, axis=1), minlength=n + 1)[1:]
        often = np.maximum(self._rng.dirichlet(1.0 + number), 1e-12)
        return np.append(0.0, np.log(often / comb(n, np.arange(1, n + 1))))

    def _learn(self) -> None:
        """Draw the concentrations of shares, given the shares."""
        from scipy.special import gammaln

        several = np.count_nonzero(self.abundances, axis=1) > 1
        amounts = self.abundances[several]
        if len(amounts) == 0:
            return
        kinds, number = np.unique(amounts > 0, axis=0, return_counts=True)
        share = amounts / amounts.sum(axis=1, keepdims=True)
        logarithms = np.log(np.where(share > 0, share, 1)).sum(axis=0)

        def density(at: NDArray[np.float64]) -> float:
            each = np.exp(at)
            norm = number @ (gammaln(kinds @ each) - kinds @ gammaln(each))
            return float(norm + (each - 1) @ logarithms - 0.5 * np.square(at / SPREAD).sum())

        at = np.log(self.concentration)
        now = density(at)
        width = float(np.clip(3 / np.sqrt(len(amounts)), 0.02, 0.5))
        for _ in range(MOVES):
            for k in range(len(at)):
                tried = at.copy()
                tried[k] = -abs(tried[k] + width * self._rng.standard_normal())
                then = density(tried)
                if np.log(self._rng.random()) < then - now:
                    at, now = tried, then
        self.concentration = np.exp(at)


def positive_normal(rng: np.random.Generator, mean: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Draw from normal distributions that are cut off below zero."""
    from scipy.special import ndtr, ndtri

    at = mean / sigma
    uniform = 1 - rng.random(mean.shape)  # never zero
    drawn = at - ndtri(uniform * ndtr(np.maximum(at, FAR)))
    tail = -np.log(uniform) / np.maximum(-at, 1.0)
    return np.asarray(sigma * np.maximum(np.where(at < FAR, tail, drawn), 1e-12))
