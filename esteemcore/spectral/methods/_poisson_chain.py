"""A Markov chain through the spectra and maps that counts allow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore.spectral.methods._abundance_prior import LEAST, AbundancePrior
from esteemcore.spectral.methods._blu_kernels import deal_again, deal_to_components, deal_to_sources
from esteemcore.spectral.methods._sieve import TRUNCATE, Sieve

JEFFREYS = 0.5
"""Counts that the prior adds to each channel of each spectrum."""


class PoissonChain:
    """Gibbs sampler of the factors of counts.

    The mean of the counts is ``H W^T``, with spectra ``W`` of unit sum and abundances ``H = S G``, sources blurred by
    the sieve, each blurred source of the same sum as the source. The sum of the sources of a pixel is Gamma
    distributed, their shares are Dirichlet distributed, and the parameters are learnt (`AbundancePrior`). Each spectrum
    is Dirichlet distributed, with Jeffreys' prior of half a count per channel. Thickness is free: abundances of a pixel
    sum to what they sum to.

    Each sweep draws the component of every count; given these, all else is conjugate [1]_. Without a blur the shares
    are integrated out while counts are dealt [2]_: pixels become pure, and mixed again, in few sweeps. With a blur the
    source of every count is drawn too, given the abundances.

    Parameters
    ----------
    counts : scipy.sparse.csr_array of int64, shape (rows, energy)
    abundances, spectra : ndarray, shapes (rows, n) and (energy, n)
        Start; without a blur, each pixel starts as pure, of what it has most of.
    sieve : Sieve
        Its blur of maps, and how many spectra are fixed.
    rng : numpy.random.Generator

    References
    ----------
    .. [1] A. T. Cemgil, Comput. Intell. Neurosci. 2009, 785152 (2009).
    .. [2] T. L. Griffiths, M. Steyvers, Proc. Natl. Acad. Sci. 101, 5228 (2004).
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
        self._prior = AbundancePrior(float(self._sources.sum(axis=1).mean()), self._sources.shape[1], rng)
        if self._blur is None:
            most, total = self._sources.argmax(axis=1), np.asarray(counts.sum(axis=1)).ravel()
            self._label = np.repeat(most.astype(np.int16), total)
            self._by_pixel = total[:, None] * np.eye(self._sources.shape[1])[most]

    def sweep(self) -> None:
        """Draw everything once."""
        entries = self._counts.indptr, self._counts.indices, self._counts.data
        if self._blur is None:
            deal_again(
                self._rng, *entries, self._label, self._prior.concentration, self.spectra,
                self._by_pixel, self._by_channel,
            )  # fmt: skip
            drawn = self._by_pixel
        else:
            deal_to_components(
                self._rng, *entries, self.abundances, self.spectra, self._by_pixel, self._by_channel,
            )  # fmt: skip
            deal_to_sources(self._rng, self._by_pixel, *self._blur, self._sources / self._reach, self._by_source)
            drawn = self._by_source
        self._prior.learn(drawn)
        self._sources = self._prior.draw(drawn)
        self.abundances = self._blurred()
        fixed = self._sieve.fixed
        if fixed < self.spectra.shape[1]:
            free = np.maximum(self._rng.standard_gamma(JEFFREYS + self._by_channel[:, fixed:]), LEAST)
            self.spectra[:, fixed:] = free / free.sum(axis=0)

    def _blurred(self) -> NDArray[np.float64]:
        return np.ascontiguousarray(self._sieve.of_maps(self._sources / self._reach))


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
