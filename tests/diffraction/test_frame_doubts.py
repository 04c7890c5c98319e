"""What a sample of the frames tells of detector and radius: the right note, only that one, and none of true data."""

from __future__ import annotations

import numpy as np
import pytest

from esteemcore import simulate
from esteemcore.diffraction.frame_doubts import frame_notes

RADIUS = 4.0
ALL = np.ones((64, 64), bool)


@pytest.fixture(scope="module")
def good() -> np.ndarray:
    made = simulate.polycrystal(
        (5, 6), (64, 64), radius_px=RADIUS, spacing_px=15, electrons=4000, grains=2, amorphous=1, seed=4
    )
    return made.frames(1).astype(np.int64)


def told(frames: np.ndarray, radius: float = RADIUS, before: tuple[str, ...] = ()) -> tuple[str, ...]:
    return frame_notes(frames, ALL, radius, known_beam=False, told=before)


def test_true_counts_are_not_doubted_whatever_the_dose(good, rng) -> None:
    assert told(good) == ()
    for electrons in (2, 20, 200):
        assert told(rng.binomial(good, electrons / 4000)) == ()


@pytest.mark.parametrize("value", [255, 0.25, 1])
def test_frames_of_one_bit_have_no_hot_and_no_saturated_pixels(good, value) -> None:
    notes = told((good > 0) * value, before=("pixels are saturated at 30 of 30 positions",))
    if value == 1:
        assert notes == ()
    else:
        assert notes == (f"all values are multiples of {value}, which numbers of electrons are not: divide them by it",)


@pytest.mark.parametrize(("lines", "says"), [([40], "row 40 has"), ([20, 21], "rows 20, 21 have"), ([7, 50], "rows 7")])
def test_bright_lines_are_told(good, lines, says) -> None:
    frames = good.copy()
    frames[..., lines, :] += 9
    for turned, word in ((frames, "row"), (frames.swapaxes(2, 3), "column")):
        (note,) = told(turned)
        assert note.startswith(f"detector {says.replace('row', word)}")
        assert "far more counts than those beside" in note
    frames[..., lines, :] = 0
    (note,) = told(frames)
    assert "no counts: mask what is dead" in note


def test_a_hole_is_told_where_counts_are_expected(good, rng) -> None:
    """Behind a stop there are none; of two electrons per frame there are none nearly everywhere."""
    frames = good.copy()
    frames[..., np.hypot(*(np.mgrid[:64, :64] - 32)) < 7] = 0
    (note,) = told(frames)
    assert "never have counts: if they are a beam stop" in note
    assert told(rng.poisson(5e-4, frames.shape)) == ()


@pytest.mark.parametrize("radius", [2 * RADIUS, 2.6 * RADIUS])
def test_a_radius_far_too_large_is_told(good, radius) -> None:
    (note,) = told(good, radius)
    assert note.startswith(f"the direct beam looks much smaller than a disk of radius {radius:g} px")
    before = ("the disks look as if their radius were 4.0 px",)
    assert told(good, radius, before) == before


def test_many_times_one_frame_tells_no_more_than_that_one(good) -> None:
    (note,) = told(np.broadcast_to(good[:1, :1], good.shape))
    assert "the same to the last value" in note


def test_pixels_at_the_largest_value_are_counted_in_whole_numbers(good) -> None:
    (note,) = told(np.minimum(good, 12.0))
    many = int(note.split()[0])
    assert many >= 0.9 * np.count_nonzero(good >= 12)
    assert note.startswith(f"{many} pixels of 30 frames are at the largest value of the data, 12: saturated")


def test_what_lies_between_disks_without_background_is_no_hole_and_no_dead_line(rng) -> None:
    y, x = np.mgrid[:64, :64]
    for spacing in (11.5, 15.0):
        rates = np.zeros((64, 64))
        for h, k in np.ndindex(9, 9):
            place = 31.4 + spacing * (np.array([h, k]) - 4)
            rates += (1 + 30 * (h == k == 4)) * np.clip(RADIUS + 0.5 - np.hypot(y - place[0], x - place[1]), 0, 1)
        assert told(rng.poisson(np.broadcast_to(rates, (5, 6, 64, 64)))) == ()
