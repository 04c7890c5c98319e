"""Components of a running series: maps of the sum that is fine in space, spectra of the one that is fine in energy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from esteemcore._core.errors import ParameterError
from esteemcore._core.provenance import digest, record
from esteemcore.lowrank import noise_weights
from esteemcore.spectral.binned_sums import BinnedSum
from esteemcore.spectral.online import OnlineComponents
from esteemcore.spectral.online_spectra import least_squares, most_likely, visits_seen
from esteemcore.spectral.pca import LEAST_COUNTS
from esteemcore.spectral.unmix import unmix
from esteemcore.spectral.unmixing import Unmixing


def components_of(
    coarse: BinnedSum, fine: BinnedSum, n: int, like: NDArray[np.float64] | None, seed: int
) -> OnlineComponents:
    """Return the components of two sums of the same frames; the bins of `fine` are blocks of those of `coarse`."""
    parameters = {"n_components": n, "bins": (coarse.pixels, coarse.width), "block": fine.pixels}
    made = record(
        "spectral.ComponentMeter", parameters, seed=seed, input_digest=digest(coarse.total, fine.total, coarse.visits)
    )
    try:
        found = unmix(coarse.total, n, mask=coarse.visits > 0, seed=seed)
        maps = np.nan_to_num(found.abundances)
        spectra = _spectra(found, fine, _by_block(maps, fine.pixels // coarse.pixels), seed)
    except (ParameterError, np.linalg.LinAlgError) as error:  # there may be more to see after the next frames
        nothing = np.full((n, *coarse.visits.shape), np.nan)
        return OnlineComponents(np.full((n, fine.channels), np.nan), nothing, coarse.visits.copy(), f"{error}", made)
    size = np.abs(spectra).sum(axis=1)
    size = np.where(size > 0, size, 1.0)
    mean = np.full(maps.shape, np.nan)
    seen = visits_seen(coarse.visits, found.smoothing_px)
    np.divide(maps * size[:, None, None], seen, out=mean, where=coarse.visits > 0)
    order = np.arange(n) if like is None else _places(spectra, like)
    return OnlineComponents((spectra / size[:, None])[order], mean[order], coarse.visits.copy(), "", made)


def _by_block(maps: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Return sums of maps (n, y, x) over blocks of bins, shape (n, y / side, x / side)."""
    rows, columns = (np.arange(0, size, side) for size in maps.shape[1:])
    total: NDArray[np.float64] = np.add.reduceat(np.add.reduceat(maps, rows, axis=1), columns, axis=2)
    return total


def _spectra(found: Unmixing, fine: BinnedSum, blocks: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Return the spectra of every channel, given the maps by block."""
    values, maps = fine.total.reshape(-1, fine.channels), blocks.reshape(len(blocks), -1).T
    if found.method == "nmf":
        return most_likely(values, maps, seed)
    if found.noise == "poisson":
        return least_squares(values, maps, noise_weights(values, least_counts=LEAST_COUNTS)[0])
    return least_squares(values, maps, 1 / np.sqrt(np.maximum(fine.visits.reshape(-1), 1)))


def _places(spectra: NDArray[np.float64], like: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the order in which spectra come after those that they are most like; new ones come last."""
    from scipy.optimize import linear_sum_assignment

    known, found = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300) for rows in (like, spectra))
    same = linear_sum_assignment(-known @ found.T)[1]
    order: NDArray[np.int64] = np.concatenate([same, np.setdiff1d(np.arange(len(spectra)), same)])
    return order
