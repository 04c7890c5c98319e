"""A Markov chain through the spectra and maps that counts allow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.spectral.methods._abundance_prior import AbundancePrior
from esteemcore.spectral.methods._blu_kernels import deal_to_components, deal_to_sources
from esteemcore.spectral.methods._sieve import TRUNCATE, Sieve

JEFFREYS = 0.5
"""Counts that the prior adds to each channel of each spectrum."""

LEAST = 1e-200


class PoissonChain:
    """Gibbs sampler of the factors of counts.

    The mean of the counts is ``H W^T``, with spectra ``W`` of unit sum and abundances ``H = S G``, sources blurred by
    the sieve, each blurred source of the same sum as the source. Each sweep draws the component, and the source, of
    every count; given these, all else is conjugate [1]_. The abundances of a component are next to nothing in a share
    of the pixels and Gamma distributed in the others, or Gamma distributed in all if maps are blurred; share, shape and
    rate are learnt (the latter two by Metropolis steps, the abundances integrated out). Each spectrum is Dirichlet
    distributed, with Jeffreys' prior of half a count per channel. Thickness is free: abundances of a pixel sum to what
    they sum to.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of int64, shape (rows, energy)
    abundances, spectra : ndarray, shapes (rows, n) and (energy, n)
        Start.
    sieve : Sieve
        Its blur of maps, and how many spectra are fixed.
    rng : numpy.random.Generator

    References
    ----------
    .. [1] A. T. Cemgil, Comput. Intell. Neurosci. 2009, 785152 (2009).
    """

    def __init__(
        self,
        counts: Any,
        abundances: NDArray[np.float64],
        spectra: NDArray[np.float64],
        sieve: Sieve,
        rng: np.random.Generator,
    ) -> None:
        self._counts, self._sieve, self._rng = counts, sieve, rng
        self._sources = abundances + 1e-3 * max(float(abundances.mean()), LEAST)
        self.spectra = np.ascontiguousarray(spectra / spectra.sum(axis=0))
        self._by_pixel, self._by_channel = np.empty_like(self._sources), np.empty_like(self.spectra)
        self._by_source = np.empty_like(self._sources)
        self._reach = sieve.of_maps(np.ones((len(self._sources), 1)))
        self._blur = _neighbours(sieve) if sieve.pixels else None
        self.abundances = self._blurred()
        self._prior = [
            AbundancePrior(max(float(mean), LEAST), sieve.pixels > 0, rng) for mean in self._sources.mean(axis=0)
        ]

    def sweep(self) -> None:
        """Draw everything once."""
        deal_to_components(
            self._rng, self._counts.indptr, self._counts.indices, self._counts.data, self.abundances, self.spectra,
            self._by_pixel, self._by_channel,
        )  # fmt: skip
        drawn = self._by_pixel
        if self._blur is not None:
            weighted = self._sources / self._reach
            deal_to_sources(self._rng, self._by_pixel, *self._blur, weighted, self._by_source)
            drawn = self._by_source
        for k, prior in enumerate(self._prior):
            shape, rate = prior.given(drawn[:, k].astype(np.int64))
            self._sources[:, k] = _gamma(self._rng, shape + drawn[:, k]) / (1 + rate)
        self.abundances = self._blurred()
        fixed = self._sieve.fixed
        if fixed < self.spectra.shape[1]:
            free = _gamma(self._rng, JEFFREYS + self._by_channel[:, fixed:])
            self.spectra[:, fixed:] = free / free.sum(axis=0)

    def _blurred(self) -> NDArray[np.float64]:
        return np.ascontiguousarray(self._sieve.of_maps(self._sources / self._reach))


def _gamma(rng: np.random.Generator, shape: NDArray[np.float64]) -> NDArray[np.float64]:
    """Draw from Gamma distributions of rate 1; no value is exactly zero, which the chain could not leave."""
    return np.maximum(rng.standard_gamma(shape), LEAST)


def _neighbours(
    sieve: Sieve,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the padded image of row numbers, the places of the rows in it, and steps and weights of the blur."""
    radius = int(TRUNCATE * sieve.pixels + 0.5)
    label = np.full(sieve.mask.shape, -1, np.int64)
    label[sieve.mask] = np.arange(int(sieve.mask.sum()))
    padded = np.pad(label, radius, constant_values=-1)
    y, x = np.nonzero(sieve.mask)
    across = padded.shape[1]
    place = (y + radius) * across + x + radius
    t = np.arange(-radius, radius + 1)
    taps = np.exp(-0.5 * (t / sieve.pixels) ** 2)
    step = (t[:, None] * across + t).ravel()
    return padded.ravel(), place.astype(np.int64), step.astype(np.int64), np.outer(taps, taps).ravel() / taps.sum() ** 2
