"""Single pixels at the corners, and the smallest simplex: exact cases, brute force, and where one beats the other."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from known_spectra import angles, phases
from test_unmix import mixture

from esteemcore import spectral
from esteemcore.spectral.methods.nfindr import largest_simplex


def no_pure_pixels(rng, n=3, shape=(30, 30), purest=0.8, channels=100, counts=2e4):
    """Return mixtures of which no pixel has more than a share of any phase, and their spectra."""
    spectra = phases(rng, n, channels)
    share = rng.dirichlet(np.ones(n), 20 * shape[0] * shape[1])
    share = share[share.max(axis=1) < purest][: shape[0] * shape[1]]
    thickness = rng.uniform(0.6, 1.4, (len(share), 1))
    return (counts * thickness * share @ spectra).reshape(*shape, channels), spectra


@pytest.mark.parametrize("method", ["vca", "nfindr", "mvsa"])
@pytest.mark.parametrize("n", [2, 3, 4])
def test_pure_pixels_without_noise_are_found(rng, method, n) -> None:
    data, spectra, amounts = mixture(rng, n=n)
    result = spectral.unmix(data, n, method=method, noise="gaussian")
    order = amounts.sum(axis=(1, 2)).argsort()[::-1]
    # the faces of the smallest simplex are soft by 1e-4 of its size
    exact = 1e-7 if method != "mvsa" else 2e-3
    np.testing.assert_allclose(result.spectra, spectra[order], atol=exact * spectra.max() * 10)
    np.testing.assert_allclose(result.abundances, amounts[order], atol=2e-3 * amounts.max())


def test_the_largest_simplex_is_that_of_trying_all(rng) -> None:
    for _ in range(20):
        places = np.column_stack([np.ones(14), rng.standard_normal((14, 2))])
        largest = max(abs(np.linalg.det(places[list(c)])) for c in itertools.combinations(range(14), 3))
        found = max(
            abs(np.linalg.det(largest_simplex(places, places[rng.choice(14, 3, replace=False)]))) for _ in range(10)
        )
        assert found == pytest.approx(largest)


@pytest.mark.parametrize("n", [3, 4])
def test_the_smallest_simplex_finds_spectra_that_no_pixel_has(rng, n) -> None:
    data, spectra = no_pure_pixels(rng, n)
    found = spectral.unmix(data, n, method="mvsa", noise="gaussian")
    assert angles(found.spectra, spectra).max() < 0.7
    counts = rng.poisson(data)
    smallest, purest = (spectral.unmix(counts, n, method=method) for method in ("mvsa", "spa"))
    assert angles(smallest.spectra, spectra).mean() < 1.5
    assert angles(purest.spectra, spectra).mean() > 5


def test_two_components_without_pure_pixels_cannot_be_told_and_the_ends_of_the_line_are_given(rng) -> None:
    """In one dimension the smallest simplex is the extent of the points."""
    spectra = phases(rng, 2, 40)
    share = np.linspace(0.2, 0.7, 30).reshape(5, 6)
    data = 1e3 * (share[..., None] * spectra[0] + (1 - share[..., None]) * spectra[1])
    found = spectral.unmix(data, 2, method="mvsa", noise="gaussian")
    ends = np.array([0.2 * spectra[0] + 0.8 * spectra[1], 0.7 * spectra[0] + 0.3 * spectra[1]])
    assert angles(found.spectra, ends).max() < 0.1


def test_a_known_corner_takes_part_in_the_smallest_simplex(rng) -> None:
    data, spectra = no_pure_pixels(rng)
    found = spectral.unmix(data, 3, method="mvsa", known=spectra[1:2], noise="gaussian")
    np.testing.assert_allclose(found.spectra[0], spectra[1])
    assert angles(found.spectra, spectra).max() < 0.7


def test_of_more_starts_the_largest_volume_is_kept(rng) -> None:
    data, _, _ = mixture(rng, n=4)
    counts = rng.poisson(data)

    def volume(restarts):
        result = spectral.unmix(counts, 4, method="vca", restarts=restarts)
        return np.linalg.slogdet(result.spectra @ result.spectra.T)[1]

    assert volume(40) >= volume(1)
    largest = spectral.unmix(counts, 4, method="nfindr")
    assert np.linalg.slogdet(largest.spectra @ largest.spectra.T)[1] >= volume(1) - 0.1
