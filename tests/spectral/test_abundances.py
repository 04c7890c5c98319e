"""Abundances of given spectra against solvers of one pixel at a time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_spectra import phases
from scipy.optimize import minimize, nnls

from esteemcore.spectral.abundances import nonnegative


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.floats(0, 0.99))
def test_every_pixel_has_the_least_squares_of_the_solver_for_one(seed, n, alike) -> None:
    rng = np.random.default_rng(seed)
    spectra = alike + (1 - alike) * rng.standard_normal((n, 12))
    data = rng.standard_normal((20, 12)) + rng.standard_normal((20, n)) @ spectra
    found = nonnegative(spectra @ spectra.T, data @ spectra.T)
    assert (found >= 0).all()
    for amounts, pixel in zip(found, data, strict=True):
        expected, distance = nnls(spectra.T, pixel)
        assert np.linalg.norm(pixel - amounts @ spectra) == pytest.approx(distance, rel=1e-7, abs=1e-7)
        if np.linalg.cond(spectra) < 100:
            np.testing.assert_allclose(amounts, expected, rtol=1e-6, atol=1e-6)


def test_shares_of_a_whole_are_the_constrained_least_squares(rng) -> None:
    spectra = phases(rng, 4, 30) * 100
    data = rng.dirichlet(np.ones(4), 15) @ spectra + rng.normal(0, 2, (15, 30))
    found = nonnegative(spectra @ spectra.T, data @ spectra.T, sum_to_one=True)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    assert (found < 1e-9).any()
    for amounts, pixel in zip(found, data, strict=True):
        whole = {"type": "eq", "fun": lambda a: a.sum() - 1}
        expected = minimize(
            lambda a, pixel=pixel: np.square(pixel - a @ spectra).sum(),
            np.full(4, 0.25), bounds=[(0, None)] * 4, constraints=[whole], options={"ftol": 1e-12, "maxiter": 500},
        )  # fmt: skip
        assert np.square(pixel - amounts @ spectra).sum() <= expected.fun * (1 + 1e-7)


@pytest.mark.parametrize("apart", [1.0, 1e-2, 1e-3])
def test_shares_of_spectra_that_are_alike_are_as_exact_as_those_of_others(rng, apart) -> None:
    """Two shares have one free number, whose best value within 0 and 1 is known; a third spectrum has no share."""
    first = phases(rng, 1, 40)[0] * 1000
    second, third = (first * (1 + apart * rng.uniform(-1, 1, 40)) for _ in range(2))
    between = first - second
    true = rng.uniform(-0.2, 1.2, 50)
    data = second + true[:, None] * between
    spectra = np.stack([first, second])
    found = nonnegative(spectra @ spectra.T, data @ spectra.T, sum_to_one=True)
    np.testing.assert_allclose(found[:, 0], true.clip(0, 1), atol=1e-8)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    three = np.stack([first, second, third])
    inside = (true > 0) & (true < 1)
    found = nonnegative(three @ three.T, data[inside] @ three.T, sum_to_one=True)
    np.testing.assert_allclose(found, np.stack([true, 1 - true, 0 * true], axis=1)[inside], atol=1e-7)


def test_equal_spectra_have_equal_shares(rng) -> None:
    spectra = np.repeat(phases(rng, 1, 20), 2, axis=0)
    np.testing.assert_allclose(nonnegative(spectra @ spectra.T, 3 * spectra[:1] @ spectra.T, sum_to_one=True), 0.5)


def test_equal_spectra_share_what_there_is(rng) -> None:
    spectra = np.repeat(phases(rng, 1, 20), 2, axis=0)
    found = nonnegative(spectra @ spectra.T, (5 * spectra[:1]) @ spectra.T)
    assert found.sum() == pytest.approx(5)


def test_a_pixel_of_nothing_has_nothing(rng) -> None:
    spectra = phases(rng, 3, 20)
    np.testing.assert_array_equal(nonnegative(spectra @ spectra.T, np.zeros((2, 3))), 0)
