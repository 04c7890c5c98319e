"""Smoothing that the noise asks for: none without noise or without neighbours alike, and else near the best width."""

from __future__ import annotations

import numpy as np
import pytest
from known_spectra import angles, matched, phases, regions
from scipy.ndimage import gaussian_filter
from test_unmix_corners import no_pure_pixels

from esteemcore import spectral
from esteemcore.spectral._smoothing import WIDTHS_PX


def patches(rng, slope, counts, *, shape=(36, 36), channels=90):
    """Return noisy data of smooth fields, purer with the slope, the spectra and the amounts (n, y * x)."""
    spectra = phases(rng, 3, channels) + 3 * np.exp(-np.arange(channels) / 30.0) / 30
    spectra /= spectra.sum(axis=1, keepdims=True)
    fields = gaussian_filter(rng.standard_normal((*shape, 3)), (4, 4, 0), mode="wrap")
    share = np.exp(slope * fields / fields.std(axis=(0, 1)))
    amounts = counts * share / share.sum(axis=-1, keepdims=True) * np.linspace(0.8, 1.2, shape[1])[:, None]
    data = np.round(rng.poisson(amounts @ spectra) + rng.normal(0, 4, (*shape, channels)))
    return data, spectra, np.moveaxis(amounts, -1, 0).reshape(3, -1)


def error(found, spectra, amounts):
    """Return the root mean square error of the abundances as shares of each pixel."""
    order, _ = matched(found.spectra, spectra)
    shares = found.abundances.reshape(3, -1)[order]
    shares, truth = (a / np.maximum(a.sum(axis=0), 1e-12) for a in (shares, amounts))
    return np.sqrt(np.mean((shares - truth) ** 2))


@pytest.mark.parametrize(("slope", "counts"), [(6.0, 1.5e3), (1.2, 6e3)])
@pytest.mark.parametrize("seed", range(2))
def test_the_width_is_near_the_best_one(seed, slope, counts) -> None:
    data, spectra, amounts = patches(np.random.default_rng(seed), slope, counts)
    errors = [
        error(spectral.unmix(data, 3, "spa", smoothing_px=width, known=spectra), spectra, amounts)
        for width in WIDTHS_PX
    ]
    found = spectral.unmix(data, 3, "spa", known=spectra)
    assert error(found, spectra, amounts) < 1.25 * min(errors)
    assert error(found, spectra, amounts) < 0.75 * errors[0]
    free = spectral.unmix(data, 3, "spa")
    assert free.smoothing_px > 0
    assert any(f"smoothed by {free.smoothing_px:g} px" in note for note in free.notes)


def test_nothing_is_smoothed_without_noise_or_where_neighbours_have_nothing_in_common(rng) -> None:
    data, spectra, _ = patches(rng, 6.0, 1.5e3)
    flat = data.reshape(-1, data.shape[2])
    shuffled = flat[rng.permutation(len(flat))].reshape(data.shape)
    assert spectral.unmix(data, 3).smoothing_px > 0
    assert spectral.unmix(shuffled, 3).smoothing_px == 0
    exact = 6e3 * regions(rng, data.shape[:2], 3) @ spectra
    assert spectral.unmix(exact, 3, "spa", noise="gaussian").smoothing_px == 0


def test_a_width_that_is_given_holds_and_other_methods_do_not_smooth(rng) -> None:
    data, spectra, _ = patches(rng, 6.0, 1.5e3)
    assert spectral.unmix(data, 3, smoothing_px=0).smoothing_px == 0
    assert spectral.unmix(data, 3, smoothing_px=3.3).smoothing_px == 3.3
    assert spectral.unmix(data, 3, "vca").smoothing_px == 0
    twice = np.concatenate([spectra[:2], spectra[:1]])
    assert spectral.unmix(data, 3, "spa", known=twice).smoothing_px == 0  # amounts of equal spectra cannot be told


@pytest.mark.parametrize("n", [3, 4])
def test_where_next_to_no_pixel_is_pure_the_smallest_simplex_is_the_default(rng, n) -> None:
    data, spectra = no_pure_pixels(rng, n)
    counts = rng.poisson(data)
    found = spectral.unmix(counts, n)
    assert found.method == "mvsa"
    assert "no pixel may be pure" in found.notes[0]
    assert angles(found.spectra, spectra).mean() < 1.5
    assert angles(spectral.unmix(counts, n, "spa").spectra, spectra).mean() > 5


@pytest.mark.parametrize("seed", range(2))
def test_where_pixels_are_pure_they_are_the_default(seed) -> None:
    data, spectra, _ = patches(np.random.default_rng(seed), 6.0, 1.5e3)
    found = spectral.unmix(data, 3)
    assert found.method == "spa"
    smallest = spectral.unmix(data, 3, "mvsa")
    assert angles(found.spectra, spectra).mean() < angles(smallest.spectra, spectra).mean()


def test_of_known_spectra_the_method_is_not_changed(rng) -> None:
    data, spectra = no_pure_pixels(rng)
    assert spectral.unmix(rng.poisson(data), 3, known=spectra[:1]).method == "spa"
