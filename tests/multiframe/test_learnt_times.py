"""What the disk takes for a frame is told from the frames before it."""

from __future__ import annotations

import math

import pytest

from esteemcore import multiframe
from esteemcore.errors import ParameterError


def test_a_disk_with_a_time_for_each_frame_and_for_each_byte_is_never_thought_too_fast() -> None:
    def takes(size):
        return 0.01 + 2e-9 * size

    times = multiframe.LearntTimes()
    assert math.isnan(times.estimate(10))
    for size in (1_000_000, 8_000_000):
        times.add(size, takes(size))
    assert times.frames == 2
    for size in (1_000_000, 3_000_000, 8_000_000):
        assert times.estimate(size) == pytest.approx(takes(size))
    assert takes(0) < times.estimate(10) == pytest.approx(takes(1_000_000))
    assert takes(80_000_000) < times.estimate(80_000_000) == pytest.approx(10 * takes(8_000_000))


def test_one_slow_frame_is_no_rule_and_old_ones_are_forgotten() -> None:
    times = multiframe.LearntTimes()
    for seconds in (0.1, 0.1, 5.0, 0.1):
        times.add(100, seconds)
    assert times.estimate(100) == 0.1
    for _ in range(100):
        times.add(100, 0.2)
    assert times.estimate(100) == 0.2
    assert times.frames == 32


def test_impossible_times_are_refused() -> None:
    times = multiframe.LearntTimes()
    with pytest.raises(ParameterError, match="seconds"):
        times.add(10, -1.0)
    with pytest.raises(ParameterError, match="size"):
        times.add(-1, 1.0)
