"""What amounts pixels have: how much in all, and in which shares, as the data themselves tell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

type _Density = Callable[[NDArray[np.float64]], float]

type _Histogram = tuple[NDArray[np.float64], NDArray[np.float64]]

MOVES = 2
"""Metropolis steps of each parameter, per sweep."""

SHAPE, SPREAD = 2.0, 1.5
"""Centre of the shape of the thickness, and standard deviation of the logarithms of its shape and rate: a factor of 20
either way is no surprise."""

CONCENTRATION, RANGE = 0.5, 2.0
"""Centre of the concentrations of shares, and standard deviation of their logarithms: a factor of 50 either way."""

LEAST = 1e-200


class AbundancePrior:
    """Thickness is Gamma distributed and the shares of a pixel Dirichlet distributed; all parameters are drawn.

    Concentrations far below one mean that most pixels are pure, with mixtures at the borders; those far above one that
    all pixels are the same mixture. Thickness and shares are independent, so that much of one component says that there
    is little of the others. The amounts are integrated out where parameters are drawn: the counts of a pixel then are
    negative binomial, and their split into components is Dirichlet-multinomial [1]_.

    Parameters
    ----------
    mean : float
        Mean amount of a pixel, to begin with.
    n : int
        Number of components.
    rng : numpy.random.Generator

    References
    ----------
    .. [1] D. M. Blei, A. Y. Ng, M. I. Jordan, J. Mach. Learn. Res. 3, 993 (2003).
    """

    def __init__(self, mean: float, n: int, rng: np.random.Generator) -> None:
        self._rng = rng
        self._middle = np.log([SHAPE, SHAPE / max(mean, LEAST)])
        self._thickness = self._middle.copy()
        self._shares = np.full(n, np.log(CONCENTRATION))

    @property
    def thickness(self) -> tuple[float, float]:
        """Shape and rate of the Gamma distribution of the sum of the amounts of a pixel."""
        shape, rate = np.exp(self._thickness)
        return float(shape), float(rate)

    @property
    def concentration(self) -> NDArray[np.float64]:
        """Parameters of the Dirichlet distribution of shares, shape (n,)."""
        return np.exp(self._shares)

    def learn(self, counts: NDArray[np.float64]) -> None:
        """Draw the parameters, given the counts (rows, n) of each component."""
        whole = counts.astype(np.int64)
        total = _histogram(whole.sum(axis=1))
        width = float(np.clip(3 / np.sqrt(len(counts)), 0.02, 0.5))
        # along the ridge of equal means, and across it
        ridge = width * np.array([[1.0, 1.0], [0.0, 0.3]])
        self._thickness = self._moved(self._thickness, ridge, lambda p: _of_totals(p, total) + self._by_prior(p))
        if counts.shape[1] > 1:
            split = [_histogram(column) for column in whole.T]
            alone = width * np.eye(counts.shape[1])
            self._shares = self._moved(self._shares, alone, lambda p: _of_split(p, total, split) + _by_range(p))

    def draw(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Draw the amounts, given the counts of each component, both of shape (rows, n).

        No amount is exactly zero, which a chain that weights by amounts could not leave.
        """
        shape, rate = self.thickness
        share = np.maximum(self._rng.standard_gamma(self.concentration + counts), LEAST)
        share /= share.sum(axis=1, keepdims=True)
        total = self._rng.standard_gamma(shape + counts.sum(axis=1)) / (1 + rate)
        return np.asarray(np.maximum(share * total[:, None], LEAST))

    def _by_prior(self, thickness: NDArray[np.float64]) -> float:
        return -0.5 * float(np.square((thickness - self._middle) / SPREAD).sum())

    def _moved(self, at: NDArray[np.float64], steps: NDArray[np.float64], density: _Density) -> NDArray[np.float64]:
        """Return logarithms of parameters after Metropolis steps along each row of `steps`."""
        now = density(at)
        for _ in range(MOVES):
            for step in steps:
                tried = at + step * self._rng.standard_normal()
                then = density(tried)
                if np.log(self._rng.random()) < then - now:
                    at, now = tried, then
        return at


def _by_range(shares: NDArray[np.float64]) -> float:
    return -0.5 * float(np.square((shares - np.log(CONCENTRATION)) / RANGE).sum())


def _histogram(values: NDArray[np.int64]) -> _Histogram:
    """Return the values that there are, and how often."""
    number = np.bincount(values)
    value = np.nonzero(number)[0]
    return value.astype(np.float64), number[value].astype(np.float64)


def _rising(start: float, histogram: _Histogram) -> float:
    """Return the sum of the logarithms of rising factorials, ``gamma(start + value) / gamma(start)``."""
    from scipy.special import gammaln

    value, number = histogram
    return float(number @ (gammaln(start + value) - gammaln(start)))


def _of_totals(thickness: NDArray[np.float64], total: _Histogram) -> float:
    """Return the logarithm of the probability of the counts of all components, but for their factorials."""
    shape, rate = np.exp(thickness)
    value, number = total
    return _rising(shape, total) + float(number @ (shape * thickness[1] - (shape + value) * np.log1p(rate)))


def _of_split(shares: NDArray[np.float64], total: _Histogram, split: list[_Histogram]) -> float:
    """Return the logarithm of the probability of one way to share the counts out to components."""
    concentration = np.exp(shares)
    whole = -_rising(float(concentration.sum()), total)
    return whole + sum(_rising(float(a), column) for a, column in zip(concentration, split, strict=True))
