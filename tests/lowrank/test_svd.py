"""Truncated SVD against LAPACK, and against what theory says of its error."""

from __future__ import annotations

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from esteemcore.errors import ParameterError
from esteemcore.lowrank import truncated_svd


def spectra(rng, n=600, m=400, rank=5, noise=0.1):
    scores, loadings = rng.normal(size=(n, rank)) * np.arange(rank, 0, -1), rng.normal(size=(rank, m))
    return scores @ loadings + noise * rng.normal(size=(n, m))


@given(
    matrix=hnp.arrays(float, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.floats(-1e6, 1e6)),
    n=st.integers(1, 14),
)
def test_small_matrices_are_decomposed_exactly(matrix, n) -> None:
    u, s, vt = truncated_svd(matrix, n)
    r = min(n, *matrix.shape)
    assert (u.shape, s.shape, vt.shape) == ((matrix.shape[0], r), (r,), (r, matrix.shape[1]))
    scale = max(np.abs(matrix).max(), 1e-300)
    np.testing.assert_allclose(s / scale, np.linalg.svd(matrix / scale, compute_uv=False)[:r], atol=1e-9)
    np.testing.assert_allclose(u.T @ u, np.eye(r), atol=1e-9)
    # what is left is orthogonal to what was taken
    np.testing.assert_allclose(u.T @ (matrix - (u * s) @ vt) / scale, 0, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_randomised_equals_exact_where_components_stand_out(rng, dtype) -> None:
    matrix = spectra(rng).astype(dtype)
    exact, fast = truncated_svd(matrix, 5, method="exact"), truncated_svd(matrix, 5, method="randomized")
    assert fast[0].dtype == fast[1].dtype == fast[2].dtype == dtype
    np.testing.assert_allclose(fast[1], exact[1], rtol=1e-4)
    for a, b in zip(exact, fast, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3 * np.abs(a).max())


def test_in_pure_noise_the_error_is_near_the_best_possible(rng) -> None:
    matrix = rng.normal(size=(500, 300))
    best = np.sqrt((np.linalg.svd(matrix, compute_uv=False)[10:] ** 2).sum())
    u, s, vt = truncated_svd(matrix, 10, method="randomized")
    assert np.linalg.norm(matrix - (u * s) @ vt) < 1.01 * best


def test_the_seed_decides_and_signs_are_fixed(rng) -> None:
    matrix = spectra(rng)
    first, second = truncated_svd(matrix, 4, seed=3), truncated_svd(matrix, 4, seed=3)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    vt = truncated_svd(-matrix, 4)[2]
    assert (vt[np.arange(4), np.abs(vt).argmax(axis=1)] > 0).all()


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros(3), r"shape \(3,\)"),
        (np.zeros((0, 3)), r"shape \(0, 3\)"),
        (np.zeros((2, 2), complex), "dtype complex128"),
        ([[1.0, np.nan]], "NaN or infinite"),
    ],
)
def test_what_is_no_matrix_is_refused_in_words(matrix, message) -> None:
    with pytest.raises(ParameterError, match=message):
        truncated_svd(matrix, 1)
    with pytest.raises(ParameterError, match="n_components is 0"):
        truncated_svd(np.eye(2), 0)
    with pytest.raises(ParameterError, match="method is 'fast'"):
        truncated_svd(np.eye(2), 1, method="fast")
