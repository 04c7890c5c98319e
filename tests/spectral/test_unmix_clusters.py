"""Clusters as components: every pixel of one kind, or with the probability that Bayes' rule gives."""

from __future__ import annotations

import numpy as np
import pytest
from known_spectra import phases

from esteemcore import spectral


@pytest.mark.parametrize("method", ["kmeans", "gmm"])
def test_pixels_of_one_kind_each_are_told_apart_whatever_their_thickness(rng, method) -> None:
    spectra = phases(rng, 3, 80)
    kind = rng.integers(0, 3, (20, 20))
    amount = rng.uniform(2e3, 8e3, (20, 20))
    counts = rng.poisson(amount[..., None] * spectra[kind])
    found = spectral.unmix(counts, 3, method=method)
    labels = found.abundances.argmax(axis=0)
    for k in range(3):
        assert len(np.unique(labels[kind == k])) == 1
        expected = counts[kind == k].sum(axis=0) / counts[kind == k].sum()
        np.testing.assert_allclose(found.spectra[labels[kind == k][0]], expected, rtol=1e-6)
    np.testing.assert_allclose(found.abundances.sum(axis=0), counts.sum(axis=2), rtol=0.1)


def test_memberships_are_the_probabilities_of_two_gaussians(rng) -> None:
    """Two kinds with equal noise: the logarithm of the odds is linear between their spectra."""
    spectra = np.array([[10.0, 5, 5, 3], [5.0, 10, 5, 3]])
    kind = rng.integers(0, 2, (60, 60))
    noise = 3.0
    data = spectra[kind] + rng.normal(0, noise, (60, 60, 4))
    found = spectral.unmix(data, 2, method="gmm", noise="gaussian", sum_to_one=True)
    order = [0, 1] if found.spectra[0].argmax() == 0 else [1, 0]
    odds = ((data - spectra.mean(axis=0)) @ (spectra[0] - spectra[1])) / noise**2
    expected = 1 / (1 + np.exp(-odds))
    assert np.sqrt(np.mean((found.abundances[order[0]] - expected) ** 2)) < 0.06


def test_a_mixed_pixel_gets_one_cluster_only_from_kmeans(rng) -> None:
    spectra = phases(rng, 2, 40)
    share = np.linspace(0, 1, 100).reshape(10, 10)
    data = 1e4 * (share[..., None] * spectra[0] + (1 - share[..., None]) * spectra[1])
    found = spectral.unmix(data, 2, method="kmeans", noise="gaussian")
    assert (np.count_nonzero(found.abundances, axis=0) == 1).all()
    assert np.count_nonzero(found.abundances[0]) == pytest.approx(50, abs=12)
