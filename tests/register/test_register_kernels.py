"""Compiled loops of the registration against NumPy."""

import numpy as np
import pytest
from scipy import ndimage

from esteemcore.register import _row_kernels as rows
from esteemcore.register import _splat_kernels as splats
from esteemcore.register.grid import Grid, gaussian_taps
from esteemcore.register.jitter import Jitter, Smoother, learn
from esteemcore.register.rigid import Correlator


@pytest.fixture
def frame(rng):
    return rng.random((9, 11)).astype(np.float32), (rng.random((9, 11)) < 0.8).astype(np.float32)


def spread_in_numpy(image, weight, moved, offset, shape):
    """Bilinear scatter, one corner after the other."""
    total, weights = np.zeros(shape), np.zeros(shape)
    row, column = np.mgrid[: image.shape[0], : image.shape[1]]
    y, x = row + moved[..., 0] + offset, column + moved[..., 1] + offset
    y0, x0 = np.floor(y).astype(int), np.floor(x).astype(int)
    inside = (y0 >= 0) & (y0 < shape[0] - 1) & (x0 >= 0) & (x0 < shape[1] - 1)
    for a in (0, 1):
        for b in (0, 1):
            share = np.abs(1 - a - (y - y0)) * np.abs(1 - b - (x - x0)) * weight
            np.add.at(total, (y0[inside] + a, x0[inside] + b), (share * image)[inside])
            np.add.at(weights, (y0[inside] + a, x0[inside] + b), share[inside])
    return total, weights


@pytest.mark.parametrize("reach", [0.4, 6.0])
def test_frames_are_spread_bilinearly(frame, rng, reach) -> None:
    image, weight = frame
    lines = rng.normal(0, reach, (9, 2))
    samples = np.broadcast_to(lines[:, None], (9, 11, 2))
    expected = spread_in_numpy(image, weight, samples, 3.0, (15, 17))
    for kernel, moved in ((splats.splat_lines, lines), (splats.splat_field, np.ascontiguousarray(samples))):
        total, weights = np.zeros((15, 17), np.float32), np.zeros((15, 17), np.float32)
        kernel(image, weight, moved, 3.0, 1.0, total, weights)
        np.testing.assert_allclose(total, expected[0], atol=1e-5)
        np.testing.assert_allclose(weights, expected[1], atol=1e-5)


def test_lines_along_columns_are_spread_like_their_samples(frame, rng) -> None:
    image, weight = frame
    lines = rng.normal(0, 0.6, (11, 2))
    grids = [Grid((9, 11), 5) for _ in range(2)]
    grids[0].add(image, weight, lines, axis=1)
    grids[1].add(image, weight, np.ascontiguousarray(np.broadcast_to(lines[None], (9, 11, 2))), axis=1)
    np.testing.assert_allclose(grids[0].total, grids[1].total, atol=1e-5)
    grids[0].add(image, weight, lines, axis=1, sign=-1.0)
    assert np.abs(grids[0].total).max() < 1e-5


def test_blur_is_a_gaussian(rng) -> None:
    image = rng.random((20, 31)).astype(np.float32)
    result = np.empty_like(image)
    splats.blur(image, gaussian_taps(1.4), result)
    expected = ndimage.gaussian_filter(image, 1.4, mode="constant", radius=5)
    np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(20, 31), (21, 30), (3, 2), (4, 9)])
def test_a_halved_blur_is_every_other_pixel(rng, shape) -> None:
    image = rng.random(shape).astype(np.float32)
    taps = gaussian_taps(1.4)
    whole, result = np.empty_like(image), np.empty_like(image[::2, ::2])
    splats.blur(image, taps, whole)
    expected = ndimage.gaussian_filter(image, 1.4, mode="constant", radius=5)
    np.testing.assert_allclose(whole, expected, atol=1e-5)
    splats.blur_halved(image, taps, result)
    np.testing.assert_allclose(result, expected[::2, ::2], atol=1e-5)


def test_gradient_is_that_of_numpy(rng) -> None:
    total, weights = rng.random((2, 12, 14)).astype(np.float32) + 1
    mean, gy, gx = (np.empty_like(total) for _ in range(3))
    splats.mean_and_gradient(total, weights, np.float32(0.1), np.float32(0), mean, gy, gx)
    expected = np.gradient(total / weights)
    np.testing.assert_allclose(mean, total / weights, rtol=1e-6)
    np.testing.assert_allclose(gy[1:-1, 1:-1], expected[0][1:-1, 1:-1], atol=1e-5)
    np.testing.assert_allclose(gx[1:-1, 1:-1], expected[1][1:-1, 1:-1], atol=1e-5)


