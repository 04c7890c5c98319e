"""Whether Markov chains have forgotten where they started, and how much they know."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def split_r_hat(chains: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the potential scale reduction of quantities, 1 where halves of chains agree with each other.

    Parameters
    ----------
    chains : ndarray, shape (chains, draws, quantities)

    Returns
    -------
    ndarray, shape (quantities,)

    References
    ----------
    A. Gelman et al., Bayesian Data Analysis, 3rd ed., CRC Press (2013), section 11.4.
    """
    half = chains.shape[1] // 2
    parts = np.concatenate([chains[:, :half], chains[:, half : 2 * half]])
    within = parts.var(axis=1, ddof=1).mean(axis=0)
    between = parts.mean(axis=1).var(axis=0, ddof=1)
    still = within <= 1e-20 * np.maximum(np.square(parts).mean(axis=(0, 1)), 1e-300)
    ratio = (half - 1) / half + between / np.where(still, 1, within)
    return np.asarray(np.sqrt(np.where(still, 1, ratio)))


def effective_draws(chains: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how many independent draws the correlated ones of all chains are worth.

    Autocorrelations are summed in pairs as long as these are positive (Geyer's initial sequence).

    Parameters
    ----------
    chains : ndarray, shape (chains, draws, quantities)

    Returns
    -------
    ndarray, shape (quantities,)

    References
    ----------
    C. J. Geyer, Statist. Sci. 7, 473 (1992).
    """
    number, draws, quantities = chains.shape
    centred = chains - chains.mean(axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(centred, 2 * draws, axis=1)) ** 2
    covariance = np.fft.irfft(power, axis=1)[:, :draws].mean(axis=0) / draws
    result = np.full(quantities, float(number * draws))
    for q in range(quantities):
        if covariance[0, q] <= 0:
            continue
        correlation = covariance[:, q] / covariance[0, q]
        pairs = correlation[: draws // 2 * 2].reshape(-1, 2).sum(axis=1)
        end = int((pairs <= 0).argmax()) if (pairs <= 0).any() else len(pairs)
        result[q] = number * draws / max(2 * pairs[:end].sum() - 1, 1 / (number * draws))
    return np.asarray(np.minimum(result, number * draws))
