"""Sparse and block-wise read matrices give what dense ones give, without becoming dense."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse

from esteemcore.errors import ParameterError
from esteemcore.lowrank import RowBlocks, noise_weights, operators, pca, truncated_svd


class CountedReads:
    """An array on a disk: slices only, and how many bytes were asked for at most at once."""

    def __init__(self, array) -> None:
        self._array, self.shape, self.dtype, self.largest, self.reads = array, array.shape, array.dtype, 0, 0

    def __getitem__(self, key):
        block = self._array[key]
        self.largest, self.reads = max(self.largest, block.nbytes), self.reads + 1
        return block


def counts(rng, pixels=(18, 21), channels=64, per_pixel=30.0):
    """Return sparse counts of three phases."""
    spectra = rng.gamma(0.5, size=(3, channels))
    shares = rng.dirichlet([0.3] * 3, size=pixels)
    rate = shares @ spectra
    return rng.poisson(rate * per_pixel / rate.sum(axis=-1).mean())


def kinds(data, monkeypatch):
    """Return the same matrix as compressed rows and as blocks of a few image rows."""
    monkeypatch.setattr(operators, "BLOCK_BYTES", 3 * 8 * data[0].size)
    return scipy.sparse.csr_array(data.reshape(-1, data.shape[-1])), RowBlocks(CountedReads(data))


@pytest.mark.parametrize("center", [False, True])
@pytest.mark.parametrize("noise", ["gaussian", "poisson"])
def test_every_kind_has_the_components_of_the_dense_matrix(rng, monkeypatch, noise, center) -> None:
    data = counts(rng)
    n = 2 if center else 3
    dense = pca(data.reshape(-1, 64), n, noise=noise, center=center, least_counts=10, method="exact")
    for matrix in kinds(data, monkeypatch):
        other = pca(matrix, n, noise=noise, center=center, least_counts=10)
        np.testing.assert_allclose(other.singular_values, dense.singular_values, rtol=2e-3)
        np.testing.assert_allclose(other.mean, dense.mean, atol=1e-12)
        error = np.linalg.norm(other.reconstruct() - dense.reconstruct()) / np.linalg.norm(dense.reconstruct())
        assert error < 0.02
        assert other.sum_of_squares == pytest.approx(dense.sum_of_squares)


def test_squares_of_rows_and_columns_are_those_of_the_dense_matrix(rng, monkeypatch) -> None:
    data, weights = counts(rng).astype(np.int8), rng.random(64)
    squares = np.square(data.reshape(-1, 64).astype(float))
    for matrix in (data.reshape(-1, 64), *kinds(data, monkeypatch)):
        np.testing.assert_allclose(operators.row_squares(matrix, weights), squares @ weights)
        np.testing.assert_allclose(operators.column_squares(matrix), squares.sum(axis=0))


def test_every_kind_is_scaled_alike_and_left_as_it_was(rng, monkeypatch) -> None:
    data, row, column = counts(rng), rng.random(18 * 21), rng.random(64)
    expected = data.reshape(-1, 64) * np.outer(row, column)
    for matrix in (data.reshape(-1, 64), *kinds(data, monkeypatch)):
        found = operators.scaled(matrix, row, column)
        assert type(found) is type(matrix)
        np.testing.assert_allclose(operators.times(found, np.eye(64)), expected)
        np.testing.assert_array_equal(operators.times(matrix, np.eye(64)), data.reshape(-1, 64))
    assert operators.scaled(data.reshape(-1, 64), row.astype(np.float32), column.astype(np.float32)).dtype == np.float32


def test_lanczos_agrees_with_lapack_to_rounding(rng) -> None:
    matrix = counts(rng).reshape(-1, 64).astype(float)
    exact = truncated_svd(matrix, 5, method="exact")
    for kind in (matrix, scipy.sparse.csr_array(matrix), RowBlocks(matrix), scipy.sparse.coo_matrix(matrix)):
        for a, b in zip(exact, truncated_svd(kind, 5, method="lanczos"), strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-8, atol=1e-8 * np.abs(a).max())


@pytest.mark.parametrize("n", [6, 7, 50])
def test_all_components_of_a_sparse_matrix(rng, n) -> None:
    matrix = rng.poisson(0.5, (9, 7))
    u, s, vt = truncated_svd(scipy.sparse.csr_matrix(matrix), n)
    r = min(n, 7)
    np.testing.assert_allclose(s, np.linalg.svd(matrix, compute_uv=False)[:r], atol=1e-9)
    np.testing.assert_allclose(u.T @ u, np.eye(r), atol=1e-9)
    np.testing.assert_allclose(vt @ vt.T, np.eye(r), atol=1e-9)


def test_zeros_have_zero_singular_values() -> None:
    for matrix in (scipy.sparse.csr_array((30, 20)), RowBlocks(np.zeros((5, 6, 20)))):
        for method in ("auto", "lanczos", "randomized"):
            u, s, _ = truncated_svd(matrix, 3, method=method)
            np.testing.assert_array_equal(s, 0)
            np.testing.assert_allclose(u.T @ u, np.eye(3), atol=1e-12)


def test_fewer_directions_than_asked_for(rng) -> None:
    matrix = np.outer(rng.random(40), rng.random(30))
    s = truncated_svd(scipy.sparse.csr_array(matrix), 4)[1]
    assert s[0] == pytest.approx(np.linalg.norm(matrix))
    np.testing.assert_allclose(s[1:], 0, atol=1e-6)


def test_blocks_are_read_one_at_a_time(rng, monkeypatch) -> None:
    data = counts(rng, (40, 11))
    monkeypatch.setattr(operators, "BLOCK_BYTES", 4 * 8 * data[0].size)
    source = CountedReads(data)
    pca(RowBlocks(source), 3, noise="poisson")
    assert source.largest == 4 * data[0].nbytes
    assert source.reads == 10 * (1 + 6 + 1)  # ten blocks: weights, decomposition, sum of squares


def test_a_mask_keeps_its_rows_in_order(rng, monkeypatch) -> None:
    data = counts(rng)
    mask = rng.random(data.shape[:2]) < 0.4
    monkeypatch.setattr(operators, "BLOCK_BYTES", 5 * 8 * data[0].size)
    rows = RowBlocks(data, mask)
    assert rows.shape == (mask.sum(), 64)
    np.testing.assert_array_equal(rows.times(np.eye(64)), data[mask])
    np.testing.assert_array_equal(rows.transposed_times(np.eye(len(data[mask]))), data[mask].T)
    np.testing.assert_array_equal(rows.sums().rows, data[mask].sum(axis=1))


def test_sparse_counts_are_compressed_while_they_are_read_once(rng, monkeypatch) -> None:
    data = counts(rng, (40, 11), per_pixel=3.0).astype(np.uint8)
    mask = rng.random(data.shape[:2]) < 0.7
    monkeypatch.setattr(operators, "BLOCK_BYTES", 7 * data[0].nbytes)
    source = CountedReads(data)
    for chosen in (None, mask):
        rows = RowBlocks(source, chosen).compressed(10_000, mean=0.2)
        np.testing.assert_array_equal(rows.toarray(), data.reshape(-1, 64) if chosen is None else data[mask])
    assert source.largest <= 7 * data[0].nbytes
    assert source.reads == 2 * 6
    for other in (data.astype(float), data.astype(int) - 1, data + 1):
        assert RowBlocks(other).compressed(10_000_000, mean=0.2) is None
    assert RowBlocks(data).compressed(100, mean=0.2) is None


def test_chunks_are_not_read_in_parts(rng, monkeypatch) -> None:
    source = CountedReads(counts(rng, (20, 11)).astype(float))
    source.chunks = (6, 11, 64)
    monkeypatch.setattr(operators, "BLOCK_BYTES", 3 * source._array[0].nbytes)
    np.testing.assert_array_equal(RowBlocks(source).times(np.eye(64)), source._array.reshape(-1, 64))
    assert source.reads == 4
    source.chunks = (20, 11, 64)  # more than fits
    RowBlocks(source).sums()
    assert source.reads == 4 + 7


def test_the_weights_of_few_events_are_held_back(rng) -> None:
    stray = rng.poisson(0.02, (2000, 50))
    stray[:1000] += rng.poisson(1.0, (1000, 50))
    plain, held = (noise_weights(stray, least_counts=n)[0] for n in (0, 10))
    assert np.median(plain[1000:]) / np.median(plain[:1000]) > 5
    assert np.median(held[1000:]) / np.median(held[:1000]) < 3
    many = rng.poisson(500.0, (60, 40))
    for a, b in zip(noise_weights(many), noise_weights(many, least_counts=10), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3)


def test_what_is_wrong_is_said_in_words(rng) -> None:
    holes = scipy.sparse.csr_array(np.array([[1.0, np.nan], [0, 1]]))
    for call in (lambda: truncated_svd(holes, 1), lambda: noise_weights(holes)):
        with pytest.raises(ParameterError, match="NaN or infinite"):
            call()
    with pytest.raises(ParameterError, match="NaN or infinite"):
        pca(RowBlocks(np.array([[1.0, np.inf], [0, 1]])), 1)
    with pytest.raises(ParameterError, match="dense matrices"):
        truncated_svd(scipy.sparse.csr_array(np.eye(4)), 1, method="exact")
    with pytest.raises(ParameterError, match=r"mask has shape \(3,\); expected \(4, 5\)"):
        RowBlocks(np.ones((4, 5, 3)), np.ones(3, bool))
    with pytest.raises(ParameterError, match=r"shape \(3,\)"):
        RowBlocks(np.ones(3))
    with pytest.raises(ParameterError, match="least_counts is -1"):
        noise_weights(np.ones((3, 3)), least_counts=-1)
