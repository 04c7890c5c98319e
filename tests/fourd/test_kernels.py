"""Every compiled loop against a NumPy twin."""

from __future__ import annotations

import numpy as np
import pytest

from esteemcore.events import events_from_frames
from esteemcore.fourd import _kernels, _ssb_kernels

N, PIXELS, POSITIONS = 7, 40, 5


@pytest.fixture
def frames(rng) -> np.ndarray:
    return rng.poisson(0.7, (N, PIXELS)).astype(np.uint16)


@pytest.fixture
def index(rng) -> np.ndarray:
    return rng.integers(0, POSITIONS, N)


def table(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    events = events_from_frames(frames[:, None])
    return events.offset, events.pixel, events.count


def scatter(index: np.ndarray, values: np.ndarray) -> np.ndarray:
    out = np.zeros((POSITIONS, *values.shape[1:]), values.dtype)
    np.add.at(out, index, values)
    return out


def test_projection(frames, index, rng) -> None:
    weight = rng.integers(-3, 9, (PIXELS, 3)).astype(np.int32)
    twin = scatter(index, frames.astype(np.int64) @ weight)
    out = np.zeros((POSITIONS, 3), np.int64)
    _kernels.project_events(*table(frames), index, weight, out)
    np.testing.assert_array_equal(out, twin)
    out[:] = 0
    _kernels.project_frames(frames, index, weight, out)
    np.testing.assert_array_equal(out, twin)
    real = np.zeros((POSITIONS, 3))
    _kernels.project_frames(frames.astype(np.float32), index, weight, real)
    np.testing.assert_allclose(real, twin)


def test_binning(frames, index, rng) -> None:
    label = rng.integers(-1, 6, PIXELS).astype(np.int32)
    one_hot = (label[:, None] == np.arange(6)).astype(np.int64)
    twin = scatter(index, frames @ one_hot)
    for dtype in (np.uint16, np.uint32, np.float32):
        out = np.zeros((POSITIONS, 6), dtype)
        _kernels.bin_events(*table(frames), index, label, out)
        np.testing.assert_array_equal(out, twin)
        out[:] = 0
        _kernels.bin_frames(frames, index, label, out)
        np.testing.assert_array_equal(out, twin)


def test_moments(frames, index) -> None:
    wide = frames.astype(np.int64)
    twins = wide.sum(0), (wide**2).sum(0), scatter(index, wide.sum(1))
    for call in (
        lambda *out: _kernels.moments_events(*table(frames), index, *out),
        lambda *out: _kernels.moments_frames(frames, index, np.int64(1), *out),
    ):
        out = np.zeros(PIXELS, np.int64), np.zeros(PIXELS, np.int64), np.zeros(POSITIONS, np.int64)
        call(*out)
        for got, twin in zip(out, twins, strict=True):
            np.testing.assert_array_equal(got, twin)


def test_squares_of_large_counts_do_not_wrap() -> None:
    frames = np.full((3, 2), 65535, np.uint16)
    for call in (
        lambda *out: _kernels.moments_events(*table(frames), np.zeros(3, np.int64), *out),
        lambda *out: _kernels.moments_frames(frames, np.zeros(3, np.int64), np.int64(1), *out),
    ):
        first, second, total = np.zeros(2, np.int64), np.zeros(2, np.int64), np.zeros(1, np.int64)
        call(first, second, total)
        assert second.tolist() == [3 * 65535**2] * 2
        assert total.tolist() == [6 * 65535]


def test_mean_counts(rng) -> None:
    counts = rng.poisson(3, (150, 6)).astype(np.uint16)
    visits = rng.integers(0, 3, 150)
    inverse = np.divide(1, visits, out=np.zeros(150), where=visits > 0).astype(np.float32)
    fill = rng.random(6).astype(np.float32)
    out = np.zeros((150, 6), np.float32)
    _ssb_kernels.mean_counts(counts, inverse, fill, out)
    np.testing.assert_allclose(out, np.where(visits[:, None] > 0, counts * inverse[:, None], fill), rtol=1e-6)
    totals = np.zeros(6, np.int64)
    _ssb_kernels.bin_totals(counts, totals)
    np.testing.assert_array_equal(totals, counts.sum(0))


def test_accumulation(rng) -> None:
    spectrum = (rng.normal(size=(4, 30)) + 1j * rng.normal(size=(4, 30))).astype(np.complex64)
    place = rng.permutation(30)[:11]
    weight = (rng.normal(size=(4, 11)) + 1j * rng.normal(size=(4, 11))).astype(np.complex64)
    out = np.zeros(11, np.complex64)
    _ssb_kernels.accumulate_weighted(spectrum, place, weight, out)
    np.testing.assert_allclose(out, (weight * spectrum[:, place]).sum(0), rtol=1e-5)


def test_overlaps_with_aberrations(rng) -> None:
    """gamma from its definition, with the aberration phase evaluated directly instead of from a table."""
    radius, width = 6.0, 0.4
    k = rng.uniform(-6, 6, (200, 2))
    k = k[np.hypot(*k.T) < 6]
    q = rng.uniform(-9, 9, (25, 2))
    pixels, label = rng.integers(1, 5, len(k)).astype(float), rng.integers(0, 4, len(k))

    def chi(row, column):
        return 0.11 * (row**2 + column**2) + 0.02 * row * column + 0.003 * row**3

    def aperture(vector):
        edge = np.clip((radius - np.hypot(*vector.T)) / width + 0.5, 0, 1)
        return edge * np.exp(-1j * chi(*vector.T))

    twin = np.zeros((4, len(q)), complex)
    for s, shift in enumerate(q):
        here = aperture(k)
        gamma = aperture(k - shift) * here.conj() - here * aperture(k + shift).conj()
        np.add.at(twin[:, s], label, pixels * gamma)
    axis = np.linspace(-6.4, 6.4, 257)
    real, imaginary = np.zeros((2, 4, len(q)))
    _ssb_kernels.bin_overlaps(
        *np.ascontiguousarray(q.T), *np.ascontiguousarray(k.T), pixels, label, radius, width,
        chi(axis[:, None], axis[None, :]), 128 / 6.4, real, imaginary,
    )  # fmt: skip
    np.testing.assert_allclose(real + 1j * imaginary, twin, atol=2e-3 * np.abs(twin).max())
