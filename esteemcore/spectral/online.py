"""Components of counts that form while spectra arrive, in any order and in bounded memory."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from esteemcore._core import checks
from esteemcore._core.errors import ParameterError
from esteemcore._core.provenance import Provenance, digest, record
from esteemcore.lowrank import noise_weights
from esteemcore.spectral.online_spectra import least_squares, most_likely, problem_of, visits_seen
from esteemcore.spectral.online_sums import SpectrumSums
from esteemcore.spectral.pca import LEAST_COUNTS, pca
from esteemcore.spectral.unmix import solve
from esteemcore.stream import Spec, Sums


@dataclasses.dataclass(frozen=True, eq=False)
class OnlineComponents:
    """Components of all spectra so far.

    Attributes
    ----------
    spectra : ndarray of float64, shape (n, energy)
        `OnlineNmf`: of unit sum. `ComponentMeter`: magnitudes of unit sum. `OnlinePca`: of unit length after weighting,
        in the units of the data. NaN as long as there are too few counts.
    abundances : ndarray of float64, shape (n, y, x)
        Amount of each component in a spectrum, the mean over the visits of a position; NaN where there was none.
    visits : ndarray, shape (y, x)
    note : str
        Why there are no components yet; empty where there are.
    provenance : Provenance
    """

    spectra: NDArray[np.float64]
    abundances: NDArray[np.float64]
    visits: NDArray[Any]
    note: str
    provenance: Provenance


class OnlineNmf(SpectrumSums):
    r"""Spectra and maps of counts, none negative, of the largest Poisson likelihood, while spectra arrive.

    The maps :math:`H` and coarse spectra are found in the sum that is fine in space (`unmix` with ``method="nmf"``).
    With the maps added up to blocks, :math:`\bar H`, each channel of the spectra :math:`W` is the most likely one for
    the counts :math:`Z` of the blocks, :math:`Z \sim \mathrm{Poisson}(\bar H W^T)`, which no other channel has a part
    in. So nothing but lines closer than a bin of energy is left to the coarse sum to tell apart. Lines are as wide as
    the width that predicts held-out counts best, as in `unmix`.

    A reducer: neither the size nor the order of chunks matters, and states of parts can be merged. Results of a stream
    are those of all counts at once, to the last digit.

    Parameters
    ----------
    n_components : int
    energy_bins, blocks : int
        Size of the sums, see `SpectrumSums`: memory is 8 bytes times ``positions * energy_bins + blocks * energy``.
    smoothing_px : float
        Standard deviation of the blur of maps in pixels.
    seed : int

    Examples
    --------
    >>> import numpy as np
    >>> from esteemcore import spectral, stream
    >>> share = np.linspace(0, 1, 200).reshape(10, 20, 1)
    >>> rate = 30 * (share * [[[0.8, 0.2, 0, 0]]] + (1 - share) * [[[0, 0, 0.4, 0.6]]])
    >>> nmf, spec = spectral.OnlineNmf(2), stream.Spec((10, 20), (1, 4), np.uint8)
    >>> state = nmf.init(spec)
    >>> for frame in range(3):
    ...     counts = np.random.default_rng(frame).poisson(rate).astype(np.uint8)
    ...     nmf.update(state, spectral.spectra_chunk(counts))
    >>> sorted(nmf.result(state).spectra.argmax(axis=1).tolist())
    [0, 3]
    """

    def __init__(
        self, n_components: int, *, energy_bins: int = 64, blocks: int = 1024, smoothing_px: float = 0.0, seed: int = 0
    ) -> None:
        super().__init__(n_components, energy_bins=energy_bins, blocks=blocks)
        self.smoothing_px = checks.not_negative("smoothing_px", smoothing_px, "px")
        self.seed = checks.integer("seed", seed, minimum=0)

    def result(self, state: Sums) -> OnlineComponents:
        """Return the components of all counts so far; sums below zero are taken for zero."""
        spec, seen = state.spec, state["visits"] > 0
        pixels = np.maximum(state["pixels"][seen], 0).astype(np.float64)
        parameters = {
            "n_components": self.n_components, "energy_bins": self.energy_bins, "blocks": self.blocks,
            "smoothing_px": self.smoothing_px, "seed": self.seed,
        }  # fmt: skip
        made = record("spectral.OnlineNmf", parameters, seed=self.seed, input_digest=digest(*state.arrays.values()))
        if len(pixels) < self.n_components or np.count_nonzero(pixels.sum(axis=0)) < self.n_components:
            return _nothing(self, state, "there are fewer pixels or channels with counts than components", made)
        try:
            coarse = solve(
                problem_of(pixels, seen.reshape(spec.scan_shape), self.n_components, self.seed, self.smoothing_px),
                "nmf",
            )
            maps = np.zeros((spec.positions, self.n_components))
            maps[seen] = coarse.abundances
            channels = np.maximum(state["channels"], 0).astype(np.float64)
            spectra = most_likely(channels, self.by_block(spec, maps), self.seed)
        except ParameterError as error:
            return _nothing(self, state, f"{error}", made)
        return _shown(state, spectra, maps, made, self.smoothing_px)


class OnlinePca(SpectrumSums):
    """Principal components of counts, weighted for their noise, while spectra arrive.

    The maps are those of the sum that is fine in space (`pca` with ``noise="poisson"``); the spectra are the least
    squares of the blocks, channel by channel, given the maps. A reducer with the same sums as `OnlineNmf`.

    Parameters
    ----------
    n_components, energy_bins, blocks, seed
        See `OnlineNmf`.
    """

    def __init__(self, n_components: int, *, energy_bins: int = 64, blocks: int = 1024, seed: int = 0) -> None:
        super().__init__(n_components, energy_bins=energy_bins, blocks=blocks)
        self.seed = checks.integer("seed", seed, minimum=0)

    def result(self, state: Sums) -> OnlineComponents:
        """Return the principal components of all counts so far; sums below zero are taken for zero."""
        spec, seen = state.spec, (state["visits"] > 0).reshape(state.spec.scan_shape)
        pixels = np.maximum(state["pixels"], 0).astype(np.float64)
        parameters = {
            "n_components": self.n_components, "energy_bins": self.energy_bins, "blocks": self.blocks,
            "seed": self.seed,
        }  # fmt: skip
        made = record("spectral.OnlinePca", parameters, seed=self.seed, input_digest=digest(*state.arrays.values()))
        if int(seen.sum()) < self.n_components or np.count_nonzero(pixels.sum(axis=0)) < self.n_components:
            return _nothing(self, state, "there are fewer pixels or channels with counts than components", made)
        image = pixels.reshape(*spec.scan_shape, -1)
        found = pca(image, self.n_components, "poisson", mask=seen, seed=self.seed)
        maps = np.nan_to_num(found.maps.reshape(self.n_components, -1).T)
        blocks = self.by_block(spec, maps)
        counts = np.maximum(state["channels"], 0).astype(np.float64)
        weight, _ = noise_weights(counts, least_counts=LEAST_COUNTS)
        return _shown(state, least_squares(counts, blocks, weight), maps, made)


def _shown(
    state: Sums, spectra: NDArray[np.float64], maps: NDArray[np.float64], made: Provenance, smoothing_px: float = 0.0
) -> OnlineComponents:
    """Return components with maps (positions, n) as means over the visits."""
    visits = state["visits"].reshape(state.spec.scan_shape)
    mean = np.full((maps.shape[1], *visits.shape), np.nan)
    np.divide(maps.T.reshape(mean.shape), visits_seen(visits, smoothing_px), out=mean, where=visits > 0)
    return OnlineComponents(spectra, mean, visits.copy(), "", made)


def _nothing(reducer: SpectrumSums, state: Sums, note: str, made: Provenance) -> OnlineComponents:
    """Return that there are no components yet."""
    spec: Spec = state.spec
    n = reducer.n_components
    return OnlineComponents(
        np.full((n, state["channels"].shape[1]), np.nan),
        np.full((n, *spec.scan_shape), np.nan),
        state["visits"].reshape(spec.scan_shape).copy(),
        note,
        made,
    )
