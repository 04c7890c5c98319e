"""The ellipse of a detector: known ones are found, none is made up where no ring tells it."""

from __future__ import annotations

import doctest
import importlib
import threading

import numpy as np
import pytest

from esteemcore import diffraction, errors, simulate
from esteemcore.diffraction import rings


def scan(**changes) -> simulate.Polycrystal:
    chosen = {"grains": 1, "amorphous": 1, "electrons": 15000, "descan_px": 3, "seed": 1, "ellipse": (1.05, 25)}
    return simulate.polycrystal((10, 12), (96, 96), radius_px=4.2, **(chosen | changes))


def turned_by(a: float, b: float) -> float:
    return abs((a - b + 90) % 180 - 90)


@pytest.mark.parametrize("ellipse", [(1.05, 25), (1.03, 110)])
def test_a_known_ellipse(ellipse) -> None:
    truth = scan(ellipse=ellipse)
    found = diffraction.fit_ellipse(truth.frames(3))
    assert abs(found.ratio - ellipse[0]) < max(0.001, 3 * found.ratio_sigma)
    assert found.ratio_sigma < 0.001
    assert turned_by(found.angle_deg, ellipse[1]) < max(0.5, 3 * found.angle_sigma_deg)
    np.testing.assert_allclose(found.center, truth.center.mean(axis=0), atol=0.15)
    np.testing.assert_allclose(found.matrix, truth.matrix, atol=0.002)
    assert np.linalg.det(found.matrix) == pytest.approx(1)
    assert found.radius_px == pytest.approx(4.2, rel=0.1)
    assert found.notes == ()


def test_turned_patterns_have_turned_ellipses() -> None:
    data = scan().frames(3)
    straight = diffraction.fit_ellipse(data)
    swapped = diffraction.fit_ellipse(data.transpose(0, 1, 3, 2))
    assert swapped.ratio == pytest.approx(straight.ratio, abs=2e-4)
    assert turned_by(swapped.angle_deg, 90 - straight.angle_deg) < 0.3
    np.testing.assert_allclose(swapped.center, straight.center[::-1], atol=0.02)


def test_round_rings_are_round() -> None:
    found = diffraction.fit_ellipse(scan(ellipse=(1.0, 0.0)).frames(3))
    assert 1 <= found.ratio < 1 + max(0.001, 3 * found.ratio_sigma)


def test_errors_are_right() -> None:
    """The scatter over independent counts is the error that each fit states."""
    truth = scan(electrons=3000)
    rates = np.array([truth.expected(i) for i in range(120)]).reshape(10, 12, 96, 96)
    found = [diffraction.fit_ellipse(np.random.default_rng(seed).poisson(rates)) for seed in range(5)]
    spread = np.std([f.ratio for f in found], ddof=1)
    assert 0.4 < spread / np.mean([f.ratio_sigma for f in found]) < 2


@pytest.mark.parametrize(("dtype", "bad"), [(np.float32, np.nan), (np.uint32, 7), (np.uint16, 0)])
def test_masked_pixels_are_left_out(dtype, bad) -> None:
    """Whatever is in them, the brightest of all values included."""
    truth = scan()
    data = truth.frames(3).astype(dtype)
    mask = np.ones((96, 96), bool)
    mask[30:33], mask[70, 20] = False, False
    data[..., 30:33, :], data[..., 70, 20] = bad, 60000
    found = diffraction.fit_ellipse(data, mask=mask)
    assert abs(found.ratio - 1.05) < max(0.001, 3 * found.ratio_sigma)
    assert found.radius_px == pytest.approx(4.2, rel=0.1)
    np.testing.assert_allclose(found.center, truth.center.mean(axis=0), atol=0.15)
    assert found.notes == ()


def test_a_saturated_beam_keeps_its_place_and_is_told() -> None:
    truth = scan()
    found = diffraction.fit_ellipse(np.minimum(truth.frames(3), 3))
    np.testing.assert_allclose(found.center, truth.center.mean(axis=0), atol=0.15)
    assert abs(found.ratio - 1.05) < max(0.001, 3 * found.ratio_sigma)
    assert any("saturated" in note for note in found.notes)


def test_dead_rows_and_hot_pixels_are_left_out_and_told() -> None:
    data = scan().frames(3)
    data[..., 60:64, :], data[..., 70, 20] = 0, 9000
    found = diffraction.fit_ellipse(data)
    assert abs(found.ratio - 1.05) < max(0.001, 3 * found.ratio_sigma)
    assert turned_by(found.angle_deg, 25) < 3 * found.angle_sigma_deg
    assert any("rows 60, 61, 62, 63 have no counts" in note for note in found.notes)
    assert any("1 hot pixels" in note for note in found.notes)