def test_normal_equations_are_weighted_sums_of_gradients(frame, rng) -> None:
    image, weight = frame
    mean, gy, gx = rng.random((3, 19, 21)).astype(np.float32) + 0.1
    lines = rng.normal(0, 0.7, (9, 2))
    gain, level, noise, slope, floor = 1.3, -0.2, 0.1, 0.5, 0.3
    normal, right = np.empty((9, 3)), np.empty((9, 2))
    chi, sums = np.empty((9, 2)), np.empty(rows.STATISTICS)
    rows.line_normal(
        image, weight, mean, gy, gx, lines, 4.0, gain, level, noise, slope, floor, normal, right, chi, sums
    )
    row, column = np.mgrid[:9, :11]
    at = [row + lines[:, :1] + 4.0, column + lines[:, 1:] + 4.0]
    r, dy, dx = (ndimage.map_coordinates(a.astype(float), at, order=1) for a in (mean, gain * gy, gain * gx))
    m = gain * r + level
    w = weight / np.maximum(noise + slope * m, floor)
    e = image - m
    np.testing.assert_allclose(normal, np.stack([w * dy * dy, w * dy * dx, w * dx * dx], -1).sum(1), rtol=1e-4)
    np.testing.assert_allclose(right, np.stack([w * dy * e, w * dx * e], -1).sum(1), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(chi[:, 0], (w * e**2).sum(1), rtol=1e-4)
    expected = [weight, weight * r, weight * r * r, weight * image, weight * r * image]
    expected += [weight * e**2, weight * e**2 * m, weight * m * m]
    np.testing.assert_allclose(sums, [a.sum() for a in expected], rtol=1e-4)

    samples = np.ascontiguousarray(np.broadcast_to(lines[:, None], (9, 11, 2)))
    each, its_right = np.empty((3, 9, 11)), np.empty((2, 9, 11))
    rows.sample_normal(
        image, weight, mean, gy, gx, samples, 4.0, gain, level, noise, slope, floor, each, its_right
    )  # fmt: skip
    np.testing.assert_allclose(each.sum(axis=2).T, normal, rtol=1e-4)
    np.testing.assert_allclose(its_right.sum(axis=2).T, right, rtol=1e-3, atol=1e-4)


def test_smoothing_solves_the_whole_system_and_knows_its_covariance(rng) -> None:
    n, correlation, step = 7, np.array([0.7, 0.3]), np.array([0.2, 0.05])
    scale = rng.uniform(0.5, 2, n)
    normal, right = np.empty((n, 3)), rng.normal(0, 3, (n, 2))
    matrix = np.zeros((2 * n, 2 * n))
    for i in range(n):
        a = rng.normal(0, 1, (2, 2))
        a = a @ a.T
        normal[i] = a[0, 0], a[0, 1], a[1, 1]
        matrix[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] += a
        for axis in (0, 1):
            c, q, j = correlation[axis], step[axis] / scale[i], 2 * i + axis
            if i == 0:
                matrix[j, j] += (1 - c**2) / q
            else:
                matrix[j, j] += 1 / q
                matrix[j - 2, j - 2] += c**2 / q
                matrix[j, j - 2] -= c / q
                matrix[j - 2, j] -= c / q
    state, variance, lagged = np.empty((n, 2)), np.empty((n, 2, 2)), np.empty((n, 2, 2))
    rows.smooth_lines(normal, right, correlation, step, scale, state, variance, lagged)
    covariance = np.linalg.inv(matrix)
    np.testing.assert_allclose(state.ravel(), covariance @ right.ravel(), rtol=1e-8)
    for i in range(n):
        here = slice(2 * i, 2 * i + 2)
        np.testing.assert_allclose(variance[i], covariance[here, here], rtol=1e-8)
        if i < n - 1:
            np.testing.assert_allclose(lagged[i], covariance[here, 2 * i + 2 : 2 * i + 4], rtol=1e-8, atol=1e-12)

    correlation_of_lines, tails = np.array([0.6, 0.2]), 5.0
    moments, weights = np.empty((3, n - 1, 2)), np.ones(n)
    rows.line_moments(state, variance, lagged, moments)
    second = state[:, :, None] * state[:, None] + variance
    now, before = (np.einsum("iaa->ia", part) for part in (second[1:], second[:-1]))
    cross = state[1:] * state[:-1] + np.einsum("iaa->ia", lagged[:-1])
    np.testing.assert_allclose(moments, [now, before, cross])
    rows.rescale_steps(moments, correlation_of_lines, step, tails, weights)
    c = correlation_of_lines
    steps = ((now - 2 * c * cross + c**2 * before) / step).sum(axis=1)
    np.testing.assert_allclose(weights, [1.0, *((tails + 2) / (tails + steps))])


def test_the_jitter_is_learnt_from_noisy_lines(rng) -> None:
    true, lines, information = 0.8, 400, 20.0
    jitter = Jitter()
    smoothers, equations = [], []
    for _ in range(8):
        x = np.zeros((lines, 2))
        for i in range(1, lines):
            x[i] = true * x[i - 1] + rng.normal(0, [0.2, 0.3])
        seen = x + rng.normal(0, information**-0.5, x.shape)
        smoothers.append(Smoother(lines))
        equations.append((np.tile([information, 0.0, information], (lines, 1)), information * seen))
    for _ in range(60):
        for smoother, (normal, right) in zip(smoothers, equations, strict=True):
            smoother.solve(normal, right, jitter)
        jitter = learn(smoothers) or jitter
    assert jitter.correlation == pytest.approx([true, true], abs=0.06)
    assert jitter.step == pytest.approx([0.04, 0.09], rel=0.25)


@pytest.mark.parametrize("shape", [(32, 48), (33, 47)])
@pytest.mark.parametrize("moved", [(0.0, 0.0), (1.6, -2.3), (-14.0, 20.4)])
def test_the_peak_near_a_place_is_that_of_the_whole_correlation(rng, shape, moved) -> None:
    correlator = Correlator(shape)
    frame = correlator.transform(ndimage.gaussian_filter(rng.normal(size=shape), 1.0).astype(np.float32), None)
    reference = correlator.moved(frame, np.array(moved))
    expected = np.array(moved) + np.array([0.9, -1.2])
    whole, likeness = correlator.peak(reference, frame, expected, 1e3)
    np.testing.assert_allclose(correlator.peak_near(reference, frame, expected, 3.0), whole, atol=1e-3)
    np.testing.assert_allclose(whole, moved, atol=0.1)
    assert likeness > 0.5
