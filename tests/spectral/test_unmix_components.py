"""Principal and independent components as unmixing methods."""

from __future__ import annotations

import numpy as np
from known_spectra import angles, rates
from test_unmix import mixture

from esteemcore import spectral


def test_principal_components_are_those_of_the_function_for_them(rng) -> None:
    counts = rng.poisson(rates(rng, 3000, shape=(20, 18), channels=60))
    found, other = spectral.unmix(counts, 3, method="pca"), spectral.pca(counts, 3)
    np.testing.assert_allclose(found.reconstruct(), other.reconstruct(), rtol=1e-6, atol=1e-6)
    likeness = np.abs(found.spectra @ other.components.T) / np.linalg.norm(other.components, axis=1)
    likeness /= np.linalg.norm(found.spectra, axis=1)[:, None]
    np.testing.assert_allclose(likeness.max(axis=1), 1, atol=1e-9)


def test_lines_on_a_common_background_are_independent_and_principal_components_are_not_the_phases(rng) -> None:
    data, spectra, _ = mixture(rng, (40, 40), channels=400, counts=1e5)
    counts = rng.poisson(data)
    independent, principal = (spectral.unmix(counts, 3, method=method) for method in ("ica", "pca"))
    assert angles(independent.spectra, spectra).mean() < 10
    assert angles(principal.spectra, spectra).mean() > 2 * angles(independent.spectra, spectra).mean()


def test_both_fit_as_well_as_any_model_of_so_many_components(rng) -> None:
    counts = rng.poisson(rates(rng, 3000, shape=(20, 18), channels=60))
    left = [
        np.sum(spectral.unmix(counts.astype(float) - 1, 3, method=m, noise="gaussian").residual ** 2)
        for m in ("pca", "ica", "spa")
    ]
    assert left[1] < left[0] * (1 + 1e-9)
    assert left[2] > left[0]
