"""The drift learnt from places and times: a steady one exactly, noise little, and how unknown the next place is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from esteemcore import errors
from esteemcore.register.drift import FIRST, FORGETS, GOES_ON, INTERVALS, Clock, Drift

SHAPE = (200, 100)
VELOCITY = np.array([0.4, -0.3])


def follow(times, places) -> tuple[Clock, Drift, list[np.ndarray], list[float]]:
    """Return what was expected of each frame, and how far from there it might have been."""
    clock = Clock()
    drift = Drift(clock, SHAPE)
    expected, unknown = [], []
    for k, (time, place) in enumerate(zip(times, places, strict=True)):
        clock.tick(time)
        expected.append(drift.expected())
        unknown.append(drift.unknown_px())
        if k:
            drift.learn(np.asarray(place, float))
    return clock, drift, expected, unknown


def test_without_times_the_velocity_is_an_exponential_mean(rng) -> None:
    places = np.concatenate([np.zeros((1, 2)), rng.normal(size=(9, 2))])
    _, drift, _, unknown = follow([None] * 10, places)
    steps = np.diff(places, axis=0)
    wanted = FIRST * steps[0]
    for step in steps[1:]:
        wanted = (1 - FORGETS) * wanted + FORGETS * step
    np.testing.assert_allclose(drift.velocity, wanted, rtol=1e-12)
    assert np.array_equal(drift.per_frame, drift.velocity)
    assert max(unknown) < 1e-6


intervals = st.lists(st.floats(0.01, 4.0), min_size=30, max_size=40)


@given(intervals=intervals)
def test_a_steady_drift_is_learnt_and_foreseen_at_any_times(intervals) -> None:
    times = np.concatenate([[0.0], np.cumsum([*intervals, *np.ones(INTERVALS)])])
    _, drift, expected, _ = follow(times, times[:, None] * VELOCITY)
    np.testing.assert_allclose(drift.velocity, VELOCITY, rtol=1e-2)
    np.testing.assert_allclose(expected[-1], times[-1] * VELOCITY, atol=0.01)


@given(intervals=intervals, unit=st.sampled_from([1e-3, 60.0, 3e4]))
def test_the_unit_of_time_does_not_matter(intervals, unit) -> None:
    times = np.concatenate([[0.0], np.cumsum(intervals)])
    places = np.random.default_rng(3).normal(size=(len(times), 2))
    _, drift, expected, unknown = follow(times, places)
    _, other, expected_there, unknown_there = follow(unit * times, places)
    np.testing.assert_allclose(expected_there, expected, atol=1e-6)
    np.testing.assert_allclose(unknown_there, unknown, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(other.velocity * unit, drift.velocity, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("pause", [0, 5, 18])
@pytest.mark.parametrize("length", [0.01, 300.0])
def test_one_odd_interval_is_not_the_usual_one(pause, length) -> None:
    intervals = np.ones(20)
    intervals[pause] = length
    times = np.concatenate([[0.0], np.cumsum(intervals)])
    clock, *_ = follow(times, np.zeros((21, 2)))
    assert clock.usual == pytest.approx(1.0)


def test_a_frame_right_behind_another_teaches_little() -> None:
    """Its displacement is that of the noise, which divided by the interval would be a velocity of 300 px."""
    times = np.array([0, 1, 2, 3, 4, 5, 5.001])
    places = times[:, None] * VELOCITY
    places[-1] += 0.3
    _, drift, _, _ = follow(times, places)
    _, before, _, _ = follow(times[:-1], places[:-1])
    assert np.abs(drift.velocity - before.velocity).max() < 1e-3


def test_behind_a_pause_the_place_is_as_unknown_as_the_drift() -> None:
    times = np.arange(12.0)
    clock, drift, _, unknown = follow(times, times[:, None] * VELOCITY)
    assert max(unknown[2:]) < 1e-6
    speed = np.hypot(*drift.velocity)
    last, seen = clock._last, []
    for pause in (1.0, 2.0, 10.0, 40.0):
        clock.tick(last + pause)
        clock._last = last
        seen.append(drift.unknown_px())
    assert seen == sorted(seen)
    for pause, unknown_px in zip((10.0, 40.0), seen[2:], strict=True):
        travel = speed * (pause - GOES_ON)
        assert travel < unknown_px < travel + 0.25 * pause
    clock.tick(last + 1e4)  # however long it was: the image is looked for in the frame
    assert (np.abs(drift.expected() - drift.place) <= np.array(SHAPE) / 4).all()


def test_frames_that_pass_by_add_to_what_is_unknown() -> None:
    times = np.arange(12.0)
    clock, drift, _, _ = follow(times, times[:, None] * VELOCITY)
    one = drift.copy()
    for k in range(12, 32):
        clock.tick(float(k))
        drift.pass_by()
    clock.tick(32.0)
    assert drift.unknown_px() > 20 * one.unknown_px() + 5
    np.testing.assert_allclose(drift.place, one.place + 20 * drift.velocity)
    drift.put(drift.expected())
    clock.tick(33.0)
    assert drift.unknown_px() < 1e-6
    assert np.array_equal(one.place, 11 * VELOCITY)


def test_times_rise() -> None:
    clock = Clock()
    clock.tick(2.0)
    for wrong in (2.0, 1.0):
        with pytest.raises(errors.ParameterError, match="in order"):
            clock.tick(wrong)
    with pytest.raises(errors.ParameterError, match="time_s"):
        clock.tick(float("nan"))
    clock.tick(3.0)
    assert (clock.since, clock.usual, clock.timed) == (1.0, 1.0, True)
