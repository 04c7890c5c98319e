"""What is wrong with the input is told: no map without a word where nothing is to be found, or something hides it."""

from __future__ import annotations

import numpy as np
import pytest

from esteemcore import diffraction, errors, simulate

RADIUS = 3.5
SHAPE = (4, 5, 64, 72)
STOP = np.hypot(*(np.mgrid[:64, :72] - np.array([32, 36])[:, None, None])) > 6
ROW = np.ones((64, 72), bool)
ROW[30] = False


@pytest.fixture(scope="module")
def good() -> np.ndarray:
    made = simulate.polycrystal(
        SHAPE[:2], SHAPE[2:], radius_px=RADIUS, spacing_px=13, electrons=4000, grains=1, amorphous=0, seed=3
    )
    return made.frames(1)


def spoilt(good: np.ndarray, how: str) -> np.ndarray:
    frames = good.astype(np.int64)
    if how == "stop":
        frames[..., ~STOP] = 0
    elif how == "dead row":
        frames[..., ~ROW] = 0
    elif how == "dead columns":
        frames[..., 39:42] = 0
    elif how == "hot":
        frames[..., 10, 50] = frames[..., 33, 35] = 2**32 - 1
    elif how == "clipped":
        frames = np.minimum(frames, 3)
    elif how == "saturated":
        return np.minimum(frames, 15).astype(np.uint8) * 17
    elif how == "negative":
        frames -= 2
    elif how == "empty":
        frames[:] = 0
    elif how == "even":
        frames[:] = 7
    elif how == "same":
        frames[:] = frames[2, 2]
    elif how == "noise":
        return np.random.default_rng(0).poisson(0.3, SHAPE)
    return frames


@pytest.mark.parametrize(
    ("how", "radius", "says"),
    [
        ("as it is", RADIUS, None),
        ("stop", RADIUS, "in the middle of the pattern, never have counts: if they are a beam stop"),
        ("dead row", RADIUS, "detector row 30 has no counts: mask what is dead"),
        ("dead columns", RADIUS, "detector columns 39, 40, 41 have no counts"),
        ("hot", RADIUS, r"hot pixels at (row, column) = (10, 50), (33, 35) look like disks"),
        ("clipped", RADIUS, "at the largest value of the data, 3: saturated"),
        ("saturated", RADIUS, "pixels are saturated at 20 of 20 positions"),
        ("negative", RADIUS, "either the camera has a gain or an offset"),
        ("empty", RADIUS, "no disk was found in any frame"),
        ("even", RADIUS, "all values are 7: there is no pattern in them"),
        ("same", RADIUS, "the same to the last value"),
        ("as it is", 0.6 * RADIUS, "the disks look as if their radius were"),
        ("as it is", 1.6 * RADIUS, "the disks look as if their radius were"),
    ],
)
def test_a_table_of_disks_tells_what_is_wrong(good, how, radius, says) -> None:
    notes = diffraction.find_disks(spoilt(good, how), radius, passes=1).notes
    if says is None:
        assert notes == ()
    else:
        assert any(says in note for note in notes), notes


def test_what_is_masked_is_not_told(good) -> None:
    assert diffraction.find_disks(spoilt(good, "dead row"), RADIUS, mask=ROW, passes=1).notes == ()
    hot = spoilt(good, "hot")
    assert diffraction.find_disks(hot, RADIUS, mask=hot[0, 0] < 2**31, passes=1).notes == ()
    hidden = spoilt(good, "stop")
    assert diffraction.find_disks(hidden, RADIUS, mask=STOP, center=(32, 36), passes=1).notes == ()
    (note,) = diffraction.find_disks(hidden, RADIUS, mask=STOP, passes=1).notes
    assert "give center" in note


def test_noise_has_no_maps(good) -> None:
    noise = spoilt(good, "noise")
    table = diffraction.find_disks(noise, RADIUS, passes=1)
    for work in (
        lambda: diffraction.find_descan(noise),
        lambda: diffraction.find_descan(noise, RADIUS),
        lambda: diffraction.fit_ellipse(noise),
        lambda: diffraction.classify(noise, RADIUS),
        lambda: diffraction.strain(table, SHAPE[:2]),
        lambda: diffraction.segment_dark_field(table, SHAPE[:2], SHAPE[2:], RADIUS),
        lambda: diffraction.pixel_size(table, SHAPE[:2], [0.235, 0.204]),
    ):
        with pytest.raises((errors.CalibrationError, errors.ParameterError)):
            work()


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("empty", "no counts|are empty"),
        ("even", "there is no pattern in them"),
        ("negative", "do not subtract a background"),
        ("stop", "behind a beam stop"),
    ],
)
def test_what_has_no_direct_beam_is_refused(good, how, says) -> None:
    frames = spoilt(good, how)
    for work in (
        lambda: diffraction.find_descan(frames),
        lambda: diffraction.fit_ellipse(frames),
        lambda: diffraction.classify(frames, RADIUS),
    ):
        with pytest.raises((errors.CalibrationError, errors.ParameterError), match=says):
            work()


def test_a_masked_line_through_the_beam_is_no_beam_stop(good) -> None:
    """It makes one area with the dark corners of the detector, and large it is, but not wide."""
    whole = diffraction.find_descan(good)
    for lines in (ROW, ROW[:, ::-1], np.abs(np.arange(72) - 36) > 1):
        mask = np.broadcast_to(lines, (64, 72))
        found = diffraction.find_descan(np.where(mask, good, 0), mask=mask)
        np.testing.assert_allclose(found.reference, whole.reference, atol=0.3)


def test_a_saturated_beam_looks_too_large(good) -> None:
    clipped = diffraction.find_descan(spoilt(good, "clipped"), everywhere=False)
    assert clipped.radius_px > 1.1 * RADIUS
    assert "saturated, so that it looks larger than it is" in clipped.notes[-1]


@pytest.mark.parametrize("part", [np.s_[:1], np.s_[:, :1], np.s_[:1, :1], np.s_[:3, :3, :61, :53]])
def test_lines_single_positions_and_odd_frames(good, part) -> None:
    frames = good[part]
    table = diffraction.find_disks(frames, RADIUS, passes=1)
    assert table.notes == ()
    assert len(table) > 8 * frames.shape[0] * frames.shape[1]
    assert np.hypot(*(diffraction.find_descan(frames).reference - (32, 36))) < 2
