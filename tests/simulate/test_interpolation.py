from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esteemcore import errors, simulate

SPACING = (0.11, 0.07)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(3).uniform(0, 1, (7, 5))


def test_samples_are_kept_and_repeat_with_the_cell(image: np.ndarray) -> None:
    places = np.argwhere(np.ones((21, 15), bool)) - (7, 5)
    found = simulate.interpolate_cell(image, places * SPACING, SPACING).reshape(21, 15)
    np.testing.assert_allclose(found, np.tile(image, (3, 3)), atol=1e-12)


@given(v=st.floats(0, 1), u=st.floats(0, 1), row=st.integers(-9, 9), column=st.integers(-9, 9))
def test_between_samples_it_is_bilinear(v: float, u: float, row: int, column: int) -> None:
    image = np.random.default_rng(4).uniform(0, 1, (7, 5))
    (y0, x0), (y1, x1) = (row % 7, column % 5), ((row + 1) % 7, (column + 1) % 5)
    expected = (1 - v) * ((1 - u) * image[y0, x0] + u * image[y0, x1])
    expected += v * ((1 - u) * image[y1, x0] + u * image[y1, x1])
    found = simulate.interpolate_cell(image, [[(row + v) * SPACING[0], (column + u) * SPACING[1]]], SPACING)
    assert found[0] == pytest.approx(expected, abs=1e-9)


def test_an_image_agrees_with_the_frames_of_the_sampler(patterns: simulate.Bank) -> None:
    sampler = simulate.FrameSampler(patterns, simulate.Detector((64, 64), pixel_mrad=1.0))
    places = np.random.default_rng(0).uniform(-2, 2, (5, 2))
    inside = patterns.intensity.sum(axis=-1, dtype=float)
    expected = sampler.mean_frames(places).sum(axis=(1, 2))
    found = simulate.interpolate_cell(inside, places, patterns.spacing_nm)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("image", "places", "spacing", "words"),
    [
        (np.zeros(4), [[0, 0]], 0.1, "one cell"),
        (np.zeros((4, 4)), [0, 0], 0.1, "row and column"),
        (np.zeros((4, 4)), [[0, np.nan]], 0.1, "finite"),
        (np.zeros((4, 4)), [[0, 0]], (0.1, 0.0), "spacing_nm"),
    ],
)
def test_errors(image: np.ndarray, places: object, spacing: object, words: str) -> None:
    with pytest.raises(errors.ParameterError, match=words):
        simulate.interpolate_cell(image, places, spacing)  # type: ignore[arg-type]
