"""Grains from dark-field images: known pieces, grains on top of each other, bent ones, and simulated polycrystals."""

from __future__ import annotations

import doctest
import importlib
import threading

import numpy as np
import pytest
from known_grains import pure
from sklearn.metrics import adjusted_rand_score

from esteemcore import diffraction, errors

SHAPE = (10, 16)
FRAME = (80, 80)


def crystal(turn: float, length: float = 12.0) -> np.ndarray:
    """Reflections of a square lattice without the beam, (row, column) in px."""
    h, k = np.mgrid[-2:3, -2:3].reshape(2, -1)
    q = length * np.stack([h * np.cos(turn) - k * np.sin(turn), h * np.sin(turn) + k * np.cos(turn)], axis=1)
    return q[np.hypot(h, k) > 0]


def table(grains, rng, electrons: float = 60.0) -> diffraction.DiskTable:
    """Disks of grains, (mask (y, x), reflections, brightness (reflections, y, x) or None), with the noise of counting.

    Disks of fewer than 12 electrons are not found.
    """
    frame, place, bright = [np.arange(160)], [np.full((160, 2), 40.0)], [np.full(160, 1e4)]
    for mask, spots, waves in grains:
        for j, spot in enumerate(spots):
            mean = electrons * mask * (1.0 if waves is None else waves[j])
            counts = rng.poisson(mean).ravel()
            seen = np.flatnonzero(counts >= 12)
            frame.append(seen)
            place.append(40 + spot + rng.normal(0, 0.2, (len(seen), 2)))
            bright.append(counts[seen])
    where, bright = np.concatenate(place), np.concatenate(bright)
    one = np.ones(len(where))
    return diffraction.DiskTable(np.concatenate(frame), where[:, 0], where[:, 1], bright, 0.2 * one, 9 * one)


def halves() -> tuple[np.ndarray, np.ndarray]:
    left = np.zeros(SHAPE, bool)
    left[:, :9] = True
    return left, ~left


def segmented(disks, **options) -> diffraction.DarkFieldGrains:
    return diffraction.segment_dark_field(disks, SHAPE, FRAME, 3.0, **options)


def test_grains_side_by_side() -> None:
    left, right = halves()
    found = segmented(table([(left, crystal(0.2), None), (right, crystal(0.55), None)], np.random.default_rng(0)))
    assert len(found) == 2
    np.testing.assert_array_equal(found.labels, np.where(left, 0, 1))
    assert found.areas.tolist() == [90, 70]
    assert found.confidence[:, :7].min() > 0.8
    for grain, turn in enumerate((0.2, 0.55)):
        far = np.hypot(*(found.reflections[grain][:, None] - crystal(turn)[None]).transpose(2, 0, 1)).min(axis=1)
        assert len(found.reflections[grain]) == 24
        assert far.max() < 0.5
    grains = diffraction.grain_statistics(found.labels, scan_step_nm=2.0)
    assert grains.area_nm2.tolist() == [360, 280]


def test_images_hold_the_electrons_of_their_reflections() -> None:
    left, right = halves()
    disks = table([(left, crystal(0.2), None), (right, crystal(0.55), None)], np.random.default_rng(1))
    found = segmented(disks)
    beside = np.hypot(disks.y - 40, disks.x - 40) > 4
    assert found.images.sum() == pytest.approx(float(disks.intensity[beside].sum()), rel=1e-5)
    assert found.images[0][right].max() == 0


@pytest.mark.parametrize("seed", range(3))
def test_one_crystal_that_fills_the_scan_is_one_grain(seed) -> None:
    """Its images have no contrast but the noise of counting."""
    found = segmented(table([(np.ones(SHAPE), crystal(0.2), None)], np.random.default_rng(seed)))
    assert len(found) == 1
    assert (found.labels == 0).all()
    assert len(found.reflections[0]) == 24
    assert found.notes == ()


@pytest.mark.parametrize("seen", [0.5, 1.0])
def test_a_grain_of_nearly_the_whole_scan(seen) -> None:
    """An inclusion in it, each reflection seen at a part of the positions."""
    rng = np.random.default_rng(0)
    inclusion = np.zeros(SHAPE, bool)
    inclusion[2:6, 9:13] = True
    spots = crystal(0.2)
    waves = (rng.random((len(spots), *SHAPE)) < seen).astype(float)
    found = segmented(table([(~inclusion, spots, waves), (inclusion, crystal(0.65), waves)], rng))
    assert len(found) == 2
    assert (found.labels == inclusion).mean() > 0.95


def test_grains_on_top_of_each_other_are_both_there() -> None:
    left, right = halves()
    left[:, :12] = True
    found = segmented(table([(left, crystal(0.2), None), (right, crystal(0.55), None)], np.random.default_rng(2)))
    assert len(found) == 2
    both = left & right
    assert found.members[:, both].all(axis=0).mean() > 0.9
    assert not found.members.all(axis=0)[:, :7].any()
    assert found.confidence[:, 9:12].mean() < 0.8 < found.confidence[:, :6].mean()
    assert any("on top of each other" in note for note in found.notes)


