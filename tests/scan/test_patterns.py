"""Full scans: every position once, for any shape, and the steps that each curve promises."""

import doctest
import importlib
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from esteemcore import scan
from esteemcore.errors import ParameterError

shapes = st.tuples(st.integers(1, 40), st.integers(1, 40))
FULL = {
    "raster": scan.raster,
    "serpentine": scan.serpentine,
    "interlaced": lambda shape: scan.interlaced(shape, step=3),
    "hilbert": scan.hilbert,
    "spiral": scan.spiral,
    "shuffled": lambda shape: scan.shuffled(shape, seed=5),
}


def step_lengths(pattern):
    return np.linalg.norm(np.diff(pattern.positions, axis=0), axis=1)


@pytest.mark.parametrize("name", FULL)
@given(shape=shapes)
@settings(max_examples=60, deadline=None)
def test_every_position_is_visited_once(name, shape):
    pattern = FULL[name](shape)
    assert pattern.shape == shape
    assert pattern.order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(pattern.order), np.arange(shape[0] * shape[1]))
    assert pattern.mask.all()
    assert pattern.mask.shape == shape
    np.testing.assert_array_equal(pattern.positions @ (shape[1], 1), pattern.order)
    assert pattern.provenance.function == f"scan.{name}"
    assert pattern.name == name


@pytest.mark.parametrize("curve", [scan.serpentine, scan.hilbert, scan.spiral])
@given(shape=shapes)
@settings(max_examples=100, deadline=None)
def test_curves_go_from_neighbour_to_neighbour(curve, shape):
    assert (step_lengths(curve(shape)) == 1).all()


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 97), (97, 1), (2, 3), (2, 1001), (1001, 2), (89, 64), (64, 89), (7, 500)]
)
def test_hilbert_on_awkward_shapes(shape):
    pattern = scan.hilbert(shape)
    assert sorted(pattern.order) == list(range(shape[0] * shape[1]))
    assert (step_lengths(pattern) == 1).all()


@pytest.mark.parametrize("power", [1, 2, 5])
def test_hilbert_on_a_power_of_two_fills_quadrant_after_quadrant_at_every_scale(power):
    n = 2**power
    positions = scan.hilbert((n, n)).positions.astype(int)
    for scale in range(1, power):
        size = 2**scale
        blocks = positions.reshape(-1, size * size, 2) // size
        assert (blocks == blocks[:, :1]).all()


def test_hilbert_keeps_neighbours_close_in_time():
    shape = (64, 64)
    times = {}
    for name in ("hilbert", "serpentine"):
        when = np.empty(64 * 64)
        when[FULL[name](shape).order] = np.arange(64 * 64)
        when = when.reshape(shape)
        times[name] = np.median(np.abs(np.diff(when, axis=0)))
    assert times["hilbert"] < 0.25 * times["serpentine"]


@given(shape=shapes)
def test_spiral_grows_around_the_centre(shape):
    pattern = scan.spiral(shape)
    ny, nx = shape
    depth = np.minimum(
        np.minimum(pattern.positions[:, 0], ny - 1 - pattern.positions[:, 0]),
        np.minimum(pattern.positions[:, 1], nx - 1 - pattern.positions[:, 1]),
    )
    assert (np.diff(depth) <= 0).all()


@given(shape=shapes, step=st.integers(1, 50))
def test_interlaced_rows_are_step_apart_within_a_pass(shape, step):
    rows = scan.interlaced(shape, step=step).positions[:: shape[1], 0]
    passes = [rows[rows % step == first] for first in range(min(step, shape[0]))]
    np.testing.assert_array_equal(np.concatenate(passes), rows)
    assert all((np.diff(one) == step).all() for one in passes)


def test_shuffled_depends_on_the_seed_only():
    np.testing.assert_array_equal(scan.shuffled((9, 8), seed=3).order, scan.shuffled((9, 8), seed=3).order)
    assert (scan.shuffled((9, 8), seed=3).order != scan.shuffled((9, 8), seed=4).order).any()


def test_shuffled_first_visits_are_equally_likely():
    first = np.bincount([scan.shuffled((2, 5), seed=s).order[0] for s in range(2000)], minlength=10)
    chi2 = ((first - 200) ** 2 / 200).sum()
    assert chi2 < 27.9  # 0.1 % level, 9 degrees of freedom


@given(shape=shapes, data=st.data())
def test_from_order_keeps_the_order(shape, data):
    n = shape[0] * shape[1]
    order = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=30))
    pattern = scan.from_order(shape, order, repeats=True)
    assert pattern.order.tolist() == order
    assert pattern.visits.sum() == len(order) == len(pattern)
    if len(set(order)) < len(order):
        with pytest.raises(ParameterError, match="repeats=True"):
            scan.from_order(shape, order)


def test_from_positions_keeps_fractions_and_rounds_to_the_nearest_pixel():
    pattern = scan.from_positions((4, 5), [[0.4, -0.5], [3.4, 4.2], [1.6, 2]], name="mine")
    assert pattern.order.tolist() == [0, 19, 12]
    np.testing.assert_array_equal(pattern.positions, [[0.4, -0.5], [3.4, 4.2], [1.6, 2]])
    again = scan.from_positions((4, 5), scan.hilbert((4, 5)).positions)
    np.testing.assert_array_equal(again.order, scan.hilbert((4, 5)).order)


@pytest.mark.parametrize(
    "make",
    [
        lambda: scan.raster((0, 5)),
        lambda: scan.raster((5,)),
        lambda: scan.hilbert((2.5, 3)),
        lambda: scan.interlaced((4, 4), step=0),
        lambda: scan.shuffled((4, 4), seed=-1),
        lambda: scan.shuffled((4, 4), seed=0.5),
        lambda: scan.from_order((2, 2), []),
        lambda: scan.from_order((2, 2), [4]),
        lambda: scan.from_order((2, 2), [0.5]),
        lambda: scan.from_order((2, 2), [0, 1], line_starts=[1, 0]),
        lambda: scan.from_positions((2, 2), [[0, np.nan]]),
        lambda: scan.from_positions((2, 2), [[0, 1.6]]),
        lambda: scan.from_positions((2, 2), [0, 1]),
        lambda: scan.from_positions((2, 2), [[0, 0], [0.1, 0.1]]),
        lambda: scan.ScanPattern((2, 2), [0], positions=[[1, 1]]),
    ],
)
def test_what_cannot_be_scanned_is_refused(make):
    with pytest.raises(ParameterError):
        make()


def test_patterns_are_read_only_and_leave_the_callers_array_alone():
    mine = np.array([2, 1])
    pattern = scan.from_order((2, 2), mine)
    mine[0] = 0
    assert pattern.order.tolist() == [2, 1]
    for array in (pattern.order, pattern.positions, pattern.mask, pattern.visits):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_patterns_can_be_sent_to_a_worker():
    pattern = pickle.loads(pickle.dumps(scan.sparse((8, 8), 0.5, seed=2)))
    np.testing.assert_array_equal(pattern.order, scan.sparse((8, 8), 0.5, seed=2).order)


@pytest.mark.parametrize(
    "module",
    ["curves", "dose_map", "exposure", "ledger", "ordered", "pattern", "regridding", "sparse_patterns", "timing"],
)
def test_examples(module):
    result = doctest.testmod(importlib.import_module(f"esteemcore.scan.{module}"))
    assert result.attempted > 0
    assert result.failed == 0


def test_everything_named_is_there():
    assert all(hasattr(scan, name) for name in scan.__all__)
