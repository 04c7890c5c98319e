"""Which component of one unmixing is which of another one, and how far apart they are."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from esteemcore.spectral.methods.problem import Factors


def matched(found: Factors, reference: Factors) -> Factors:
    """Return normalised factors in the order in which their spectra are most like those of the reference.

    Scale and sign are those of the normalisation.
    """
    order = matching(found.spectra, reference.spectra)
    sigma, spread = found.sigma_spectra, found.sigma_abundances
    return dataclasses.replace(
        found,
        spectra=found.spectra[order],
        abundances=found.abundances[:, order],
        sigma_spectra=None if sigma is None else sigma[order],
        sigma_abundances=None if spread is None else spread[:, order],
    )


def matching(spectra: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the order in which spectra (n, energy) are most like a reference: the largest sum of their cosines."""
    from scipy.optimize import linear_sum_assignment

    return np.asarray(linear_sum_assignment(-(_unit(reference) @ _unit(spectra).T))[1], np.int64)


def angles_deg(spectra: NDArray[np.float64], reference: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the angle in degrees between each spectrum and its reference."""
    one, other = _unit(spectra), _unit(reference)
    # the chord keeps small angles that the cosine rounds off
    chord = np.linalg.norm(one - other, axis=1)
    return np.asarray(np.degrees(2 * np.arcsin(np.minimum(chord / 2, 1))))


def _unit(spectra: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(spectra / np.maximum(np.linalg.norm(spectra, axis=1, keepdims=True), 1e-300))