def test_a_bent_grain_is_one_grain() -> None:
    """Each reflection lights up in a part of it; the parts of different reflections do not look alike."""
    rng = np.random.default_rng(3)
    y, x = np.indices(SHAPE)
    spots = crystal(0.2)
    waves = [np.maximum(1 + 1.3 * np.cos(2 * np.pi * (a * y / 10 + b * x / 16 + c)), 0.1)
             for a, b, c in rng.uniform(-1, 1, (len(spots), 3))]  # fmt: skip
    found = segmented(table([(np.ones(SHAPE), spots, waves)], rng, electrons=100.0))
    assert len(found) == 1
    assert (found.labels == 0).all()


def test_one_orientation_in_two_places_is_two_grains() -> None:
    left, right = np.zeros(SHAPE, bool), np.zeros(SHAPE, bool)
    left[:, :5], right[:, 10:] = True, True
    found = segmented(table([(left | right, crystal(0.2), None)], np.random.default_rng(4)))
    assert len(found) == 2
    assert found.areas.tolist() == [60, 50]
    assert (found.labels[:, 6:9] == -1).all()
    assert any("50 of 160 positions" in note for note in found.notes)


def test_exposure_and_orientation_of_the_scan_do_not_matter() -> None:
    left, right = halves()
    disks = table([(left, crystal(0.2), None), (right, crystal(0.55), None)], np.random.default_rng(5))
    found = segmented(disks)
    y, x = np.divmod(disks.frame, SHAPE[1])
    turned = diffraction.DiskTable(x * SHAPE[0] + y, disks.y, disks.x, 7 * disks.intensity, disks.sigma_px, disks.score)
    other = diffraction.segment_dark_field(turned, SHAPE[::-1], FRAME, 3.0)
    np.testing.assert_array_equal(other.labels, found.labels.T)
    np.testing.assert_allclose(other.confidence, found.confidence.T, atol=1e-6)
    np.testing.assert_allclose(other.images, 7 * found.images.transpose(0, 2, 1), rtol=1e-5)


def test_simulated_grains(table, grains) -> None:
    """Disks found in frames; the amorphous area has no grain."""
    found = diffraction.segment_dark_field(table, (12, 12), (96, 96), grains.radius_px)
    label, sure = grains.label.ravel(), pure(grains)
    crystalline = sure & (label < 3)
    assert len(found) == len(np.unique(label[crystalline]))
    assert adjusted_rand_score(label[crystalline], found.labels.ravel()[crystalline]) > 0.95
    assert (found.labels.ravel()[sure & (label == 3)] < 0).mean() > 0.9


def test_simulated_bent_grains(bent) -> None:
    """Uneven thickness, 6 px of descan, an elliptical detector: with the number that is right."""
    truth, frames = bent
    disks = diffraction.find_disks(frames, truth.radius_px, passes=1)
    found = diffraction.segment_dark_field(disks, truth.scan_shape, truth.frame_shape, truth.radius_px)
    label = truth.label.ravel()
    crystalline = pure(truth) & (label < 4)
    assert len(found) == 4
    assert adjusted_rand_score(label[crystalline], found.labels.ravel()[crystalline]) > 0.95


def test_bad_input() -> None:
    left, right = halves()
    disks = table([(left, crystal(0.2), None), (right, crystal(0.55), None)], np.random.default_rng(6))
    none = disks.select(np.zeros(len(disks), bool))
    with pytest.raises(errors.ParameterError, match="no disks"):
        segmented(none)
    with pytest.raises(errors.ParameterError, match="alike is 1"):
        segmented(disks, alike=1.0)
    with pytest.raises(errors.ParameterError, match=r"disks\.frame"):
        diffraction.segment_dark_field(disks, (4, 4), FRAME, 3.0)
    beam = disks.select(np.hypot(disks.y - 40, disks.x - 40) < 4)
    with pytest.raises(errors.CalibrationError, match="no reflections in common"):
        segmented(beam)
    stop = threading.Event()
    stop.set()
    with pytest.raises(errors.CancelledError):
        segmented(disks, cancel=stop)
    few = segmented(table([(left, crystal(0.2)[:1], None)], np.random.default_rng(7)))
    assert len(few) == 0
    assert (few.labels == -1).all()
    assert few.images.shape == (0, *SHAPE)
    assert any("no grain was found" in note for note in few.notes)


def test_examples() -> None:
    result = doctest.testmod(importlib.import_module("esteemcore.diffraction.dark_field"))
    assert result.attempted > 0
    assert result.failed == 0
