"""Successive projection: exact where there are pure pixels, near the truth in noise, blind to scale and order."""

from __future__ import annotations

import numpy as np
import pytest
from known_spectra import angles, phases
from scipy.ndimage import gaussian_filter
from test_unmix import mixture

from esteemcore import spectral


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_pure_pixels_without_noise_are_found_exactly(rng, n) -> None:
    data, spectra, amounts = mixture(rng, n=n)
    result = spectral.unmix(data, n, method="spa")
    if n == 1:
        np.testing.assert_allclose(result.spectra, spectra, rtol=1e-9)
        return
    order = amounts.sum(axis=(1, 2)).argsort()[::-1]
    np.testing.assert_allclose(result.spectra, spectra[order], atol=1e-7)
    np.testing.assert_allclose(result.abundances, amounts[order], atol=1e-4 * amounts.max())


def test_lines_of_one_channel_are_components_too() -> None:
    """Half of the channels do not show each component then."""
    amounts = np.random.default_rng(1).dirichlet([0.5] * 3, (10, 10))
    amounts[0, :3] = np.eye(3)
    result = spectral.unmix(100 * amounts, 3, method="spa", noise="gaussian")
    np.testing.assert_allclose(np.sort(result.spectra, axis=0)[-1], 1, atol=1e-7)


def test_noise_and_a_spike_move_the_spectra_little(rng) -> None:
    data, spectra, _ = mixture(rng, (40, 40), channels=120, counts=2e4)
    counts = rng.poisson(data)
    found = spectral.unmix(counts, 3, method="spa")
    assert angles(found.spectra, spectra).max() < 1.5
    spoiled = counts.copy()
    spoiled[5, 7, 30] += 500  # 40 standard deviations of its noise
    again = spectral.unmix(spoiled, 3, method="spa")
    assert angles(again.spectra, spectra).max() < 1.5


def test_order_of_the_pixels_and_scale_of_the_data_do_not_matter(rng) -> None:
    data, _, _ = mixture(rng)
    noisy = data + rng.normal(0, 5, data.shape)
    order = rng.permutation(noisy.shape[0] * noisy.shape[1])
    shuffled = noisy.reshape(-1, noisy.shape[2])[order].reshape(noisy.shape)
    one, two, three = (spectral.unmix(si, 3, method="spa", noise="gaussian") for si in (noisy, shuffled, 10 * noisy))
    np.testing.assert_allclose(two.spectra, one.spectra, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(three.spectra, one.spectra, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(two.abundances.reshape(3, -1), one.abundances.reshape(3, -1)[:, order], rtol=1e-6)
    np.testing.assert_allclose(three.abundances, 10 * one.abundances, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_where_no_pixel_may_be_pure_the_notes_say_so(seed) -> None:
    rng = np.random.default_rng(seed)
    spectra = 2e4 * phases(rng, 3, 150)
    fields = gaussian_filter(rng.standard_normal((48, 48, 3)), (4, 4, 0), mode="wrap")
    fields /= fields.std(axis=(0, 1))
    for slope, pure in ((8.0, True), (1.2, False)):
        share = np.exp(slope * fields)
        result = spectral.unmix(rng.poisson(share / share.sum(axis=-1, keepdims=True) @ spectra), 3, method="spa")
        assert any("no pixel is pure" in note for note in result.notes) != pure, result.notes
