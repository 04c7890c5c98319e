"""Sparse scans: exact counts, and the statistics that each method promises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from esteemcore import scan
from esteemcore.errors import ParameterError
from esteemcore.scan.sparse_patterns import jitter_cells

METHODS = ("uniform", "jittered", "poisson_disk", "line_hop")
shapes = st.tuples(st.integers(1, 30), st.integers(1, 30))
fractions = st.floats(0.001, 1.0)


def smallest_distance(pattern):
    return cKDTree(pattern.positions).query(pattern.positions, k=2)[0][:, 1].min()


def low_frequency_power(mask, fraction, below):
    """Power below a part of the mean sampling frequency, relative to that of independent positions."""
    power = np.abs(np.fft.fft2(mask - mask.mean())) ** 2 / (mask.size * fraction * (1 - fraction))
    fy, fx = np.meshgrid(*(np.fft.fftfreq(n) for n in mask.shape), indexing="ij")
    radius = np.hypot(fy, fx)
    return power[(radius > 0) & (radius < below * np.sqrt(fraction))].mean()


@pytest.mark.parametrize("method", METHODS)
@given(shape=shapes, fraction=fractions, seed=st.integers(0, 2**32))
@settings(max_examples=80, deadline=None)
def test_exact_number_of_distinct_positions(method, shape, fraction, seed):
    pattern = scan.sparse(shape, fraction, seed=seed, method=method)
    n = shape[0] * shape[1]
    assert len(pattern) == max(1, round(fraction * n))
    assert np.unique(pattern.order).size == len(pattern)
    assert pattern.mask.sum() == len(pattern)
    assert pattern.name == f"sparse_{method}"
    assert pattern.seed == pattern.provenance.seed == seed
    assert pattern.line_starts[0] == 0


@pytest.mark.parametrize("method", METHODS)
def test_seed_decides(method):
    first, same, other = (scan.sparse((40, 50), 0.2, seed=s, method=method) for s in (1, 1, 2))
    np.testing.assert_array_equal(first.order, same.order)
    assert (first.mask != other.mask).any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fraction", [0.07, 0.25, 0.5, 0.7])
def test_no_position_is_preferred(method, fraction):
    runs = 300
    hits = sum(scan.sparse((20, 20), fraction, seed=s, method=method).mask.astype(int) for s in range(runs))
    expected = runs * fraction
    tolerance = 5 * np.sqrt(runs * fraction * (1 - fraction))
    if method in ("uniform", "poisson_disk"):
        assert np.abs(hits - expected).max() < tolerance
    else:  # cells and bands of whole pixels differ in size, each pixel of one being equally likely
        assert hits.min() > 0.35 * expected
        assert np.abs(hits.mean() - expected) < 1e-9


@pytest.mark.parametrize("method", ["uniform", "jittered", "poisson_disk"])
@given(shape=shapes, fraction=fractions)
@settings(max_examples=40, deadline=None)
def test_visits_run_row_by_row(method, shape, fraction):
    pattern = scan.sparse(shape, fraction, method=method)
    assert (np.diff(pattern.order) > 0).all()
    rows = pattern.order // shape[1]
    np.testing.assert_array_equal(np.unique(rows, return_index=True)[1], pattern.line_starts)


def test_uniform_is_the_start_of_a_shuffled_scan():
    start = scan.shuffled((20, 30), seed=7).order[:60]
    np.testing.assert_array_equal(np.sort(start), scan.sparse((20, 30), 0.1, seed=7).order)


@given(shape=shapes, data=st.data())
def test_cells_tile_the_scan(shape, data):
    count = data.draw(st.integers(1, shape[0] * shape[1]))
    cells = np.stack(jitter_cells(*shape, count), axis=1)
    assert len(cells) == count
    cover = np.zeros(shape, dtype=int)
    for y, x, height, width in cells:
        cover[y : y + height, x : x + width] += 1
    assert (cover == 1).all()


@pytest.mark.parametrize("seed", range(5))
def test_jittered_has_one_sample_in_each_cell(seed):
    mask = scan.sparse((64, 32), 1 / 16, seed=seed, method="jittered").mask
    assert (mask.reshape(16, 4, 8, 4).sum(axis=(1, 3)) == 1).all()


@pytest.mark.parametrize("fraction", [0.01, 0.05, 0.1, 0.2, 0.3])
def test_poisson_disk_keeps_its_distance(fraction):
    for seed in range(3):
        blue = smallest_distance(scan.sparse((128, 128), fraction, seed=seed, method="poisson_disk"))
        uniform = smallest_distance(scan.sparse((128, 128), fraction, seed=seed, method="uniform"))
        assert blue > uniform
        assert blue >= 0.6 / np.sqrt(fraction)


@pytest.mark.parametrize("fraction", [0.02, 0.1, 0.25, 0.4, 0.5, 0.75])
def test_poisson_disk_has_no_clumps(fraction):
    below = 0.4 if fraction <= 0.5 else 0.4 * np.sqrt((1 - fraction) / fraction)
    power = {
        method: np.mean(
            [
                low_frequency_power(scan.sparse((128, 128), fraction, seed=s, method=method).mask, fraction, below)
                for s in range(4)
            ]
        )
        for method in ("uniform", "poisson_disk")
    }
    assert 0.8 < power["uniform"] < 1.2
    assert power["poisson_disk"] < 0.25


def test_poisson_disk_is_not_a_grid():
    """The largest peak of the power spectrum is far below that of a lattice, all of whose power is in a few peaks."""
    mask = scan.sparse((128, 128), 0.05, seed=1, method="poisson_disk").mask
    power = np.abs(np.fft.fft2(mask - mask.mean())) ** 2
    assert power.max() / mask.sum() ** 2 < 0.05


def test_poisson_disk_on_a_line():
    gaps = np.diff(scan.sparse((1, 1000), 0.05, seed=1, method="poisson_disk").order)
    assert gaps.min() >= 10
    assert gaps.max() <= 40


@pytest.mark.parametrize("method", ["jittered", "line_hop"])
@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.25, 0.5])
def test_few_clumps_in_jittered_and_line_hop(method, fraction):
    """Counts in squares of 32 px vary less than those of independent positions."""
    counts = [scan.sparse((256, 256), fraction, seed=s, method=method).mask for s in range(3)]
    variance = np.var([c.reshape(8, 32, 8, 32).sum(axis=(1, 3)) for c in counts])
    assert variance < 0.7 * 1024 * fraction * (1 - fraction)


@given(shape=shapes, fraction=fractions, seed=st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_line_hop_moves_forwards_with_small_hops(shape, fraction, seed):
    pattern = scan.sparse(shape, fraction, seed=seed, method="line_hop")
    bands = np.split(pattern.positions, pattern.line_starts[1:])
    last_row = -1
    for band in bands:
        rows, columns = band.T
        forwards, hops = np.diff(columns), np.abs(np.diff(rows))
        assert (forwards >= 1).all()
        assert (hops <= forwards).all()
        assert rows.min() > last_row  # the slow axis never goes back
        last_row = rows.max()


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, np.nan, np.inf, "much"])
def test_impossible_fraction(fraction):
    with pytest.raises(ParameterError, match="fraction"):
        scan.sparse((8, 8), fraction)


def test_unknown_method():
    with pytest.raises(ParameterError, match="poisson_disk"):
        scan.sparse((8, 8), 0.5, method="blue")


def test_darts_compiled_and_plain_agree():
    from esteemcore.scan import _kernels

    rng = np.random.default_rng(0)
    arguments = (
        rng.permutation(12 * 9), (12, 9), 20, np.array([5, 4, 2, 1]),
        np.ones((5, 5), np.float32) / 25, np.array([0.1, 0.3, np.inf], np.float32),
    )  # fmt: skip
    plain = _kernels.throw_darts.py_func(*arguments)
    np.testing.assert_array_equal(_kernels.throw_darts(*arguments), plain)
