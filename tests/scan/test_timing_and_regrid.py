"""Time frames and regridding: nothing is lost, nothing is made."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from esteemcore import scan
from esteemcore.errors import ParameterError

shapes = st.tuples(st.integers(1, 12), st.integers(1, 12))


@given(shape=shapes, fraction=st.floats(0.05, 1), n_frames=st.integers(1, 9), depth=st.sampled_from([(), (3,), (2, 2)]))
@settings(deadline=None)
def test_time_frames_partition_the_visits(shape, fraction, n_frames, depth):
    full = scan.shuffled(shape, seed=1)
    pattern = scan.from_order(shape, full.order[: max(1, int(fraction * len(full)))])
    n = len(pattern)
    n_frames = min(n_frames, n)
    values = np.random.default_rng(0).integers(0, 60000, (n, *depth)).astype(np.uint16)
    frames, masks = scan.time_frames(pattern, values, n_frames=n_frames)
    assert frames.shape == (n_frames, *shape, *depth)
    assert frames.dtype == values.dtype
    assert frames.sum(dtype=np.int64) == values.sum(dtype=np.int64)
    np.testing.assert_array_equal(masks.sum(axis=0), pattern.mask)
    sizes = masks.sum(axis=(1, 2))
    assert sizes.max() - sizes.min() <= 1
    assert not frames[~masks].any()
    image = np.zeros((shape[0] * shape[1], *depth), np.uint16)
    image[pattern.order] = values
    np.testing.assert_array_equal(frames.sum(axis=0, dtype=np.uint16).reshape(image.shape), image)


def test_time_frames_follow_time():
    pattern = scan.shuffled((6, 6), seed=2)
    frames, masks = scan.time_frames(pattern, np.arange(36), n_frames=4)
    for k in range(4):
        assert set(frames[k][masks[k]]) == set(range(9 * k, 9 * k + 9))


def test_time_frames_refuse_what_is_ambiguous():
    twice = scan.from_order((2, 2), [0, 1, 0, 1], repeats=True)
    frames, masks = scan.time_frames(twice, [1, 2, 3, 4], n_frames=2)
    assert frames.sum() == 10
    assert masks.sum() == 4
    with pytest.raises(ParameterError, match="same frame"):
        scan.time_frames(twice, [1, 2, 3, 4], n_frames=1)
    with pytest.raises(ParameterError, match="36 visits"):
        scan.time_frames(scan.raster((6, 6)), np.zeros(35), n_frames=2)
    with pytest.raises(ParameterError, match="n_frames"):
        scan.time_frames(scan.raster((2, 2)), np.zeros(4), n_frames=5)


times = st.floats(0, 1e-2)
patterns = st.builds(
    lambda make, shape: make(shape),
    st.sampled_from(
        [
            scan.raster,
            scan.serpentine,
            scan.hilbert,
            scan.spiral,
            scan.shuffled,
            lambda s: scan.interlaced(s, step=2),
            lambda s: scan.sparse(s, 0.3, method="line_hop"),
        ]
    ),
    shapes,
)


@given(pattern=patterns, dwell=st.floats(1e-6, 1e-2), settle=times, flyback=times, overhead=times)
@settings(deadline=None)
def test_visit_times_agree_with_the_frame_time(pattern, dwell, settle, flyback, overhead):
    start = scan.visit_times(pattern, dwell_s=dwell, settle_s=settle, flyback_s=flyback)
    assert start[0] == settle
    assert (np.diff(start) >= (dwell + settle) * (1 - 1e-9)).all()
    exposure = scan.Exposure(
        current_pa=10, dwell_s=dwell, pixel_size_nm=0.1, shape=pattern.shape, pattern=pattern, settle_s=settle,
        flyback_s=flyback, frame_overhead_s=overhead,
    )  # fmt: skip
    last_return = flyback if len(pattern.line_starts) else 0
    assert exposure.frame_time_s == pytest.approx(start[-1] + dwell + last_return + overhead, rel=1e-9)


samples = st.integers(1, 25)


@given(n=samples, shape=shapes, depth=st.sampled_from([(), (3,), (2, 2)]), data=st.data())
@settings(deadline=None)
def test_regrid_conserves_counts_inside(n, shape, depth, data):
    unit = data.draw(hnp.arrays(float, (n, 2), elements=st.floats(0, 1)))
    values = data.draw(hnp.arrays(np.int32, (n, *depth), elements=st.integers(0, 1000)))
    positions = unit * (np.array(shape) - 1)
    grid, weights = scan.regrid(values, positions, shape)
    assert grid.shape == (*shape, *depth)
    expanded = weights.reshape(*shape, *([1] * len(depth)))
    np.testing.assert_allclose(np.nansum(grid * expanded, axis=(0, 1)), values.sum(axis=0), rtol=1e-9, atol=1e-9)
    assert weights.sum() == pytest.approx(n)
    assert (np.isnan(grid).all(axis=tuple(range(2, grid.ndim))) == (weights == 0)).all()
    mean = grid[weights > 0]
    assert (mean >= values.min() - 1e-6).all()
    assert (mean <= values.max() + 1e-6).all()


@given(pattern=patterns)
@settings(deadline=None)
def test_regrid_on_pixel_centres_is_the_image(pattern):
    values = np.random.default_rng(0).random(len(pattern))
    grid, weights = scan.regrid(values, pattern.positions, pattern.shape)
    np.testing.assert_array_equal(weights, pattern.visits)
    np.testing.assert_array_equal(grid.ravel()[pattern.order], values)


def test_regrid_reproduces_a_plane_and_averages_repeats():
    rng = np.random.default_rng(1)
    positions = rng.random((20000, 2)) * 8
    plane = 3 + 2 * positions[:, 0] - positions[:, 1]
    grid, _ = scan.regrid(plane, positions, (9, 9))
    y, x = np.mgrid[:9, :9]
    np.testing.assert_allclose(grid[1:-1, 1:-1], (3 + 2 * y - x)[1:-1, 1:-1], atol=0.15)
    grid, weights = scan.regrid([1.0, 4.0], [[0, 0], [0, 0]], (1, 1))
    assert (grid[0, 0], weights[0, 0]) == (2.5, 2.0)


def test_regrid_at_the_edge_keeps_what_falls_on_the_grid():
    _, weights = scan.regrid([1.0, 1.0, 1.0], [[-0.25, 0], [1.5, 1], [-1, 0]], (2, 2))
    np.testing.assert_allclose(weights, [[0.75, 0], [0, 0.5]])


@pytest.mark.parametrize(
    ("values", "positions"),
    [([1.0], [[0.0, np.nan]]), ([1.0, 2.0], [[0.0, 0.0]]), ([1.0], [0.0, 0.0]), ([1j], [[0.0, 0.0]])],
)
def test_regrid_refuses(values, positions):
    with pytest.raises(ParameterError):
        scan.regrid(values, positions, (2, 2))
