"""Weights that make the noise equal, and what that gains."""

from __future__ import annotations

import numpy as np
import pytest

from esteemcore.errors import ParameterError
from esteemcore.lowrank import noise_weights, pca


def two_phases(rng, n=900, channels=300):
    """Return clean counts of two phases on a falling background, the second one weak and where counts are few."""
    energy = np.arange(channels)
    background = 2e5 * np.exp(-energy / 20)
    weak = 8.0 * np.exp(-0.5 * ((energy - 240) / 8) ** 2)
    share = rng.random(n)
    return np.outer(0.8 + 0.4 * rng.random(n), background) + np.outer(share, weak) + 0.2


@pytest.mark.parametrize(("gain", "readout"), [(1.0, 0.0), (8.0, 3.0)])
def test_weighted_noise_has_variance_one(rng, gain, readout) -> None:
    clean = np.outer(rng.uniform(0.5, 2, 400), np.linspace(2, 60, 200))
    noisy = gain * rng.poisson(clean) + readout * rng.normal(size=clean.shape)
    row, column = noise_weights(noisy, gain=gain, readout_sigma=readout)
    weighted = (noisy - gain * clean) * row[:, None] * column
    assert weighted.var() == pytest.approx(1, rel=0.03)
    assert weighted.var(axis=0)[:20].mean() == pytest.approx(weighted.var(axis=0)[-20:].mean(), rel=0.15)


def test_poisson_weights_are_those_of_keenan_and_kotula(rng) -> None:
    counts = rng.poisson(np.outer(rng.uniform(1, 3, 50), np.linspace(1, 20, 40)))
    row, column = noise_weights(counts)
    expected = np.sqrt(np.outer(counts.mean(axis=1), counts.mean(axis=0)) / counts.mean())
    np.testing.assert_allclose(1 / np.outer(row, column), expected)


def test_weights_of_empty_and_negative_data_are_finite() -> None:
    for counts in (np.zeros((3, 4)), -np.ones((3, 4)), np.eye(5)):
        row, column = noise_weights(counts)
        assert np.isfinite(row).all()
        assert np.isfinite(column).all()


def test_weights_find_a_weak_phase_that_noise_of_strong_channels_hides(rng) -> None:
    clean = two_phases(rng)
    counts = rng.poisson(clean)
    peak = slice(225, 256)
    error = {
        noise: np.sqrt(((pca(counts, 2, noise=noise).reconstruct(peak) - clean[:, peak]) ** 2).mean())
        for noise in ("gaussian", "poisson")
    }
    raw = np.sqrt(((counts - clean)[:, peak] ** 2).mean())
    assert error["poisson"] < 0.75 * error["gaussian"]
    assert error["poisson"] < 0.3 * raw


def test_all_components_give_the_data_back(rng) -> None:
    data = rng.normal(5, 1, (20, 12))
    for center in (False, True):
        for noise in ("gaussian", "poisson"):
            np.testing.assert_allclose(pca(data, 12, noise=noise, center=center).reconstruct(), data)
    centred = pca(data, 3, center=True)
    np.testing.assert_allclose(centred.mean, data.mean(axis=0))
    np.testing.assert_allclose(centred.scores.mean(axis=0), 0, atol=1e-12)
    assert centred.singular_values.shape == (3,)


def test_what_is_wrong_is_said_in_words() -> None:
    with pytest.raises(ParameterError, match="noise is 'shot'"):
        pca(np.ones((3, 3)), 1, noise="shot")
    with pytest.raises(ParameterError, match=r"shape \(3,\)"):
        pca(np.ones(3), 1)
    with pytest.raises(ParameterError, match=r"shape \(3,\)"):
        noise_weights(np.ones(3))
    with pytest.raises(ParameterError, match="gain is 0"):
        noise_weights(np.ones((3, 3)), gain=0)
