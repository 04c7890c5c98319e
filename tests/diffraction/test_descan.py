"""The direct beam: found in every frame, without a disk finder, at low dose and with a strong descan."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from scipy import ndimage

from esteemcore import diffraction, simulate
from esteemcore.diffraction import _beam_kernels, beam_radius, counts
from esteemcore.errors import CalibrationError, CancelledError, ParameterError


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


def told_radius(data, radius) -> tuple[float | None, bool]:
    """The radius that was found, None where it was refused, and whether another one was told."""
    try:
        found = diffraction.find_descan(data, radius)
    except CalibrationError:
        return None, True
    return found.radius_px, any("check radius_px" in note for note in found.notes)


@pytest.mark.parametrize("name", ["grains", "moving", "squares", "rings"])
def test_the_radius_is_that_of_the_beam_whatever_was_asked_for(name, frames, grains, bent, rng) -> None:
    """Also of a probe with rings, and of one whose reflections are near."""
    if name == "grains":
        data, true = frames, grains.radius_px
    elif name == "moving":
        data, true = rng.binomial(bent[1], 0.2).astype(np.uint16), bent[0].radius_px
    elif name == "squares":
        places = [(32 + 16 * np.sin(a), 32 + 16 * np.cos(a)) for a in 0.2 + np.pi / 2 * np.arange(4)]
        rate = disk((64, 64), (32, 32), 4.0, 8.0) + sum(disk((64, 64), p, 4.0, 3.0) for p in places)
        data, true = rng.poisson(rate, (4, 5, 64, 64)), 4.0
    else:
        probe = simulate.polycrystal(
            (8, 8), (96, 96), electrons=800, radius_px=6.0, bullseye=True, spacing_px=22, seed=3
        )
        data, true = probe.frames(1), 6.0
    for factor in (0.5, 0.7, 1.5, 2.0, 2.5):
        if factor * true < 96 / 6:
            assert told_radius(data, factor * true)[1], factor
    for factor in (0.9, 1.0, 1.1):
        found, doubted = told_radius(data, factor * true)
        assert found == pytest.approx(true, rel=0.1)
        assert not doubted
    assert diffraction.find_descan(frames, grains.radius_px).notes == ()


@pytest.mark.parametrize("leak", [0.03, 0.06])
def test_reflections_round_a_beam_stop_that_leaks_are_told(rng, leak) -> None:
    y, x = np.mgrid[:64, :64]
    places = [(32 + 16 * np.sin(a), 32 + 16 * np.cos(a)) for a in 0.2 + np.pi / 2 * np.arange(4)]
    around = sum(3.0 * (np.hypot(y - p[0], x - p[1]) < 4) for p in places) + 0.02
    beam = np.hypot(y - 32, x - 32)
    stopped = rng.poisson(np.where(beam < 7, leak, around), (6, 6, 64, 64))
    assert any("behind a stop" in note for note in diffraction.find_descan(stopped, 4.0).notes)
    whole = rng.poisson(around + 8.0 * (beam < 4), (6, 6, 64, 64))
    assert diffraction.find_descan(whole, 4.0).notes == ()


def test_masked_pixels_do_not_matter_and_a_masked_beam_is_an_error(frames, grains) -> None:
    mask = np.ones((96, 96), bool)
    mask[70:76, 20:30] = False
    noisy = np.where(mask, frames, 60000)
    np.testing.assert_allclose(
        diffraction.find_descan(noisy, grains.radius_px, mask=mask).center,
        diffraction.find_descan(frames, grains.radius_px).center,
        atol=0.02,
    )
    y, x = np.mgrid[:96, :96]
    with pytest.raises(CalibrationError, match="behind a beam stop"):
        diffraction.find_descan(frames, grains.radius_px, mask=np.hypot(y - 48, x - 48) > 7)
    with pytest.raises(ParameterError, match=r"mask has shape \(4, 4\)"):
        diffraction.find_descan(frames, grains.radius_px, mask=np.ones((4, 4)))


def test_few_frames_are_not_saturated_by_chance(rng) -> None:
    told = [
        diffraction.find_descan(rng.poisson(disk((40, 40), (20, 20), 4.0, 8.0), (1, 4, 40, 40)), 4.0) for _ in range(20)
    ]
    assert not any("saturated" in note for found in told for note in found.notes)


def test_it_can_be_cancelled_and_tells_its_progress(frames, grains) -> None:
    told: list[float] = []
    diffraction.find_descan(frames, grains.radius_px, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1
    stop = threading.Event()
    stop.set()
    with pytest.raises(CancelledError):
        diffraction.find_descan(frames, grains.radius_px, cancel=stop)


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


@pytest.mark.parametrize("share", [0.05, 1.0])
def test_the_radius_is_measured_if_it_is_not_given(bent, rng, share) -> None:
    truth, frames = bent
    found = diffraction.find_descan(rng.binomial(frames, share).astype(np.uint16))
    assert found.radius_px == pytest.approx(truth.radius_px, abs=0.2)
    off = found.center.reshape(-1, 2) - truth.center
    assert np.sqrt((off**2).sum(axis=1).mean()) < 0.3
    assert found.notes == ()


@pytest.mark.parametrize("radius", [2.0, 2.5, 3.0, 5.0, 9.0])
def test_beams_of_any_size_are_measured(rng, radius) -> None:
    frames = rng.poisson(disk((72, 72), (33.4, 38.2), radius), (6, 6, 72, 72)).astype(np.uint16)
    assert diffraction.find_descan(frames).radius_px == pytest.approx(radius, abs=0.15)


@pytest.mark.parametrize(("outside", "same"), [("constant", "constant"), ("edge", "nearest")])
def test_sums_round_pixels_are_those_of_a_direct_convolution(rng, outside, same) -> None:
    image = rng.poisson(3.0, (23, 31)).astype(float)
    for n in (1, 4, 9):
        far = np.hypot(*np.mgrid[-n : n + 1, -n : n + 1])
        weights = np.where(far <= n / 2, 1.0, 0.0) - 0.2 * (far > n / 2)
        expected = ndimage.convolve(image, weights, mode=same)
        np.testing.assert_allclose(beam_radius.sums_around(image, weights, outside), expected, atol=1e-9)


def test_of_equal_sums_the_first_is_the_largest_whatever_rounding_says() -> None:
    sums = np.zeros((5, 7))
    sums[[1, 3, 4], [4, 2, 6]] = 3.0, 3.0 + 1e-13, 2.9
    assert beam_radius.largest_at(sums) == (1, 4)
    assert beam_radius.largest_at(-np.ones((2, 2))) == (0, 0)


def test_each_radius_that_is_tried_can_be_the_last(frames) -> None:
    asked: list[int] = []

    def check() -> None:
        asked.append(1)
        if len(asked) == 4:
            raise CancelledError

    sample = counts.Counts(frames)
    sample.check = check
    with pytest.raises(CancelledError):
        beam_radius.first_radius(sample)


def test_no_radius_of_frames_that_are_all_alike() -> None:
    with pytest.raises(CalibrationError, match="no direct beam stands out"):
        beam_radius.first_radius(counts.Counts(np.broadcast_to(np.arange(3, 7)[:, None, None, None], (4, 4, 48, 48))))


def test_no_radius_of_even_frames(rng) -> None:
    with pytest.raises(CalibrationError, match="no direct beam"):
        diffraction.find_descan(rng.poisson(5, (4, 4, 48, 48)).astype(np.uint16))


def test_no_radius_without_counts() -> None:
    with pytest.raises(ParameterError, match="no counts at all"):
        diffraction.find_descan(np.zeros((4, 4, 48, 48), np.uint16))


def test_a_sample_of_the_rows_tells_plane_and_radius(bent, monkeypatch) -> None:
    _, frames = bent
    monkeypatch.setattr(counts, "SAMPLE", 200)
    whole, part = diffraction.find_descan(frames), diffraction.find_descan(frames, everywhere=False)
    measured = np.isfinite(part.residual).all(axis=(1, 2))
    assert measured.sum() == 10 < len(frames)
    assert part.radius_px == pytest.approx(whole.radius_px, rel=0.05)
    assert np.hypot(*(part.center - whole.center).T).max() < 0.2
