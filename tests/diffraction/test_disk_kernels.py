"""Every compiled loop of the disks against a NumPy twin."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from scipy import ndimage, stats

from esteemcore.diffraction import _event_kernels, _fit_kernels, _frame_kernels, _lane_intrinsics, _score_kernels, look

NOTHING = np.zeros((0, 2)), np.zeros((0, 3)), np.zeros((0, 3))


def looking(shape=(40, 47), radius=4.0, significance=4.0, valid=None, distortion=None, center=(np.nan, np.nan)):
    valid = np.ones(shape, bool) if valid is None else valid
    matrix = np.eye(2) if distortion is None else distortion
    return look.make_look(valid, radius, significance, matrix, np.array(center, float), NOTHING)


def disk(span):
    reach = len(span) // 2
    return (np.abs(np.arange(-reach, reach + 1)) <= span[:, None]).astype(float)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("rows", [40, 41, 42, 43])
def test_sums_over_disks_are_convolutions(rng, dtype, rows) -> None:
    frame = rng.poisson(3, (rows, 47)).astype(dtype)
    seen = looking(frame.shape)
    prefix = np.zeros((rows + 2 * seen.pad + 1, 47 + 2 * seen.pad), np.float64 if dtype == np.float32 else np.int32)
    _score_kernels.sum_columns(frame, seen.pad, prefix)
    for span in (seen.inner_span, seen.outer_span):
        twin = ndimage.convolve(frame.astype(float), disk(span), mode="constant")
        out = np.zeros(frame.shape, prefix.dtype)
        _score_kernels.sum_disks(prefix, seen.pad, span, out)
        np.testing.assert_allclose(out, twin, atol=1e-6)
        for y, x in ((0, 0), (rows - 1, 46), (17, 5)):
            assert _score_kernels.sum_disk(prefix, seen.pad, span, y, x) == pytest.approx(twin[y, x])


def significance(inner, outer, share, speckle=0.0):
    logs = np.log(np.maximum(np.arange(500), 1))
    return _score_kernels.significance(inner, outer, share, np.log(share), np.log1p(-share), speckle, logs)


def test_significance_is_that_of_a_binomial_share() -> None:
    """Counts in the disk, given those in both, are binomial: the score is their signed deviance."""
    for inner, outer, share in ((20, 30, 0.3), (9, 9, 0.35), (400, 1000, 0.33)):
        twin = 2 * (stats.binom.logpmf(inner, outer, inner / outer) - stats.binom.logpmf(inner, outer, share))
        assert significance(inner, outer, share) == pytest.approx(twin**0.5)
    assert significance(10, 30, 0.35) == 0
    assert significance(400.5, 1000.5, 0.33) == pytest.approx(significance(400, 1000, 0.33), rel=0.01)
    assert significance(400, 1000, 0.33, 0.05) < significance(400, 1000, 0.33)


@pytest.mark.parametrize("rate", [0.05, 3.0])
def test_the_scores_of_all_places(rng, rate) -> None:
    """Made from the sums over the disks, where these are bright enough, by their definition."""
    frame = rng.poisson(rate, (40, 47)).astype(np.uint16)
    frame[18:24, 20:26] += rng.poisson(3, (6, 6)).astype(np.uint16)
    seen = looking(frame.shape, significance=2.0)
    inner, outer = (ndimage.convolve(frame.astype(float), disk(s), mode="constant") for s in seen[3:5])
    twin = np.zeros(frame.shape)
    for y, x in np.argwhere(seen.share > 0):
        twin[y, x] = significance(inner[y, x], outer[y, x], seen.share[y, x], seen.speckle)
    twin[twin < 2.0] = 0
    prefix = np.zeros((40 + 2 * seen.pad + 1, 47 + 2 * seen.pad), np.int32)
    _score_kernels.sum_columns(frame, seen.pad, prefix)
    score, place = np.zeros(frame.shape), np.zeros(frame.size, np.int64)
    around = np.zeros(frame.shape, np.int32)
    n = _score_kernels.score_sums(prefix, seen, inner.astype(np.int32), around, score, place)
    np.testing.assert_allclose(score, twin, atol=1e-9)
    assert sorted(place[:n]) == np.flatnonzero(twin).tolist()
    np.testing.assert_array_equal(around[twin > 0], outer[twin > 0])


def summed(frame, seen):
    """The sums of the electrons of a frame over both disks, from the electrons in any order."""
    sums = _event_kernels.make_sums(*frame.shape, seen)
    pixel = np.random.default_rng(1).permutation(np.flatnonzero(frame)).astype(np.uint32)
    _event_kernels.sum_events(pixel, frame.ravel()[pixel].astype(np.uint16), seen.valid, sums)
    return sums


@pytest.mark.parametrize("radius", [4.0, 8.3])
def test_electrons_add_themselves_to_the_disks_that_they_lie_in(rng, radius) -> None:
    """The same sums as over the frame, at its edges and round bad pixels as well, and of more columns than lanes."""
    frame, valid = rng.poisson(0.05, (40, 47)), rng.random((40, 47)) < 0.9
    frame[0, 0] = frame[-1, -1] = 3
    seen = looking(frame.shape, radius, valid=valid)
    sums = summed(frame, seen)
    np.testing.assert_array_equal(sums.inner, ndimage.convolve(frame * valid, disk(seen.inner_span), mode="constant"))
    prefix = np.zeros((40 + 2 * seen.pad + 1, 47 + 2 * seen.pad), np.int32)
    _score_kernels.sum_columns(frame * valid, seen.pad, prefix)
    np.testing.assert_array_equal(sums.prefix[:-1, : prefix.shape[1]], prefix)


def test_the_scores_of_all_places_from_electrons(rng) -> None:
    """By the definition of the score, on frames that are no multiple of the lanes wide."""
    frame = rng.poisson(0.05, (40, 47))
    frame[18:24, 20:26] += rng.poisson(3, (6, 6))
    seen = looking(frame.shape, significance=2.0)
    inner, outer = (ndimage.convolve(frame, disk(span), mode="constant") for span in seen[3:5])
    twin = np.zeros(frame.shape)
    for y, x in np.argwhere(seen.share > 0):
        twin[y, x] = significance(inner[y, x], outer[y, x], seen.share[y, x], seen.speckle)
    twin[twin < 2.0] = 0
    sums, score = summed(frame, seen), np.zeros(frame.shape)
    place, where = np.zeros(frame.size, np.int64), np.zeros(frame.size, np.int64)
    n = _event_kernels.score_events(sums, seen, score, place, where)
    np.testing.assert_allclose(score, twin, atol=1e-9)
    assert place[:n].tolist() == np.flatnonzero(twin).tolist()
    np.testing.assert_array_equal(sums.outer[twin > 0], outer[twin > 0])


@njit
def lanes(out, at, pattern, ends):
    _lane_intrinsics.add_lanes(out, at, pattern, 2, np.int16(5))
    bits = _lane_intrinsics.lanes_from(out, at, np.int16(1))
    _lane_intrinsics.add_from(out, at + 40, at)
    _lane_intrinsics.sum_ends(out, at, ends + 3, ends, out, 90)
    return bits


@pytest.mark.parametrize("at", [0, 3, 18])
def test_vector_instructions_touch_their_lanes_only(rng, at) -> None:
    some, all_of_them = _lane_intrinsics.LANES, _lane_intrinsics.LOOK_LANES
    out, pattern = rng.integers(-9, 9, 125).astype(np.int16), rng.integers(-1, 1, 20).astype(np.int16)
    twin, ends = out.copy(), np.array([0, 7, 4])
    bits = lanes(out, at, pattern, ends)
    twin[at : at + some] += np.int16(5) & pattern[2 : 2 + some]
    assert bits == sum(1 << k for k in range(all_of_them) if twin[at + k] >= 1)
    twin[at + 40 : at + 40 + all_of_them] += twin[at : at + all_of_them]
    twin[90 : 90 + all_of_them] = sum(
        twin[at + i + 3 : at + i + 3 + all_of_them] - twin[at + i : at + i + all_of_them] for i in ends
    )
    np.testing.assert_array_equal(out, twin)


def test_the_best_places_are_maxima_that_keep_their_distance(rng) -> None:
    score = ndimage.gaussian_filter(rng.random((60, 70)), 2.0)
    score = np.where(score > np.quantile(score, 0.7), score, 0)
    seen = looking((60, 70))
    place, best = np.flatnonzero(score), np.zeros(look.MOST_DISKS, np.int64)
    n = _score_kernels.best_places(score, place, len(place), seen, best)
    values = score.ravel()[best[:n]]
    assert n > 5
    assert (np.diff(values) <= 0).all()
    y, x = np.divmod(best[:n], 70)
    spacing = np.hypot(y[:, None] - y, x[:, None] - x)[~np.eye(n, dtype=bool)]
    assert spacing.min() >= look.SPACING_RADII * 4
    reach = max(1, int(0.5 * look.SPACING_RADII * 4))
    highest = ndimage.maximum_filter(score, 2 * reach + 1)
    np.testing.assert_array_equal(values, highest.ravel()[best[:n]])


def rates(p, ys, xs, outward, radius, edge, matrix):
    """The model of the fit."""
    background, height, tilt_u, tilt_v, slope, y0, x0 = p
    u, v = matrix @ np.stack([ys - y0, xs - x0])
    s = np.clip(0.5 - (np.hypot(u, v) - radius) / edge, 0, 1)
    under = background * (1 + slope * (ys * outward[0] + xs * outward[1]) / 4) ** 4
    return under + (height + (tilt_u * u + tilt_v * v) / radius) * s**2 * (3 - 2 * s)


def pixels():
    """The window of a fit: its coordinates, and how it is padded."""
    ys, xs = (a.ravel().astype(np.float32) for a in np.mgrid[-9:10, -9:10])
    window = np.zeros((4, _fit_kernels.padded(ys.size)), np.float32)
    window[:2, : ys.size] = ys, xs
    return ys, xs, window


def tabled(radius, edge):
    """The soft disk of the model as the table of a probe would hold it."""
    r = np.arange(int((radius + 3) * look.PROFILE_PER_PX)) / look.PROFILE_PER_PX
    s = np.clip(0.5 - (r - radius) / edge, 0, 1)
    return np.stack([s**2 * (3 - 2 * s), 6 * s * (1 - s) / edge]).astype(np.float32)


@pytest.mark.parametrize("profile", [np.zeros((2, 0), np.float32), tabled(5.0, look.EDGE_PX)], ids=["soft", "table"])
def test_the_fit_finds_the_likeliest_disk(rng, profile) -> None:
    """Gradient zero at the result, and the errors are those of the Fisher information of the model."""
    matrix = np.array([[1.03, 0.02], [0.02, 0.98]])
    seen = looking((31, 31), radius=5.0, distortion=np.linalg.inv(matrix))._replace(iterations=60)
    ys, xs, window = pixels()
    outward, true = np.array([0.6, 0.8]), np.array([2.0, 30.0, 6.0, -9.0, -0.05, 0.3, -0.4])
    counts = rng.poisson(rates(true, ys, xs, outward, 5.0, seen.edge, matrix))
    n, p, result = ys.size, np.zeros(7), np.zeros(7)
    window[2, :n] = counts
    work, normal = np.full((_fit_kernels.WORK_ROWS, window.shape[1]), np.nan, np.float32), np.zeros((8, 7))
    mean, sd = np.zeros(3), np.array([0.35, 0.35, 0.1])
    _fit_kernels.first_guess(window, n, np.array([25.0, 0.0, 0.0]), mean, 5.0, p)
    beyond = np.hypot(ys, xs) > 6.2
    np.testing.assert_allclose(p, [counts[beyond].mean(), 25, 0, 0, 0, 0, 0], rtol=1e-5)
    assert _fit_kernels.fit_disk(
        window, n, outward, mean, sd, 5.0, seen.edge, matrix, profile, 1e-3, 60, work, normal, p, result
    )

    def loss(q):
        model = rates(q, ys, xs, outward, 5.0, seen.edge, matrix)
        return (counts * np.log(model) - model).sum()

    step = 1e-4 * np.array([1, 10, 10, 10, 0.1, 1, 1])
    gradient = np.array([(loss(p + s) - loss(p - s)) for s in np.diag(step)]) / (2 * step)
    gradient[2:4] -= p[2:4] / (0.35 * p[1]) ** 2
    gradient[4] -= p[4] / 0.1**2
    derivative = np.array(
        [(rates(p + s, ys, xs, outward, 5.0, seen.edge, matrix) - rates(p - s, ys, xs, outward, 5.0, seen.edge, matrix))
         for s in np.diag(step)]
    ) / (2 * step[:, None])  # fmt: skip
    information = derivative / rates(p, ys, xs, outward, 5.0, seen.edge, matrix) @ derivative.T
    information[[2, 3], [2, 3]] += 1 / (0.35 * p[1]) ** 2
    information[4, 4] += 1 / 0.1**2
    covariance = np.linalg.inv(information)
    assert np.abs(gradient * np.sqrt(np.diag(covariance))).max() < (0.3 if profile.size else 0.05)  # a table has steps
    np.testing.assert_allclose(result[:2], np.diag(covariance)[5:], rtol=0.02)
    np.testing.assert_allclose(result[4:6], np.diag(covariance)[2:4] / p[1] ** 2, rtol=0.02)
    assert result[6] == pytest.approx(covariance[4, 4], rel=0.02)
    np.testing.assert_allclose(p, true, atol=4 * np.sqrt(np.diag(covariance)).max())


def test_rates_of_a_neighbour() -> None:
    ys, xs, window = pixels()
    matrix = np.array([[1.03, 0.02], [0.02, 0.98]])
    window[3] = 1
    _fit_kernels.add_disk(window, ys.size, 2.2, -6.3, 4.0, 2.0, matrix, np.zeros((2, 0), np.float32), 7.0)
    twin = 1 + rates((0, 7.0, 0, 0, 0, 2.2, -6.3), ys, xs, (0, 0), 4.0, 2.0, matrix)
    np.testing.assert_allclose(window[3, : ys.size], twin, atol=1e-5)
    window[3] = 1
    _fit_kernels.add_disk(window, ys.size, 2.2, -6.3, 4.0, 2.0, matrix, tabled(4.0, 2.0), 7.0)
    np.testing.assert_allclose(window[3, : ys.size], twin, atol=0.3)  # a table has steps


def test_the_centre_of_the_counts(rng) -> None:
    ys, xs, window = pixels()
    window[2, : ys.size] = counts = rng.poisson(2 + 9 * (np.hypot(ys - 0.7, xs + 1.1) < 4))
    weight = np.where(np.hypot(ys, xs) <= 5, counts - 2.0, 0)
    found = _fit_kernels.center_of_counts(window, ys.size, 4.0, 2.0)
    np.testing.assert_allclose(
        found, ((weight * ys).sum() / weight.sum(), (weight * xs).sum() / weight.sum()), rtol=1e-4
    )
    assert _fit_kernels.center_of_counts(window, ys.size, 4.0, 50.0) == (0, 0)


def test_only_good_pixels_near_by_are_gathered(rng) -> None:
    frame, valid = rng.poisson(4, (20, 24)).astype(np.uint8), rng.random((20, 24)) < 0.8
    window = np.full((4, 256), np.nan, np.float32)
    n = _fit_kernels.gather(frame, valid, 3, 20, 6.3, window)
    y, x = np.mgrid[:20, :24]
    near = (np.hypot(y - 3, x - 20) <= 6.3) & valid
    assert n == near.sum()
    np.testing.assert_array_equal(window[:, :n], [y[near] - 3, x[near] - 20, frame[near], np.zeros(n)])
    assert not window[:, n : _fit_kernels.padded(n)].any()


def test_a_whole_window_is_gathered_as_any_other(rng) -> None:
    """The same pixels, but from the middle outward."""
    frame = rng.poisson(4, (40, 47)).astype(np.int32)
    seen = looking(frame.shape)
    assert seen.clear[20, 11]
    assert not seen.clear[3, 11]
    one, other = (np.full((4, 512), np.nan, np.float32) for _ in range(2))
    n = _fit_kernels.gather(frame, seen.valid, 20, 11, seen.reach, one)
    m = _fit_kernels.gather_whole(frame, 20, 11, seen.window_places, seen.window, other)
    assert n == m
    outward = np.hypot(other[0, :n], other[1, :n])
    assert (np.diff(outward) >= 0).all()
    by_rows = np.lexsort((other[1, :n], other[0, :n]))
    np.testing.assert_array_equal(one[:, :n], other[:, :n][:, by_rows])
    assert not other[:, n : _fit_kernels.padded(n)].any()
    np.testing.assert_array_equal(one[:, n:], other[:, n:])


def test_a_halo_does_not_stand_out_and_a_reflection_does() -> None:
    y, x = np.mgrid[:80, :80]
    ring = 60 * np.exp(-(((np.hypot(y - 40, x - 40) - 22) / 4) ** 2))
    spot = 60.0 * (np.hypot(y - 40, x - 62) < 4)
    seen = looking((80, 80))
    area = disk(seen.inner_span)
    for frame, low, high in ((ring, 0, 1.5), (spot, 8, np.inf), (ring + spot, 8, np.inf)):
        sums = ndimage.convolve(frame, area, mode="constant")
        value = _score_kernels.stands_out(sums, 40, 62, 40.0, 40.0, seen, np.zeros((3, 128)))
        assert low <= value <= high
    assert _score_kernels.stands_out(sums, 40, 44, 40.0, 40.0, seen, np.zeros((3, 128))) == np.inf


@pytest.mark.parametrize("mean", [0.7, 400.0])
def test_the_number_at_a_rank(rng, mean) -> None:
    """Counted from the lowest on where many are equal, sorted where all differ."""
    for n in (8, 61, 128):
        values = rng.poisson(mean, 128).astype(float)
        for k in (0, n // 3, n - 1):
            assert _score_kernels._low_value(values.copy(), n, k) == np.sort(values[:n])[k]


@pytest.mark.parametrize("electrons", [150, 6000])
def test_the_same_rows_from_frames_and_from_events(grains, electrons) -> None:
    """Few electrons are summed one by one, many as a frame, and the fits start and end in the same places."""
    from esteemcore.events import events_from_frames

    rng = np.random.default_rng(4)
    some = rng.poisson(np.stack([grains.expected(p) for p in range(36, 42)]) * electrons / 6000).astype(np.uint16)
    seen = looking((96, 96), radius=4.2)
    table = events_from_frames(some)
    assert (np.diff(table.offset) < _frame_kernels.FEW * 96 * 96).all() == (electrons == 150)
    numbers = [np.zeros(6, np.int64) for _ in range(2)]
    rows = [np.zeros((6 * look.MOST_DISKS, _frame_kernels.COLUMNS), np.float32) for _ in range(2)]
    known, first = np.zeros((0, _frame_kernels.COLUMNS), np.float32), np.full((6, 2), -1)
    n = _frame_kernels.find_in_frames(some, seen, np.int32(0), known, first, numbers[0], rows[0])
    m = _frame_kernels.find_in_events(
        table.offset, table.pixel, table.count, 96, 96, seen, known, first, numbers[1], rows[1]
    )
    assert n == m >= 6
    np.testing.assert_array_equal(numbers[0], numbers[1])
    np.testing.assert_array_equal(rows[0][:n], rows[1][:n])


def test_disks_that_are_known_are_fitted_again(frames) -> None:
    """Fitted again with nothing new to know, places move by a part of their errors; what fails stays as it was."""
    some = frames[3, :6]
    seen = looking((96, 96), radius=4.2)
    known, first = np.zeros((0, _frame_kernels.COLUMNS), np.float32), np.full((6, 2), -1)
    number, again = np.zeros(6, np.int64), np.zeros(6, np.int64)
    rows, later = (np.zeros((6 * look.MOST_DISKS, _frame_kernels.COLUMNS), np.float32) for _ in range(2))
    n = _frame_kernels.find_in_frames(some, seen, np.int32(0), known, first, number, rows)
    ends = np.cumsum(number)
    first = np.stack([ends - number, ends], axis=1)
    first[2] = -1
    m = _frame_kernels.find_in_frames(some, seen, np.int32(0), rows[:n], first, again, later)
    assert n == m
    np.testing.assert_array_equal(number, again)
    np.testing.assert_array_equal(rows[ends[1] : ends[2]], later[ends[1] : ends[2]])  # looked for
    fitted = np.isfinite(rows[:n, 3])
    moved = np.hypot(*(rows[:n, :2] - later[:n, :2]).T)[fitted]
    assert (moved < rows[:n, 3][fitted]).mean() > 0.97
    np.testing.assert_array_equal(rows[:n, 4], later[:n, 4])