def test_what_is_no_count_of_electrons_is_refused() -> None:
    data = scan().frames(3)[:2]
    for changed, words in ((data - 0.5, "do not subtract"), (50 * data, "multiples of 50"), (data * 0.3, "fractions")):
        with pytest.raises(errors.ParameterError, match=words):
            diffraction.fit_ellipse(changed)


def test_a_beam_stop_is_an_error() -> None:
    y, x = np.mgrid[:96, :96]
    seen = np.hypot(y - 48, x - 48) > 7
    data = scan().frames(3)
    for stopped, mask in ((data * seen, None), (data, seen)):
        with pytest.raises(errors.CalibrationError, match="behind a beam stop"):
            diffraction.fit_ellipse(stopped, mask=mask)


def test_pieces_do_not_matter(monkeypatch) -> None:
    data = scan().frames(3)
    whole = diffraction.fit_ellipse(data)
    monkeypatch.setattr("esteemcore.diffraction.counts.PIECE_BYTES", 7 * 96 * 96 * 2)
    parts = diffraction.fit_ellipse(data)
    assert (parts.ratio, parts.angle_deg) == pytest.approx((whole.ratio, whole.angle_deg))
    assert parts.center == pytest.approx(whole.center)
    assert parts.frames == whole.frames


def test_it_tells_its_progress_and_can_be_cancelled() -> None:
    told: list[float] = []
    data = scan().frames(3)
    diffraction.fit_ellipse(data, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1
    stop = threading.Event()
    stop.set()
    with pytest.raises(errors.CancelledError):
        diffraction.fit_ellipse(data, cancel=stop)


def test_nothing_is_made_up() -> None:
    crystal = scan(grains=1, amorphous=0, film=0.0).frames(3)[:4]
    with pytest.raises(errors.CalibrationError, match="no ring tells the ellipse"):
        diffraction.fit_ellipse(crystal)
    with pytest.raises(errors.CalibrationError, match="are empty"):
        diffraction.fit_ellipse(np.zeros((2, 2, 48, 48), np.uint8))
    with pytest.raises(errors.ParameterError, match="all values of data4d are 7"):
        diffraction.fit_ellipse(np.full((2, 2, 48, 48), 7, np.uint8))
    with pytest.raises(errors.CalibrationError, match="no direct beam"):
        diffraction.fit_ellipse(np.random.default_rng(0).poisson(5.0, (2, 2, 48, 48)))
    with pytest.raises(errors.ParameterError, match="24 x 24"):
        diffraction.fit_ellipse(np.ones((2, 2, 16, 48)))
    film = diffraction.fit_ellipse(scan(grains=1, amorphous=0, film=0.3).frames(3)[:4])
    assert any("hardly any amorphous" in note for note in film.notes)


def test_frames_are_moved_by_parts_of_pixels(rng) -> None:
    frame, pattern, weight = rng.random((9, 11)), np.zeros((9, 11)), np.zeros((9, 11))
    frame[[0, -1]] = frame[:, [0, -1]] = 0
    rings.add_moved(frame, np.ones((9, 11), bool), np.array([0.3, -0.6]), pattern, weight)
    assert pattern.sum() == pytest.approx(frame.sum())
    y, x = np.mgrid[:9, :11]
    moved = [(y * pattern).sum(), (x * pattern).sum()] / pattern.sum()
    before = [(y * frame).sum(), (x * frame).sum()] / frame.sum()
    np.testing.assert_allclose(moved - before, [0.3, -0.6])
    np.testing.assert_allclose(weight[1:-1, 1:-1], 1)


@pytest.mark.parametrize(("name", "ratio", "angle"), [("poly_a", 1.05, 25), ("poly_b", 1.03, 60)])
def test_marks_on_the_shared_polycrystals(shared_data, name, ratio, angle) -> None:
    with np.load(shared_data / "diffraction" / f"{name}.npz") as z:
        found = diffraction.fit_ellipse(z["data"][::2])
    assert abs(found.ratio - ratio) < 0.001
    assert turned_by(found.angle_deg, angle) < 0.5


def test_examples() -> None:
    result = doctest.testmod(importlib.import_module("esteemcore.diffraction.ellipse"))
    assert result.attempted > 0
    assert result.failed == 0
