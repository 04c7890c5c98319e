"""The direct beam: found in every frame, without a disk finder, at low dose and with a strong descan."""

from __future__ import annotations

import numpy as np
import pytest

from esteemcore import diffraction
from esteemcore.diffraction import _beam_kernels
from esteemcore.errors import CalibrationError, ParameterError


def disk(shape, center, radius, height=40.0, tilt=(0.0, 0.0)):
    dy, dx = np.ogrid[: shape[0], : shape[1]]
    dy, dx = dy - center[0], dx - center[1]
    soft = np.clip(0.5 - (np.hypot(dy, dx) - radius) / 1.6, 0, 1)
    return 0.5 + height * soft * (1 + (tilt[0] * dy + tilt[1] * dx) / radius)


@pytest.mark.parametrize("share", [0.1, 1.0])
def test_a_descan_of_6_px_is_found_within_a_fifth_of_a_pixel(bent, rng, share) -> None:
    truth, frames = bent
    found = diffraction.find_descan(rng.binomial(frames, share).astype(np.uint16), truth.radius_px)
    off = found.center.reshape(-1, 2) - truth.center
    assert np.sqrt((off**2).sum(axis=1).mean()) < 0.2
    assert found.span_px > 5
    assert found.residual.shape == (20, 20, 2)
    assert np.isfinite(found.residual).mean() > 0.99


def test_errors_are_what_their_standard_error_says(rng) -> None:
    centers = rng.uniform(23, 25, (400, 2))
    rates = np.array([disk((48, 48), c, 4.0, 3.0) for c in centers])
    frames = rng.poisson(rates).astype(np.uint16).reshape(20, 20, 48, 48)
    found = diffraction.find_descan(frames, 4.0)
    measured = (found.center + found.residual).reshape(-1, 2)
    pulls = (measured - centers) / found.sigma_px.reshape(-1, 1)
    assert 0.8 < np.sqrt(np.mean(pulls**2)) < 1.25


def test_a_brighter_side_does_not_move_the_beam() -> None:
    frame = disk((48, 48), (24.3, 23.6), 4.0, 40.0, (0.4, -0.3))
    out = np.empty((1, 4))
    _beam_kernels.fit_beams(np.rint(frame[None]).astype(np.uint16), np.array([[24.0, 24.0]]), 4.0, 1.6, 3.0, out)
    assert out[0, :2] == pytest.approx([24.3, 23.6], abs=0.05)


def test_derivatives_are_those_of_the_rate() -> None:
    p = np.array([10.2, 9.7, 0.3, -0.2, 5.0, 0.4])
    row, other = np.empty(6), np.empty(6)
    for y, x in ((10, 10), (13, 11), (14, 10), (9, 13)):
        rate = _beam_kernels._derivatives(p, y, x, 4.0, 1.6, row)
        for i in range(6):
            moved = p.copy()
            moved[i] += 1e-6
            numeric = (_beam_kernels._derivatives(moved, y, x, 4.0, 1.6, other) - rate) / 1e-6
            assert row[i] == pytest.approx(numeric, abs=1e-3)


def test_elimination_agrees_with_numpy(rng) -> None:
    root = rng.standard_normal((6, 6))
    matrix, right = root @ root.T + np.eye(6), rng.standard_normal((6, 3))
    expected = np.linalg.solve(matrix, right)
    _beam_kernels._eliminate(matrix, right)
    np.testing.assert_allclose(right, expected, rtol=1e-9)


def test_brightest_disk_agrees_with_sums_over_all_places(rng) -> None:
    frame = rng.poisson(disk((40, 44), (17, 25), 5.0, 3.0)).astype(np.uint16)
    span = np.floor(np.sqrt(5.0**2 - np.arange(-5, 6) ** 2)).astype(np.int64)
    out = np.empty((1, 2))
    _beam_kernels.brightest_disks(frame[None], 18, 24, 6, span, out)
    y, x = np.mgrid[:40, :44]
    sums = {(r, c): frame[np.hypot(y - r, x - c) <= 5].sum() for r in range(12, 25) for c in range(18, 31)}
    most = max(sums.values())
    assert out[0] == pytest.approx(np.mean([place for place, value in sums.items() if value == most], axis=0))


def test_frames_without_counts_have_no_residual(frames, grains) -> None:
    data = frames.copy()
    data[2, 3:6] = 0
    found = diffraction.find_descan(data, grains.radius_px)
    assert np.isnan(found.residual[2, 3:6]).all()
    assert np.isfinite(found.center).all()


def test_another_radius_is_noticed(frames, grains) -> None:
    assert any("check radius_px" in note for note in diffraction.find_descan(frames, 6.0).notes)
    assert diffraction.find_descan(frames, grains.radius_px).notes == ()


def test_a_saturated_beam_is_noticed(frames, grains) -> None:
    clipped = np.minimum(frames, int(np.percentile(frames[..., 46:50, 46:50], 20)))
    found = diffraction.find_descan(clipped, grains.radius_px)
    assert any("saturated" in note for note in found.notes)
    off = found.center.reshape(-1, 2) - grains.center
    assert np.sqrt((off**2).sum(axis=1).mean()) < 0.2


def test_no_beam_is_an_error(rng) -> None:
    with pytest.raises(CalibrationError, match="no direct beam of radius 4 px"):
        diffraction.find_descan(rng.poisson(5.0, (4, 4, 48, 48)), 4.0)
    with pytest.raises(ParameterError, match="no counts at all"):
        diffraction.find_descan(np.zeros((4, 4, 48, 48), int), 4.0)


def test_a_beam_stop_and_a_radius_of_another_probe_are_errors(frames, grains) -> None:
    y, x = np.mgrid[:96, :96]
    stopped = np.where(np.hypot(y - 48, x - 48) < 7, 0, frames)
    with pytest.raises(CalibrationError, match=r"round \(row, column\) = \(4[78], 4[78]\).*beam stop"):
        diffraction.find_descan(stopped, grains.radius_px)
    with pytest.raises(CalibrationError, match="looks like a disk of radius"):
        diffraction.find_descan(frames, 15.0)


@pytest.mark.parametrize("radius", [0.5, 40, np.nan, -1])
def test_a_radius_that_cannot_be_is_refused(frames, radius) -> None:
    with pytest.raises(ParameterError, match="radius_px"):
        diffraction.find_descan(frames, radius)
