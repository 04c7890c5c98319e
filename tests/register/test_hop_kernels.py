"""Compiled loops of the comparison of places against NumPy."""

import numpy as np
import pytest
from scipy import ndimage

from esteemcore.register import _hop_kernels as kernels
from esteemcore.register.grid import gaussian_taps


@pytest.mark.parametrize("moved", [(0.0, 0.0), (0.3, -0.7), (-5.5, 3.25), (11.0, -9.0)])
def test_a_band_limited_image_is_moved_exactly(moved) -> None:
    y, x = np.mgrid[:60, :70].astype(float)
    wave = lambda y, x: np.cos(2 * np.pi * (0.31 * y + 0.05 * x) + 1) + np.sin(2 * np.pi * 0.37 * x) + 0.5  # noqa: E731
    there = np.empty((60, 70), np.float32)
    kernels.move(wave(y, x).astype(np.float32), *moved, 6, there)
    expected = wave(y + moved[0], x + moved[1])
    inside = (slice(18, -18), slice(18, -18))
    np.testing.assert_allclose(there[inside], expected[inside], atol=0.03)


def test_beyond_the_edge_a_moved_image_is_zero(rng) -> None:
    image = rng.random((12, 14)).astype(np.float32)
    there = np.empty_like(image)
    for a, b in ((3, -2), (-4, 5), (20, 0), (0, -30), (0, 0)):
        kernels.move(image, float(a), float(b), 6, there)
        expected = ndimage.shift(image, (-a, -b), order=0, mode="constant")
        np.testing.assert_allclose(there, expected, atol=1e-6)


def test_both_places_are_known_where_the_mask_and_the_moved_mask_are(rng) -> None:
    known = (rng.random((9, 11)) < 0.7).astype(np.float32)
    both = np.empty_like(known)
    for a, b in ((0, 0), (2, -3), (-1, 4), (9, 0), (0, 12), (-20, -20)):
        kernels.both_known(known, a, b, both)
        np.testing.assert_array_equal(both, known * ndimage.shift(known, (-a, -b), order=0, mode="constant"))


@pytest.fixture
def images(rng):
    here, there = rng.normal(size=(2, 15, 17)).astype(np.float32)
    both = np.zeros_like(here)
    both[2:-2, 2:-2] = rng.random((11, 13)) < 0.8
    weight, steepness = rng.uniform(0.5, 2, (2, 15, 17)).astype(np.float32)
    return here, there, both, weight, steepness


def test_the_step_is_that_of_least_squares(images) -> None:
    here, there, both, *_ = images
    sums = np.empty(5)
    kernels.step_sums(here, there, both, sums)
    used = both > 0
    gy, gx = (2 * g[used].astype(float) for g in np.gradient(there))
    e = (here - there)[used].astype(float)
    np.testing.assert_allclose(sums, [gy @ gy, gy @ gx, gx @ gx, gy @ e, gx @ e], rtol=1e-4, atol=1e-4)


def test_what_tells_places_apart_is_what_noise_and_distortion_do_not_explain(images) -> None:
    here, there, both, weight, steepness = images
    some = np.zeros(here.size, np.float32)
    count = kernels.squares(here, there, both, weight, some)
    square = both * (there - here) ** 2 * weight
    np.testing.assert_allclose(some[:count], square[::2, ::2][both[::2, ::2] > 0], rtol=1e-5)
    results = np.empty((4, *here.shape), np.float32)
    kernels.telling(here, there, both, weight, steepness, 0.4, 0.2, 0.01, *results)
    share = np.maximum(square - 0.4 - 0.2 * steepness, 0) / np.maximum(square, 1e-30)
    filtered = both * (there - here) * share * weight
    assert 0 < np.count_nonzero(filtered) < both.sum()
    expected = [filtered, filtered * (here + there) / 2, filtered * both * (there - here) - 0.01 * both, 0.01 * both]
    np.testing.assert_allclose(results, expected, atol=1e-5)


def test_power_is_weighted_by_columns(rng) -> None:
    spectrum = (rng.normal(size=(6, 4)) + 1j * rng.normal(size=(6, 4))).astype(np.complex64)
    weight, result = rng.random(4).astype(np.float32), np.empty((6, 4), np.float32)
    kernels.power(spectrum, weight, result)
    np.testing.assert_allclose(result, weight * np.abs(spectrum) ** 2, rtol=1e-5)


@pytest.mark.parametrize("shape", [(96, 111), (20, 9), (11, 50)])
def test_shading_is_the_local_mean_of_what_is_known(rng, shape) -> None:
    y, x = np.mgrid[: shape[0], : shape[1]]
    known = rng.random(shape) < 0.7
    known[: shape[0] // 3, : shape[1] // 3] = False
    smooth = 3 + np.sin(2 * np.pi * y / 150) + x / 40
    image = np.where(known, smooth + rng.normal(0, 0.5, shape), 0)
    result = image.astype(np.float32)
    kernels.take_shading(result, known, gaussian_taps(8 / kernels.BIN))
    blurred = [ndimage.gaussian_filter(a, 8, mode="constant", truncate=3) for a in (image, known.astype(float))]
    expected = np.where(known, image - blurred[0] / np.maximum(blurred[1], 0.05), 0)
    assert np.array_equal(result == 0, ~known)
    assert np.sqrt(((result - expected)[known] ** 2).mean()) < 0.03
    constant = known.astype(np.float32)
    kernels.take_shading(constant, known, gaussian_taps(8 / kernels.BIN))
    assert np.abs(constant).max() < 1e-5
