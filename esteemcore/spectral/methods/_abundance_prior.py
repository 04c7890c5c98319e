"""What amounts a component has: next to nothing in some pixels, much in others, as the data themselves tell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOVES = 2
"""Metropolis steps of each shape and rate, per sweep."""

SHAPE, MEAN = (0.5, 2.0), (0.01, 1.5)
"""Shapes of next to nothing and of much, and their means in units of the mean of all. The first two are fixed: that
some pixels have none of a component is what tells spectra from mixtures of them."""

SPREAD = 1.5
"""Standard deviation of the logarithms of shape and rate of much: a factor of 20 either way is no surprise."""


class AbundancePrior:
    """Two Gamma distributions of amounts: next to nothing, and much, whose shape, rate and share are drawn from counts.

    Parameters
    ----------
    mean : float
        Mean amount, to begin with.
    smooth : bool
        The amounts are blurred before they are counted: then no pixel has none, and there is one kind only.
    rng : numpy.random.Generator
    """

    def __init__(self, mean: float, smooth: bool, rng: np.random.Generator) -> None:
        self._rng = rng
        self.parameters = np.log([[s, s / (m * mean)] for s, m in zip(SHAPE, MEAN, strict=True)])
        self._middle = self.parameters[1].copy()
        self._smooth = smooth
        self.share = np.array([0.0, 1.0]) if smooth else np.array([0.5, 0.5])

    def given(self, counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Draw everything once, given Poisson counts (rows,) of the amounts; return shape and rate of each row.

        The amounts are integrated out, so that the counts of each kind are negative binomial.
        """
        number = np.bincount(counts)
        value = np.arange(len(number), dtype=np.float64)
        kind = np.ones(len(counts), np.bool_)
        if not self._smooth:
            none, some = (np.log(s) + _logarithm(p, value) for s, p in zip(self.share, self.parameters, strict=True))
            much = 1 / (1 + np.exp(np.clip(none - some, -700, 700)))
            kind = self._rng.random(len(counts)) < much[counts]
        members = np.bincount(counts[kind], minlength=len(number))
        self.parameters[1] = self._moved(self.parameters[1], members, value)
        if not self._smooth:
            of_much = int(kind.sum())
            drawn = float(np.clip(self._rng.beta(1 + of_much, 1 + len(counts) - of_much), 1e-9, 1 - 1e-9))
            self.share = np.array([1 - drawn, drawn])
        shape, rate = np.exp(self.parameters[kind.astype(np.int64)]).T
        return shape, rate

    def _moved(
        self,
        at: NDArray[np.float64],
        number: NDArray[np.int64],
        value: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Return the logarithms of shape and rate after some Metropolis steps."""
        filled = number > 0
        number, value = number[filled], value[filled]
        width = float(np.clip(3 / np.sqrt(max(float(number.sum()), 1.0)), 0.03, 0.5))

        def density(p: NDArray[np.float64]) -> float:
            prior = -0.5 * np.square((p - self._middle) / SPREAD).sum()
            return float(number @ _logarithm(p, value) + prior)

        now = density(at)
        for _ in range(MOVES):
            # along the ridge of equal means, and across it
            step = width * self._rng.standard_normal(2)
            tried = at + np.array([step[0], step[0] + 0.3 * step[1]])
            then = density(tried)
            if np.log(self._rng.random()) < then - now:
                at, now = tried, then
        return at


def _logarithm(parameters: NDArray[np.float64], value: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logarithm of the probability of counts, but for their factorial."""
    from scipy.special import gammaln

    shape, rate = np.exp(parameters)
    return np.asarray(
        gammaln(shape + value) - gammaln(shape) + shape * parameters[1] - (shape + value) * np.log1p(rate)
    )
