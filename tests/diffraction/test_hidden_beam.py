"""Direct beams behind a beam stop: given, or found from what is symmetric about them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from esteemcore import diffraction, errors, simulate
from esteemcore.diffraction.hidden_beam import symmetry

Y, X = np.mgrid[:80, :80]
STOP = (np.hypot(Y - 40, X - 39) < 8) | ((np.abs(Y - 40) < 2) & (X < 40))
"""A disk on an arm."""


@pytest.fixture(scope="module")
def stopped(bent) -> tuple[simulate.Polycrystal, np.ndarray]:
    truth, frames = bent
    return truth, np.where(STOP, 0, frames)


def test_a_pattern_is_symmetric_about_its_centre(rng) -> None:
    y, x = np.mgrid[:41, :50]
    half = rng.random((41, 50)) * 40
    for place in ((20, 24), (19.5, 25.5)):  # a pixel, and the corner of four
        twice = np.round(np.multiply(place, 2)).astype(int)
        v, u = twice[0] - y, twice[1] - x
        inside = (v >= 0) & (v < 41) & (u >= 0) & (u < 50)
        both = np.where(inside, half + half[np.clip(v, 0, 40), np.clip(u, 0, 49)], 40)
        found = symmetry(both, np.ones((41, 50), bool), 3.0)
        assert np.unravel_index(found.argmax(), found.shape) == tuple(twice)
    assert symmetry(half, np.ones((41, 50), bool), 3.0).max() < 8  # chance


def test_reflections_and_rings_tell_the_centre(stopped) -> None:
    truth, frames = stopped
    found = diffraction.find_descan(frames, truth.radius_px, center="friedel")
    off = found.center.reshape(-1, 2) - truth.center
    assert np.sqrt((off**2).sum(axis=1).mean()) < 0.2  # over 7.5 px of descan
    assert found.span_px == pytest.approx(np.hypot(*np.ptp(truth.center, axis=0)), abs=0.5)
    assert "behind a stop" in found.notes[-1]
    assert np.isfinite(found.residual).all(axis=2).sum() == 16


def test_classes_and_ellipse_do_without_the_beam(stopped, bent) -> None:
    truth, frames = stopped
    pure = truth.member.max(axis=0) > 0.9
    found = diffraction.classify(frames, truth.radius_px, center="friedel")
    known = pure & (found.labels >= 0)
    assert known.sum() > 0.95 * pure.sum()
    assert adjusted_rand_score(truth.label[known], found.labels[known]) > 0.93
    assert found.kinds.count("amorphous") == 2
    assert found.agreement > 0.8
    masked = diffraction.find_descan(bent[1], truth.radius_px, mask=~STOP, center="friedel")
    np.testing.assert_allclose(masked.center, found.descan.center, atol=0.05)
    place = truth.center.reshape(20, 20, 2)
    ellipse = diffraction.fit_ellipse(frames, center=place, radius_px=truth.radius_px)
    whole = diffraction.fit_ellipse(bent[1])
    assert ellipse.ratio == pytest.approx(whole.ratio, abs=0.002)
    assert ellipse.angle_deg == pytest.approx(whole.angle_deg, abs=1)
    assert ellipse.center == pytest.approx(whole.center, abs=0.15)


def test_parts_of_one_crystal_may_have_several_centres(rng) -> None:
    """Few counts: in a part of the scan reflections of two grains meet elsewhere, but not at the same place in all."""
    y, x = np.mgrid[:48, :48] - 24.0
    turned = 0.2 + 0.5 * (np.arange(14) > 5)[:, None] + np.pi / 2 * np.arange(4)
    spots = np.hypot(y - 14 * np.sin(turned)[:, :, None, None], x - 14 * np.cos(turned)[:, :, None, None]) < 3
    rates = np.where(np.hypot(y, x) < 5, 0, 0.02 + spots.sum(axis=1))
    for _ in range(3):
        found = diffraction.find_descan(rng.poisson(rates, (12, 14, 48, 48)), 3.0, center="friedel")
        np.testing.assert_allclose(found.center, np.broadcast_to(24.0, (12, 14, 2)), atol=0.15)


def rings(place, rng):
    """Return frames (..., 48, 48) of a ring round a hidden beam at each of some places (..., 2)."""
    y, x = np.mgrid[:48, :48]
    away = np.hypot(y - place[..., :1, None], x - place[..., 1:, None])
    return rng.poisson(np.where(np.hypot(y - 24, x - 24) < 6, 0, 0.2 + 20 * np.exp(-(((away - 14) / 1.5) ** 2))))


@pytest.mark.parametrize("shape", [(2, 2), (2, 5), (5, 2), (3, 3)])
def test_two_rows_tell_no_slope(shape, rng) -> None:
    """Two parts cannot contradict each other, so that whatever makes them differ would become a descan."""
    at = np.indices(shape).transpose(1, 2, 0) - (np.array(shape) - 1) / 2
    place = np.array([24.3, 23.6]) + 0.3 * at * [1, -1] * (np.array(shape) > 2)
    found = diffraction.find_descan(rings(place, rng), 3.0, center="friedel")
    np.testing.assert_allclose(found.center, place, atol=0.25)
    for axis, n, name in zip((0, 1), shape, ("rows", "columns"), strict=True):
        assert (np.ptp(found.center, axis=axis).max() < 1e-9) == (n == 2)
        assert (name in found.notes[-1]) == (n == 2)


@pytest.mark.parametrize("shape", [(3, 3), (4, 4)])
def test_parts_that_do_not_agree_are_refused(shape, rng) -> None:
    """They lie to and fro by turns, which no plane does."""
    off = np.indices(shape).sum(axis=0) % 2
    place = 23.0 + 2.0 * np.stack([off, off], axis=-1)
    still = diffraction.find_descan(rings(np.full_like(place, 24.0), rng), 3.0, center="friedel")
    np.testing.assert_allclose(still.center, 24.0, atol=0.25)
    with pytest.raises(errors.CalibrationError, match=r"parts of the scan do not agree .* by [12]\.\d px"):
        diffraction.find_descan(rings(place, rng), 3.0, center="friedel")


def test_a_given_centre_is_taken(stopped) -> None:
    truth, frames = stopped
    one = diffraction.find_descan(frames, truth.radius_px, center=(40, 39.5))
    np.testing.assert_array_equal(one.center, np.broadcast_to((40, 39.5), (20, 20, 2)))
    assert one.span_px == one.residual_px == 0
    everywhere = diffraction.find_descan(frames, truth.radius_px, center=truth.center.reshape(20, 20, 2))
    np.testing.assert_array_equal(everywhere.center.reshape(-1, 2), truth.center)


def test_a_beam_that_no_stop_hides_is_told_and_checked(stopped, bent, rng) -> None:
    truth, frames = stopped
    hidden = diffraction.find_descan(frames, truth.radius_px, center=(40, 40))
    assert hidden.notes[-1] == "the direct beam lies behind a stop: its place was given"
    assert not any("saturated" in note for note in hidden.notes)
    stray = np.where(STOP, rng.poisson(0.02, frames.shape), frames)  # some electrons get behind it
    assert "lies behind a stop" in diffraction.find_descan(stray, truth.radius_px, center=(40, 40)).notes[-1]
    seen = diffraction.find_descan(np.minimum(bent[1], 6), truth.radius_px, center=(40, 40))
    words = "the direct beam is seen at (row, column) = (40, 40) px, no stop hides it: its place was given"
    assert seen.notes[-1] == words
    assert any("in the direct beam are at the largest value of the data: saturated" in note for note in seen.notes)


def test_disks_have_it_found_on_request(stopped) -> None:
    """As by hand: its place from the symmetry of the patterns, and the shadow of the stop as the mask."""
    truth, frames = stopped
    lit = np.where(STOP, 0, frames[:8] + 1)  # nowhere else is it dark
    found = diffraction.find_disks(lit, truth.radius_px, center="friedel", passes=1)
    plane = diffraction.find_descan(lit, truth.radius_px, center="friedel")
    by_hand = diffraction.find_disks(lit, truth.radius_px, center=plane, mask=~STOP, passes=1)
    for name in ("frame", "y", "x", "intensity", "sigma_px", "score", "slope"):
        np.testing.assert_array_equal(getattr(found, name), getattr(by_hand, name))
    words = " ".join(found.notes)
    assert "centre of symmetry" in words
    assert f"{STOP.sum()} pixels round the direct beam that never have counts" in words
    assert found.provenance.as_dict()["parameters"]["center"]["shape"] == [8, 20, 2]


def test_the_second_pass_knows_the_hidden_beam(grains, frames) -> None:
    """What is learnt about reflections is learnt where it is used: from the centre, not from the brightest of them."""
    y, x = np.mgrid[:96, :96]
    open_ = np.hypot(y - 48, x - 48) > 8
    table = diffraction.find_disks(frames, grains.radius_px, mask=open_, center=(48, 48), passes=1)
    true = np.stack([grains.y, grains.x], axis=1)[grains.electrons > 30] - 48
    nearest = []
    for center in ((48, 48), None):
        known = diffraction.learn_structure(table, (96, 96), grains.radius_px, center=center)
        nearest.append(np.hypot(*known.place.T).min())
        assert np.mean([np.hypot(*(true - place).T).min() < 1 for place in known.place]) > 0.9
    assert nearest[0] > 5  # nothing is known of what lies behind the stop
    assert nearest[1] < 1  # the brightest reflections, taken for the beam


def test_with_few_electrons_the_best_centre_is_chance() -> None:
    """300 in each of 64 frames: the most symmetric place is 12 px off, by little more than others are."""
    few = simulate.polycrystal(
        (8, 8),
        (128, 128),
        radius_px=4.5,
        electrons=300,
        grains=9,
        spacing_px=20,
        ellipse=(1.05, 25),
        descan_px=6,
        seed=7,
    )
    y, x = np.mgrid[:128, :128]
    stop = (np.hypot(y - 63.5, x - 63.5) <= 10) | ((np.abs(y - 64) <= 2) & (x <= 64))
    with pytest.raises(errors.CalibrationError, match="do not tell their centre"):
        diffraction.find_descan(np.where(stop, 0, few.frames(1)), 4.5, center="friedel")


def test_what_has_no_centre_is_refused(stopped, rng) -> None:
    truth, frames = stopped
    noise = np.where(STOP, 0, rng.poisson(5.0, (4, 4, 80, 80)))
    with pytest.raises(errors.CalibrationError, match="do not tell their centre"):
        diffraction.find_descan(noise, 4.0, center="friedel")
    with pytest.raises(errors.CalibrationError, match="center='friedel'"):
        diffraction.find_descan(frames, truth.radius_px)
    for center, message in (
        ("friend", "expected 'friedel'"),
        ((1, 2, 3), r"shape \(3,\)"),
        ((np.nan, 3), "finite"),
        ((40, 90), "beyond the frames"),
    ):
        with pytest.raises(errors.ParameterError, match=message):
            diffraction.find_descan(frames, truth.radius_px, center=center)
    with pytest.raises(errors.ParameterError, match="give radius_px with center"):
        diffraction.find_descan(frames, center=(40, 40))
    with pytest.raises(errors.ParameterError, match="belong together"):
        diffraction.fit_ellipse(frames, center=(40, 40))
